//! The trace agrees with the lookup, and gives the reasons of the table in the module's documentation.

use proptest::prelude::*;

use super::{
    super::{Choice, TracedLevel, is_wildcard, wildcard::Wildcard},
    walk::{entries, patterns},
    *,
};

fn trace(matcher: &Matcher, entries: &[(&str, &str)]) -> Vec<TracedLevel> {
    let entries = entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    matcher.domain(b"shop").unwrap().trace(entries)
}

fn chosen(level: &TracedLevel) -> Option<Pattern> {
    let found = level.patterns.iter().find(|pattern| pattern.choice.is_chosen())?;
    Some(Pattern { key: found.key.clone(), value: found.value.clone(), ..Pattern::default() })
}

/// How a pattern fits by itself, from the best to the worst: the rows of the table, then those that do not match.
fn row(key: &str, value: Option<&str>, entry: (&str, &str)) -> u8 {
    let matches = |pattern: &str, text: &str| Wildcard::new(pattern).matches(text.as_bytes());
    if (key, value) == (entry.0, Some(entry.1)) {
        1
    } else if (is_wildcard(key) || value.is_some_and(is_wildcard))
        && matches(key, entry.0)
        && value.is_none_or(|value| matches(value, entry.1))
    {
        2
    } else if key == entry.0 && value.is_none() {
        3
    } else {
        4
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_trace_leads_where_the_lookup_leads(patterns in patterns(), entries in entries()) {
        let matcher = matcher(patterns);
        let levels = trace(&matcher, &entries);
        let names: Option<Vec<String>> =
            levels.iter().map(|level| Some(chosen(level)?.name())).collect();
        let pairs = entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        match (matcher.domain(b"shop").unwrap().look_up(pairs), names) {
            (Found::Rule(rule), Some(names)) => {
                prop_assert_eq!(names.len(), entries.len());
                prop_assert_eq!(&*rule.path, names.join("."));
            }
            (Found::Rule(rule), None) => prop_assert!(false, "{} was found without a trace", rule.path),
            (Found::Exemption, names) => prop_assert_eq!(names.map(|names| names.len()), Some(entries.len())),
            (Found::Nothing, Some(names)) => prop_assert_eq!(names.len(), entries.len()),
            (Found::Nothing, None) => {}
        }
    }

    #[test]
    fn each_reason_is_true(patterns in patterns(), entries in entries()) {
        let matcher = matcher(patterns);
        for (level, entry) in trace(&matcher, &entries).iter().zip(&entries) {
            let rows: Vec<u8> =
                level.patterns.iter().map(|one| row(&one.key, one.value.as_deref(), *entry)).collect();
            // `min_by_key` takes the first of equal ones, which is the one that was configured first.
            let best = rows.iter().enumerate().min_by_key(|(_, row)| **row).filter(|(_, row)| **row < 4);
            for (index, pattern) in level.patterns.iter().enumerate() {
                let expected = match (rows[index], best) {
                    (4, _) => Choice::OtherValue,
                    (1, _) => Choice::Exact,
                    (2, Some((best, _))) if best == index => Choice::Wildcard,
                    (3, Some((best, _))) if best == index => Choice::AnyValue,
                    (_, Some((_, 1))) => Choice::BehindExact,
                    (2, _) => Choice::BehindEarlier,
                    _ => Choice::BehindWildcard,
                };
                prop_assert_eq!(pattern.choice, expected, "{:?} at {:?}", level, entry);
            }
        }
    }
}

#[test]
fn every_pattern_of_a_level_is_listed_or_counted() {
    let level = [
        pattern("route", "login", Some(1), vec![]),
        pattern("route", "l*", Some(2), vec![]),
        pattern("r*", "", Some(3), vec![]),
        pattern("route", "", Some(4), vec![]),
        pattern("route", "search", Some(5), vec![]),
        pattern("user", "", Some(6), vec![]),
    ];
    let traced = |left_out: usize| {
        let patterns = level[left_out..].to_vec();
        let levels = trace(&matcher(patterns), &[("route", "login"), ("user", "7")]);
        let choices = levels[0].patterns.iter().map(|pattern| pattern.choice).collect::<Vec<_>>();
        assert_eq!((levels.len(), levels[0].other_keys), (2, 1));
        assert_eq!(levels[1], TracedLevel { patterns: vec![], other_keys: 0 }, "the rules end before it");
        choices
    };
    use Choice::*;
    assert_eq!(traced(0), [Exact, BehindExact, BehindExact, BehindExact, OtherValue]);
    assert_eq!(traced(1), [Wildcard, BehindEarlier, BehindWildcard, OtherValue]);
    assert_eq!(traced(3), [AnyValue, OtherValue]);
}

#[test]
fn a_descriptor_without_entries_passes_no_level() {
    assert_eq!(trace(&shop(), &[]), []);
}
