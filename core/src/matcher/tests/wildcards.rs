//! The child that is chosen for an entry among several that match.

use super::*;

/// The rule for these entries in a domain with these rules, each of which allows another number.
#[track_caller]
fn assert_takes(rules: &[(&str, &str)], entries: &[(&str, Option<usize>)]) {
    let patterns =
        rules.iter().zip(1..).map(|((key, value), number)| pattern(key, value, Some(number), vec![]));
    let matcher = matcher(patterns.collect());
    for (entry, expected) in entries {
        let found = find(&matcher, "shop", &[entry]).map(|(_, number)| number as usize - 1);
        assert_eq!(found, *expected, "{entry}");
    }
}

#[test]
fn values_match_by_prefix_suffix_and_what_stands_between() {
    let rules = [("host", "cdn*"), ("task", "copy*z"), ("asset", "*/js/*")];
    assert_takes(&rules, &[("host=cdn1", Some(0)), ("host=cdn", Some(0)), ("host=xcdn", None)]);
    assert_takes(&rules, &[("task=copyz", Some(1)), ("task=copy2z", Some(1)), ("task=copyzz2", None)]);
    assert_takes(&rules, &[("asset=a/js/b", Some(2)), ("asset=/js/", Some(2)), ("asset=/js", None)]);
    // A wildcard in a value holds for its own key only.
    assert_takes(&rules, &[("task=cdn1", None)]);
}

#[test]
fn an_exact_value_beats_every_wildcard_and_a_wildcard_the_bare_key() {
    let rules = [("host", ""), ("host", "c*"), ("h*", ""), ("host", "cdn")];
    assert_takes(&rules, &[("host=cdn", Some(3)), ("host=cdn1", Some(1)), ("hosts=x", Some(2))]);
    // `h*` is chosen before `host` alone.
    assert_takes(&rules, &[("host=x", Some(2))]);
}

#[test]
fn the_first_matching_wildcard_is_taken_not_the_closest() {
    assert_takes(&[("host", "c*"), ("host", "cdn*")], &[("host=cdn1", Some(0))]);
    assert_takes(&[("host", "cdn*"), ("host", "c*")], &[("host=cdn1", Some(0)), ("host=c1", Some(1))]);
}

#[test]
fn configuration_order_holds_between_wildcards_in_keys_and_in_values() {
    let rules = [("host", "c*"), ("h*", "cd*"), ("*", "d*"), ("host", "d*")];
    assert_takes(
        &rules,
        &[("host=cdn", Some(0)), ("hub=cdn", Some(1)), ("host=db", Some(2)), ("host=e", None)],
    );
    let turned = [("host", "d*"), ("*", "d*"), ("h*", "cd*"), ("host", "c*")];
    assert_takes(&turned, &[("host=cdn", Some(2)), ("host=c", Some(3)), ("host=db", Some(0))]);
}

#[test]
fn a_value_that_is_spelled_like_a_wildcard_is_an_exact_match() {
    assert_takes(&[("host", "c*"), ("host", "cdn*")], &[("host=cdn*", Some(1)), ("host=cdnn", Some(0))]);
    assert_takes(&[("h*", "c*"), ("*", "cd*"), ("h*", "cd*")], &[("h*=cd*", Some(2)), ("h*=cdd", Some(0))]);
}

#[test]
fn an_empty_value_matches_a_lone_star_or_else_the_bare_key() {
    assert_takes(&[("host", "c*"), ("host", "*"), ("host", "")], &[("host=", Some(1))]);
    assert_takes(&[("host", "c*"), ("host", "")], &[("host=", Some(1)), ("host=c", Some(0))]);
    assert_takes(&[("host", "c*")], &[("host=", None)]);
}

#[test]
fn a_star_in_the_key_matches_within_the_key_and_any_value() {
    let rules = [("x-*", ""), ("*_id", "7*"), ("*_id", "8")];
    assert_takes(&rules, &[("x-a=anything", Some(0)), ("x-=", Some(0)), ("y=x-", None)]);
    assert_takes(&rules, &[("user_id=71", Some(1)), ("user_id=8", Some(2)), ("user_id=88", None)]);
}

#[test]
fn key_and_value_are_never_joined() {
    assert_takes(&[("a", "b_c"), ("a_b", "c")], &[("a=b_c", Some(0)), ("a_b=c", Some(1)), ("a_b_c=", None)]);
    // envoyproxy/ratelimit lets this star reach over the underscore into the value.
    assert_takes(&[("a*c", "")], &[("a=b_c", None), ("a_bc=x", Some(0))]);
}

#[test]
fn a_wildcard_without_a_limit_blocks_what_comes_after_it() {
    let matcher = matcher(vec![
        pattern("host", "c*", None, vec![pattern("op", "*", Some(7), vec![])]),
        pattern("host", "cd*", Some(1), vec![]),
        pattern("host", "", Some(2), vec![pattern("op", "", Some(3), vec![])]),
    ]);
    assert_eq!(find(&matcher, "shop", &["host=cdn"]), None);
    assert_eq!(find(&matcher, "shop", &["host=cdn", "op=x"]), Some(("host_c*.op_*".to_owned(), 7)));
    assert_eq!(find(&matcher, "shop", &["host=cdn", "up=x"]), None);
    assert_eq!(find(&matcher, "shop", &["host=x", "op=x"]), Some(("host.op".to_owned(), 3)));
}

#[test]
fn bytes_that_are_no_text_match_a_wildcard() {
    let matcher = matcher(vec![pattern("host", "c*", Some(1), vec![])]);
    let host: (&[u8], &[u8]) = (b"host", b"c\xff");
    assert_eq!(&*matcher.domain(b"shop").unwrap().find([host]).unwrap().path, "host_c*");
}
