//! A lookup finds the same as a walk over the list of patterns that follows the table in the module's documentation.

use proptest::prelude::*;

use super::{super::wildcard::Wildcard, *};

pub(super) fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
    let one = (
        prop::sample::select(vec!["a", "ab", "a*", "*b", "*"]),
        prop::sample::select(vec!["", "x", "xy", "x*", "*y", "*", "x*y"]),
        any::<bool>(),
    );
    let leaf =
        one.clone().prop_map(|(key, value, limited)| pattern(key, value, limited.then_some(1), vec![]));
    let leaves = prop::collection::vec(leaf, 0..6);
    let node = (one, leaves)
        .prop_map(|((key, value, limited), below)| pattern(key, value, limited.then_some(1), below));
    prop::collection::vec(node, 0..8)
}

pub(super) fn entries() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let key = prop::sample::select(vec!["a", "ab", "b", "a*", "c"]);
    let value = prop::sample::select(vec!["", "x", "xy", "xyy", "y", "x*", "z"]);
    prop::collection::vec((key, value), 0..4)
}

/// Numbers the limits, so that they can be told apart.
fn number(patterns: &mut [Pattern], next: &mut u32) {
    for pattern in patterns {
        if pattern.limits != Limits::None {
            *next += 1;
            pattern.limits = Limits::All(vec![Limit::new(*next, Unit::Second, None).unwrap().into()]);
        }
        number(&mut pattern.descriptors, next);
    }
}

fn walk<'p>(patterns: &'p [Pattern], entries: &[(&str, &str)]) -> Option<&'p Pattern> {
    let ((key, value), rest) = entries.split_first()?;
    let name = |pattern: &'p Pattern| (&pattern.key, &pattern.value);
    let level: Vec<&Pattern> = patterns
        .iter()
        .enumerate()
        .filter(|(at, pattern)| patterns[at + 1..].iter().all(|later| name(later) != name(pattern)))
        .map(|(_, pattern)| pattern)
        .collect();
    let matches = |pattern: &str, text: &str| Wildcard::new(pattern).matches(text.as_bytes());
    let is_exact = |pattern: &&&Pattern| pattern.key == *key && pattern.value.as_deref() == Some(value);
    let is_wild = |pattern: &&&Pattern| {
        let is_wildcard = pattern.name().contains('*');
        let has_value = pattern.value.as_ref().is_none_or(|of_pattern| matches(of_pattern, value));
        is_wildcard && matches(&pattern.key, key) && has_value
    };
    let is_bare = |pattern: &&&Pattern| pattern.key == *key && pattern.value.is_none();
    let child = level
        .iter()
        .find(is_exact)
        .or_else(|| level.iter().find(is_wild))
        .or_else(|| level.iter().find(is_bare))?;
    if rest.is_empty() { Some(child) } else { walk(&child.descriptors, rest) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_index_finds_what_a_walk_over_the_list_finds(mut patterns in patterns(), entries in entries()) {
        number(&mut patterns, &mut 0);
        let expected = walk(&patterns, &entries).map(|pattern| pattern.limits.clone());
        let expected = expected.and_then(|limits| match limits {
            Limits::All(limits) => Some(limits[0].limit.as_ref().unwrap().requests_per_unit()),
            _ => None,
        });
        let matcher = matcher(patterns);
        let texts: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        prop_assert_eq!(find(&matcher, "shop", &texts).map(|(_, number)| number), expected);
    }
}
