use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_matches(pattern: &str, texts: &[&str], others: &[&str]) {
    let wildcard = Wildcard::new(pattern);
    for text in texts {
        assert!(wildcard.matches(text.as_bytes()), "{pattern} matches {text:?}");
    }
    for text in others {
        assert!(!wildcard.matches(text.as_bytes()), "{pattern} does not match {text:?}");
    }
}

#[test]
fn a_star_stands_for_zero_or_more_bytes() {
    assert_matches("*", &["", "a", "*", "a_b/c"], &[]);
    assert_matches("web*", &["web", "web7", "web*"], &["we", "aweb", "Web"]);
    assert_matches("*.png", &[".png", "a.png"], &["a.pngx", "png"]);
    assert_matches("run*x", &["runx", "runax", "run9xx"], &["runa", "brunx", "run"]);
    assert_matches("**", &["", "a"], &[]);
}

#[test]
fn prefix_and_suffix_do_not_overlap() {
    assert_matches("aba*aba", &["abaaba", "aba_aba"], &["aba", "ababa"]);
    assert_matches("a*b*b", &["abb", "axbyb"], &["ab"]);
}

#[test]
fn pieces_between_stand_in_order_each_at_its_first_place() {
    assert_matches("/*/v1/*/x", &["//v1//x", "/a/v1/b/x", "/v1/v1/v1/x"], &["/v1/x", "/a/x/v1/"]);
}

#[test]
fn without_a_star_only_the_same_text_matches() {
    assert_matches("get", &["get"], &["", "gets", "ge"]);
}

#[test]
fn bytes_that_are_no_text_are_matched_as_bytes() {
    assert!(Wildcard::new("a*").matches(b"a\xff\xfe"));
    assert!(!Wildcard::new("\u{ff}*").matches(b"\xff"));
}

/// A matcher that tries every length for every `*`.
fn matches_by_trying(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| matches_by_trying(rest, &text[skipped..])),
        Some((byte, rest)) => text.first() == Some(byte) && matches_by_trying(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn one_pass_finds_what_trying_every_length_finds(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
        let expected = matches_by_trying(pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(Wildcard::new(&pattern).matches(text.as_bytes()), expected);
    }
}
