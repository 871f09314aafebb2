//! Limits that others of the same request replace.

use super::*;
use crate::rules::NamedLimit;

fn limit(per_second: u32, name: &str, replaces: &[&str]) -> NamedLimit {
    let limit = (per_second > 0).then(|| Limit::new(per_second, Unit::Second, None).unwrap());
    let replaces = replaces.iter().map(|name| (*name).to_owned()).collect();
    NamedLimit { limit, name: name.to_owned(), replaces, on_store_failure: None }
}

/// The numbers of the limits that are left if one request matches a rule for each of these lists.
fn left(rules: &[&[NamedLimit]]) -> Vec<u32> {
    let patterns = rules.iter().zip(1..).map(|(limits, number)| Pattern {
        limits: Limits::All(limits.to_vec()),
        ..pattern(&format!("key{number}"), "", None, vec![])
    });
    let matcher = matcher(patterns.collect());
    let shop = matcher.domain(b"shop").unwrap();
    let matched: Vec<&Applies> = (1..=rules.len())
        .map(|number| {
            let key = format!("key{number}");
            let entries: [(&[u8], &[u8]); 1] = [(key.as_bytes(), b"x")];
            shop.find(entries).unwrap().applies(entries)
        })
        .collect();
    let replaced = shop.replaced(matched.iter().copied());
    let limits = matched.iter().flat_map(|applies| match applies {
        Applies::All(limits) => limits.as_slice(),
        Applies::Unlimited(_) => &[],
    });
    limits.filter(|limit| !replaced.leaves_out(limit)).map(|limit| limit.limit.requests_per_unit()).collect()
}

#[test]
fn a_limit_leaves_out_those_it_replaces_wherever_they_stand_in_the_request() {
    let (all, mine) = ([limit(1, "all", &[])], [limit(2, "mine", &["all", "nowhere"])]);
    assert_eq!(left(&[&all, &mine]), [2]);
    assert_eq!(left(&[&mine, &all, &all]), [2]);
    assert_eq!(left(&[&all]), [1], "the one that replaces it was not matched");
}

#[test]
fn what_is_unlimited_or_itself_replaced_replaces_too() {
    assert!(left(&[&[limit(1, "all", &[])], &[limit(0, "", &["all"])]]).is_empty());
    let chain = [limit(1, "a", &[]), limit(2, "b", &["a"]), limit(3, "c", &["b"])];
    assert_eq!(left(&[&chain[..1], &chain[1..2], &chain[2..]]), [3]);
    let ring = [limit(1, "a", &["b"]), limit(2, "b", &["a"])];
    assert!(left(&[&ring[..1], &ring[1..]]).is_empty());
}

#[test]
fn of_several_limits_of_a_rule_only_the_one_named_is_left_out() {
    let both = [limit(1, "minute", &[]), limit(2, "day", &[])];
    assert_eq!(left(&[&both, &[limit(3, "", &["minute"])]]), [2, 3]);
}

#[test]
fn a_limit_without_a_name_cannot_be_replaced() {
    assert_eq!(left(&[&[limit(1, "", &[])], &[limit(2, "", &["", "other"])]]), [1, 2]);
}

#[test]
fn where_no_rule_of_a_domain_replaces_nothing_is_looked_at() {
    let matcher = matcher(vec![pattern("key", "", Some(1), vec![])]);
    let shop = matcher.domain(b"shop").unwrap();
    let untouched = std::iter::from_fn(|| panic!("looked at"));
    let limit = &matcher.limits()[0];
    assert!(!shop.replaced(untouched).leaves_out(limit));
}
