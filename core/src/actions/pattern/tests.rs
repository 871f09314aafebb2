use proptest::{collection::vec, prelude::any, prop_assert_eq, proptest};

use super::{Pattern, PatternError};

fn matches(pattern: &str, value: &[u8]) -> bool {
    Pattern::full(pattern).unwrap().is_match(value)
}

#[test]
fn a_pattern_matches_the_whole_value_or_not_at_all() {
    assert!(matches("al|bob", b"bob"));
    assert!(!matches("al|bob", b"alice"));
    assert!(!matches("a", b"ba"));
    assert!(!matches("a$", b"a\n"));
}

#[test]
fn a_dot_is_one_byte_and_a_letter_beyond_ascii_is_two() {
    assert!(matches(".", b"\xff"));
    assert!(!matches(".", "\u{e9}".as_bytes()));
    assert!(matches("\u{e9}", "\u{e9}".as_bytes()));
    assert!(matches("[\u{e9}]", b"\xc3"), "the bytes of the letter, each for itself");
}

#[test]
fn classes_know_ascii_and_categories_the_first_256_characters() {
    assert!(!matches(r"\d", "\u{663}".as_bytes()));
    assert!(!matches(r"(?i)k", "\u{212a}".as_bytes()), "the sign of the Kelvin");
    assert!(!matches(r"\s", b"\x0b"), "a vertical tab");
    assert!(matches(r"\pL\p{Lu}[\p{Ll}x]\PL", b"\xe9\xc9\xe91"));
    assert!(!matches(r"\p{Greek}?a", b"b") && matches(r"\p{Greek}?a", b"a"));
}

#[test]
fn in_brackets_signs_that_mean_something_to_the_crate_are_plain_text() {
    assert!(matches("[[&&~~a-]+", b"[&~a-"));
    assert!(matches("[+--]+", b"+,-") && matches(r"[\+--]+", b"+,-") && matches("[--/]+", b"-./"));
    assert!(matches("[]a]+", b"]a"));
    assert!(matches("[^]a]", b"b") && !matches("[^]a]", b"]"));
    assert!(matches("[[:alpha:]-]+", b"a-"));
    assert!(matches(r"\<\>", b"<>"));
    assert!(matches("a{,3}", b"a{,3}") && matches("a{2,3}", b"aa") && matches("{", b"{"));
    assert!(matches(r"\x{62}\x63", b"bc"));
}

#[test]
fn what_re2_does_not_have_is_refused() {
    assert_eq!(Pattern::full("(?x)a").unwrap_err(), PatternError::Flag('x'));
    assert_eq!(Pattern::full(r"\u0041").unwrap_err(), PatternError::Escape("u".to_owned()));
    assert_eq!(Pattern::full(r"\x{100}").unwrap_err(), PatternError::Escape("x{100}".to_owned()));
    assert_eq!(Pattern::full(r"\p{None}").unwrap_err(), PatternError::Escape("p{None}".to_owned()));
    assert_eq!(Pattern::full("(a{1000}){1000}").unwrap_err(), PatternError::TooLarge);
    for broken in [
        "(",
        ")",
        "a)(b",
        "[",
        "[^",
        r"\",
        "*",
        r"\1",
        r"\p",
        r"\p{",
        r"\x{",
        "\\p\u{e9}",
        "\\p{\u{e9}}",
        "\\x{\u{e9}}",
        "(?",
    ] {
        assert!(Pattern::full(broken).is_err(), "{broken}");
    }
}

proptest! {
    #[test]
    fn a_text_is_contained_in_whatever_it_stands_in(
        text in ".{1,8}", before in vec(any::<u8>(), 0..8), after in vec(any::<u8>(), 0..8),
    ) {
        let pattern = Pattern::containing(&text, false).unwrap();
        let value = [&*before, text.as_bytes(), &after].concat();
        prop_assert_eq!(pattern.is_match(&value), true);
        let is_there = before.windows(text.len()).any(|window| window == text.as_bytes());
        prop_assert_eq!(pattern.is_match(&before), is_there);
    }

    #[test]
    fn no_pattern_is_too_strange(pattern in r"[\\\[\](){}^$.*+?|a-c,0-3pPxLé:&-]{0,20}") {
        let _ = Pattern::full(&pattern);
    }
}
