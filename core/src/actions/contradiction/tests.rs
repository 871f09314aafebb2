use crate::actions::{
    Action, ActionSpec, HeaderMatchSpec, HeaderTest, QueryMatchSpec, QueryTest, RateLimit, TextMatchSpec,
    tests::{header, key},
};

fn matcher(test: HeaderTest, invert_match: bool) -> HeaderMatchSpec {
    HeaderMatchSpec { name: "X-Key".to_owned(), test, invert_match, treat_missing_header_as_empty: false }
}

fn matching(expect_match: bool, headers: Vec<HeaderMatchSpec>) -> ActionSpec {
    ActionSpec::HeaderValueMatch {
        descriptor_key: None,
        descriptor_value: "v".to_owned(),
        default_value: String::new(),
        expect_match,
        headers,
    }
}

fn contradiction(specs: impl IntoIterator<Item = ActionSpec>) -> Option<String> {
    let actions = specs.into_iter().map(|spec| Action::new(spec).unwrap()).collect();
    RateLimit::new(actions, None).unwrap().contradiction().map(str::to_owned)
}

#[test]
fn a_header_that_must_be_there_and_must_not_be_is_found() {
    let found = Some("x-key".to_owned());
    let absent = || matching(true, vec![matcher(HeaderTest::Present(false), false)]);
    assert_eq!(contradiction([absent(), key("k"), header("x-key", false)]), found);
    let absent = || matching(false, vec![matcher(HeaderTest::Present(true), false)]);
    assert_eq!(contradiction([header("x-key", false), absent()]), found);
    assert_eq!(contradiction([header("x-key", true), absent()]), None, "skipped where it is absent");
    let nothing = || matcher(HeaderTest::Range { start: 5, end: 5 }, false);
    assert_eq!(contradiction([matching(true, vec![nothing()])]), found);
    assert_eq!(contradiction([matching(false, vec![nothing()])]), None);
}

#[test]
fn demands_that_some_request_meets_are_no_contradiction() {
    let exact = || HeaderTest::Text(TextMatchSpec::Exact { text: "a".to_owned(), ignore_case: false });
    for specs in [
        vec![header("x-key", false), header("x-key", false)],
        vec![header("x-key", false), matching(true, vec![matcher(exact(), true)])],
        vec![header("x-key", false), matching(false, vec![matcher(exact(), false)])],
        vec![header("x-other", false), matching(true, vec![matcher(HeaderTest::Present(false), false)])],
        vec![
            header("x-key", false),
            matching(false, vec![matcher(HeaderTest::Present(true), false), matcher(exact(), false)]),
        ],
    ] {
        assert_eq!(contradiction(specs.clone()), None, "{specs:?}");
    }
}

#[test]
fn a_query_parameter_that_cannot_be_both_is_found() {
    let test = |test| QueryMatchSpec { name: "plan".to_owned(), test };
    let exact =
        |text: &str| QueryTest::Text(TextMatchSpec::Exact { text: text.to_owned(), ignore_case: false });
    let matching = |expect_match, query_parameters| ActionSpec::QueryParameterValueMatch {
        descriptor_key: None,
        descriptor_value: "v".to_owned(),
        default_value: String::new(),
        expect_match,
        query_parameters,
    };
    let value = |skip_if_absent| ActionSpec::QueryParameters {
        query_parameter_name: "plan".to_owned(),
        descriptor_key: "plan".to_owned(),
        skip_if_absent,
    };
    let found = Some("plan".to_owned());
    let absent = || matching(true, vec![test(QueryTest::Present(false))]);
    assert_eq!(contradiction([absent(), value(false)]), found);
    assert_eq!(contradiction([value(false), matching(false, vec![test(QueryTest::Present(true))])]), found);
    assert_eq!(contradiction([matching(true, vec![test(exact("a")), test(exact("b"))])]), found);
    for specs in [
        vec![absent(), value(true)],
        vec![absent(), absent()],
        vec![value(false), matching(true, vec![test(exact("a"))])],
        vec![matching(true, vec![test(exact("a"))]), matching(false, vec![test(exact("b"))])],
    ] {
        assert_eq!(contradiction(specs.clone()), None, "{specs:?}");
    }
}
