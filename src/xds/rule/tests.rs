use super::*;
use crate::pb::rules::RateLimitUnit;

fn limit(unit: RateLimitUnit, requests_per_unit: u32) -> RateLimitPolicy {
    RateLimitPolicy { unit: unit.into(), requests_per_unit, ..RateLimitPolicy::default() }
}

fn unlimited() -> RateLimitPolicy {
    RateLimitPolicy { unlimited: true, ..RateLimitPolicy::default() }
}

fn leaf(key: &str, value: &str, rate_limit: RateLimitPolicy) -> RateLimitDescriptor {
    RateLimitDescriptor { rate_limit: Some(rate_limit), ..with(key, value, Vec::new()) }
}

fn with(key: &str, value: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitDescriptor {
    RateLimitDescriptor { key: key.to_owned(), value: value.to_owned(), descriptors, ..Default::default() }
}

fn merge(descriptors: Vec<RateLimitDescriptor>) -> (Vec<Rule>, Vec<(String, &'static str)>) {
    let mut told = Vec::new();
    let rules = merged(descriptors, &mut told);
    (rules, told.into_iter().map(|told| (told.path.join(" / "), told.what)).collect())
}

/// One rule, and what was told about it.
fn one(siblings: Vec<RateLimitDescriptor>) -> (Rule, Vec<&'static str>) {
    let (mut rules, told) = merge(siblings);
    assert_eq!(rules.len(), 1, "{rules:?}");
    (rules.remove(0), told.into_iter().map(|(_, what)| what).collect())
}

#[test]
fn a_range_that_is_limited_alone_and_with_an_address_is_one_rule() {
    let range = ("masked_remote_address", "10.0.0.0/8");
    let (rule, told) = one(vec![
        leaf(range.0, range.1, limit(RateLimitUnit::Minute, 20)),
        with(range.0, range.1, vec![leaf("remote_address", "", limit(RateLimitUnit::Minute, 5))]),
    ]);
    assert_eq!((rule.limits.len(), rule.below.len()), (1, 1));
    assert!(told.is_empty(), "nothing disagrees: {told:?}");
}

#[test]
fn what_is_below_equal_siblings_is_merged_too_and_told_with_its_path() {
    let (rules, told) = merge(vec![
        with("a", "x", vec![leaf("b", "", limit(RateLimitUnit::Hour, 5))]),
        with("other", "", vec![]),
        with(
            "a",
            "x",
            vec![leaf("c", "c", limit(RateLimitUnit::Hour, 1)), leaf("b", "", limit(RateLimitUnit::Hour, 3))],
        ),
    ]);
    let names: Vec<String> = rules.iter().map(Rule::name).collect();
    assert_eq!(names, ["a=x", "other"]);
    let below: Vec<(String, u32)> =
        rules[0].below.iter().map(|rule| (rule.name(), rule.limits[0].requests_per_unit)).collect();
    assert_eq!(below, [("b".to_owned(), 3), ("c".to_owned(), 1)]);
    assert_eq!(told, [("a=x / b".to_owned(), LOWER)]);
}

#[test]
fn of_limits_that_disagree_all_apply_but_of_two_with_one_period_only_the_lower() {
    let hour = |requests| leaf("k", "", limit(RateLimitUnit::Hour, requests));
    let day = leaf("k", "", limit(RateLimitUnit::Day, 100));
    let (rule, told) = one(vec![hour(5), day.clone(), hour(3), hour(9), hour(3)]);
    assert_eq!(rule.limits, [limit(RateLimitUnit::Hour, 3), limit(RateLimitUnit::Day, 100)]);
    assert_eq!(told, [BOTH, LOWER, LOWER]);

    let (rule, told) = one(vec![hour(5), hour(0)]);
    assert_eq!(
        (rule.limits, told),
        (vec![limit(RateLimitUnit::Hour, 0)], vec![LOWER]),
        "0 denies everything"
    );
    let (rule, told) = one(vec![hour(5), hour(5)]);
    assert_eq!((rule.limits.len(), told.len()), (1, 0));
}

#[test]
fn a_limit_applies_also_where_a_sibling_is_unlimited() {
    let (free, five) = (leaf("k", "", unlimited()), leaf("k", "", limit(RateLimitUnit::Hour, 5)));
    for siblings in [vec![free.clone(), five.clone()], vec![five, free.clone()]] {
        let (rule, told) = one(siblings);
        assert_eq!((rule.limits, told), (vec![limit(RateLimitUnit::Hour, 5)], vec![LIMITED]));
    }
    let named = RateLimitPolicy { name: "n".to_owned(), ..unlimited() };
    let (rule, told) = one(vec![free, leaf("k", "", named)]);
    assert_eq!((rule.limits, told), (vec![unlimited()], vec![]));
}

#[test]
fn a_limit_in_shadow_mode_is_never_enforced_by_a_sibling_nor_takes_one_into_the_shadow() {
    let enforced = leaf("k", "", limit(RateLimitUnit::Hour, 5));
    let shadow = RateLimitDescriptor { shadow_mode: true, ..leaf("k", "", limit(RateLimitUnit::Hour, 1)) };
    for siblings in [vec![enforced.clone(), shadow.clone()], vec![shadow.clone(), enforced.clone()]] {
        let (rule, told) = one(siblings);
        assert_eq!((rule.limits, told), (vec![limit(RateLimitUnit::Hour, 5)], vec![ENFORCED]));
        assert!(!rule.flags.shadow_mode);
    }
    // Where nothing is limited, shadow_mode says nothing.
    let parent = with("k", "", vec![leaf("below", "", limit(RateLimitUnit::Hour, 1))]);
    for siblings in [vec![parent.clone(), shadow.clone()], vec![shadow, parent]] {
        let (rule, told) = one(siblings);
        assert!(rule.flags.shadow_mode && told.is_empty() && rule.below.len() == 1, "{rule:?} {told:?}");
    }
}

#[test]
fn quotas_that_meet_enforced_limits_are_enforced() {
    let quota = RateLimitDescriptor { quota_mode: true, ..leaf("k", "", limit(RateLimitUnit::Day, 5)) };
    let enforced = leaf("k", "", limit(RateLimitUnit::Hour, 1));
    let (rule, told) = one(vec![quota, enforced]);
    assert!(!rule.flags.quota_mode && rule.limits.len() == 2, "{rule:?}");
    assert_eq!(told, [NO_QUOTA, BOTH]);
}

#[test]
fn a_thousand_equal_siblings_are_one_and_ten_thousand_others_are_merged_in_no_square_of_time() {
    let (rule, _) = one(vec![leaf("k", "v", limit(RateLimitUnit::Hour, 5)); 1_000]);
    assert_eq!(rule.limits.len(), 1);
    let many = (0..10_000).map(|number| leaf("k", &number.to_string(), limit(RateLimitUnit::Hour, 5)));
    assert_eq!(merge(many.collect()).0.len(), 10_000);
}
