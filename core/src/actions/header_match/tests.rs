use super::{HeaderMatch, HeaderMatchSpec, HeaderTest};
use crate::actions::{Header, HttpRequest, TextMatchSpec};

fn exact(text: &str) -> HeaderTest {
    HeaderTest::Text(TextMatchSpec::Exact { text: text.to_owned(), ignore_case: false })
}

/// Whether lines with these values match: as written, inverted, and with a missing header taken as empty.
fn matches(test: &HeaderTest, values: &[&str]) -> [bool; 3] {
    [(false, false), (true, false), (false, true)].map(|(invert_match, treat_missing_header_as_empty)| {
        let spec = HeaderMatchSpec {
            name: "X-A".to_owned(),
            test: test.clone(),
            invert_match,
            treat_missing_header_as_empty,
        };
        let headers: Vec<Header<'_>> =
            values.iter().map(|value| Header { name: b"x-a", value: value.as_bytes() }).collect();
        let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
        HeaderMatch::new(&spec).unwrap().is_match(&request)
    })
}

#[test]
fn a_missing_header_matches_no_test_of_its_value_be_it_inverted_or_not() {
    assert_eq!(matches(&exact("a"), &[]), [false, false, false]);
    assert_eq!(matches(&exact(""), &[]), [false, false, true]);
    assert_eq!(matches(&HeaderTest::Range { start: 0, end: 5 }, &[]), [false, false, false]);
    assert_eq!(matches(&HeaderTest::ExactMatch(String::new()), &[]), [false, false, true]);
}

#[test]
fn presence_can_be_asked_for_and_inverted() {
    assert_eq!(matches(&HeaderTest::Present(true), &[]), [false, true, true]);
    assert_eq!(matches(&HeaderTest::Present(true), &[""]), [true, false, true]);
    assert_eq!(matches(&HeaderTest::Present(false), &[]), [true, false, false]);
    assert_eq!(matches(&HeaderTest::Present(false), &["a"]), [false, true, false]);
}

#[test]
fn an_inverted_match_needs_all_lines_to_differ() {
    assert_eq!(matches(&exact("a"), &["b", "a"]), [true, false, true]);
    assert_eq!(matches(&exact("a"), &["b", "c"]), [false, true, false]);
}

#[test]
fn an_empty_exact_match_takes_every_value_and_an_empty_string_match_the_empty_one() {
    assert_eq!(matches(&HeaderTest::ExactMatch(String::new()), &["a"]), [true, false, true]);
    assert_eq!(matches(&exact(""), &["a"]), [false, true, false]);
}

#[test]
fn a_range_has_its_start_and_not_its_end_and_takes_whole_numbers_alone() {
    let range = HeaderTest::Range { start: -3, end: 100 };
    for inside in ["-3", "0", "+5", "007", "99"] {
        assert!(matches(&range, &[inside])[0], "{inside}");
    }
    for outside in ["-4", "100", "", "5a", "5.0", "0x5", "99999999999999999999"] {
        assert!(!matches(&range, &[outside])[0], "{outside}");
    }
}
