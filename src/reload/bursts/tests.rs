use std::sync::Arc;

use super::{Shortened, shortened, words};
use crate::config::check_bytes;
use tollgate_core::{
    limit::{Limit, Unit},
    matcher::Matcher,
    rules::{Domain, Limits, Members, NamedLimit, Pattern},
};

/// The rules of a file with these descriptors.
fn rules(descriptors: &str) -> Matcher {
    let text = format!("domain: edge\ndescriptors:\n{descriptors}");
    Matcher::new(check_bytes(text.as_bytes()).domains.unwrap())
}

fn limit(keys: &str) -> Matcher {
    rules(&format!("- {{key: api_key, rate_limit: {{{keys}}}}}\n"))
}

/// The minutes for which a key may be denied, and the number of limits that are worth a warning.
fn told(before: &Matcher, after: &Matcher) -> Option<(u64, usize)> {
    shortened(before, after).map(|told| (told.denied_us / 60_000_000, told.limits))
}

#[test]
fn a_burst_that_takes_less_time_to_fill_is_told_with_the_wait_that_it_means() {
    let slow = limit("unit: minute, requests_per_unit: 1, burst: 100");
    let quick = limit("unit: minute, requests_per_unit: 10, burst: 100");
    let expected = Shortened {
        domain: "edge".to_owned(),
        rule: "api_key".to_owned(),
        denied_us: 90 * 60_000_000,
        limits: 1,
    };
    assert_eq!(shortened(&slow, &quick), Some(expected));
    assert_eq!(told(&quick, &slow), None, "who used up ten minutes owes ten");
    let small = limit("unit: minute, requests_per_unit: 1, burst: 50");
    assert_eq!(told(&slow, &small), Some((50, 1)));
    let alike = limit("unit: minute, unit_multiplier: 1, requests_per_unit: 10, burst: 1000");
    assert_eq!(told(&slow, &alike), None, "as long to fill as before");
}

#[test]
fn a_minute_less_is_not_worth_a_warning_and_neither_is_a_limit_without_a_bucket() {
    let bucket = |burst| limit(&format!("unit: minute, requests_per_unit: 1, burst: {burst}"));
    assert_eq!(told(&bucket(3), &bucket(2)), None);
    assert_eq!(told(&bucket(4), &bucket(2)), Some((2, 1)));
    let none = limit("unit: minute, requests_per_unit: 0");
    assert_eq!(told(&bucket(100), &none), None, "it denies everything anyway");
    assert_eq!(told(&none, &bucket(100)), None);
    let window =
        |requests| limit(&format!("unit: hour, requests_per_unit: {requests}, algorithm: fixed_window"));
    assert_eq!(told(&window(100), &window(1)), None);
    assert_eq!(told(&bucket(100), &limit("unit: hour, requests_per_unit: 1")), None, "another bucket");
    assert_eq!(
        told(&bucket(100), &rules("- {key: other, rate_limit: {unit: minute, requests_per_unit: 1}}\n")),
        None
    );
}

#[test]
fn the_limit_with_the_longest_wait_is_named() {
    let all = |bursts: [u32; 3]| {
        let rule = |(name, burst): (&str, u32)| {
            format!("- {{key: {name}, rate_limit: {{unit: hour, requests_per_unit: 1, burst: {burst}}}}}\n")
        };
        rules(&["a", "b", "c"].into_iter().zip(bursts).map(rule).collect::<String>())
    };
    let told = shortened(&all([9, 9, 9]), &all([8, 2, 2])).unwrap();
    assert_eq!((told.rule.as_str(), told.denied_us, told.limits), ("b", 7 * 3_600_000_000, 3));
}

#[test]
fn limits_that_count_alike_are_told_apart_by_their_names() {
    let both = |first: u32, second: u32| {
        let limit =
            |burst: u32, name| format!("{{unit: hour, requests_per_unit: 1, burst: {burst}, name: {name}}}");
        let (first, second) = (limit(first, "one"), limit(second, "two"));
        rules(&format!("- {{key: api_key, rate_limits: [{first}, {second}]}}\n"))
    };
    assert_eq!(told(&both(9, 2), &both(9, 2)), None);
    assert_eq!(shortened(&both(2, 9), &both(2, 5)).unwrap().rule, "api_key:two");
}

#[test]
fn tiers_of_one_rule_are_compared_by_the_time_of_their_bursts() {
    let tiers = |tiers: &[(&str, u32)]| {
        let tier = |(name, burst): &(&str, u32)| {
            let limit = Limit::new(1, Unit::Hour, Some(*burst)).unwrap();
            ((*name).to_owned(), vec![NamedLimit::from(limit)])
        };
        let (key, default) = ("api_key".to_owned(), "free".to_owned());
        let tiers = tiers.iter().map(tier).collect();
        let members = Members { key: key.clone(), default, tiers, table: Arc::default() };
        let descriptors = vec![Pattern { key, limits: Limits::OfMember, ..Pattern::default() }];
        Matcher::new(vec![Domain {
            name: "edge".to_owned(),
            descriptors,
            members: Some(members),
            ..Domain::default()
        }])
    };
    let before = tiers(&[("free", 2), ("paid", 9)]);
    assert_eq!(told(&before, &before), None);
    assert_eq!(told(&before, &tiers(&[("basic", 5), ("free", 2), ("paid", 9)])), None);
    assert_eq!(told(&before, &tiers(&[("free", 1), ("paid", 9)])), Some((60, 1)));
    assert_eq!(told(&before, &tiers(&[("free", 2)])), Some((7 * 60, 1)), "who was paid is free now");
}

#[test]
fn a_wait_is_said_in_words_that_people_use() {
    let minutes = |minutes: u64| words(minutes * 60_000_000);
    assert_eq!(minutes(90), "90 minutes");
    assert_eq!(words(90 * 60_000_000 + 1), "91 minutes");
    assert_eq!(minutes(181), "4 hours");
    assert_eq!(minutes(100 * 24 * 60), "100 days");
}
