//! Limits by the tier of a value.

use std::collections::BTreeMap;

use super::*;
use crate::rules::{MemberTable, Members, NamedLimit};

fn limit(per_second: u32) -> NamedLimit {
    Limit::new(per_second, Unit::Second, None).unwrap().into()
}

fn of_member(key: &str, descriptors: Vec<Pattern>) -> Pattern {
    Pattern { limits: Limits::OfMember, ..pattern(key, "", None, descriptors) }
}

/// `ann` is in the small tier, the SHA-256 of `bob` in the large one, `eve` in one that does not exist.
fn table() -> MemberTable {
    let plain = [("ann", "small"), ("eve", "lost")];
    // `printf bob | sha256sum`
    let bob = "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9";
    let byte = |at: usize| u8::from_str_radix(&bob[2 * at..2 * at + 2], 16).unwrap();
    MemberTable {
        plain: plain.map(|(value, tier)| (value.as_bytes().into(), tier.into())).into_iter().collect(),
        sha256: [(std::array::from_fn(byte), "large".into())].into_iter().collect(),
    }
}

pub(super) fn shop_of(descriptors: Vec<Pattern>, table: MemberTable) -> Matcher {
    let tiers = [
        ("small", vec![limit(1)]),
        ("large", vec![limit(10), limit(100)]),
        ("free", vec![limit(5)]),
        (
            "staff",
            vec![NamedLimit { limit: None, name: String::new(), replaces: vec![], on_store_failure: None }],
        ),
    ];
    let tiers: BTreeMap<_, _> = tiers.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect();
    let (key, default) = ("api_key".to_owned(), "free".to_owned());
    let members = Some(Members { key, default, tiers, table: Arc::new(table) });
    Matcher::new(vec![Domain { name: "shop".to_owned(), descriptors, members, ..Domain::default() }])
}

/// The numbers of the limits that apply: none if there is no rule, and an empty list if it is unlimited.
fn applied(matcher: &Matcher, entries: &[&str]) -> Option<Vec<u32>> {
    let pairs = entries.iter().map(|entry| entry.split_once('=').unwrap());
    let entries = pairs.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    match matcher.domain(b"shop").unwrap().find(entries.clone())?.applies(entries) {
        Applies::Unlimited(_) => Some(Vec::new()),
        Applies::All(limits) => {
            let numbers = limits.iter().map(|limit| {
                assert!(Arc::ptr_eq(limit, limit.index.find(matcher.limits()).unwrap()));
                limit.limit.requests_per_unit()
            });
            Some(numbers.collect())
        }
    }
}

#[test]
fn a_value_has_the_limits_of_its_tier_listed_in_plain_or_by_its_digest() {
    let matcher = shop_of(vec![of_member("api_key", vec![])], table());
    assert_eq!(applied(&matcher, &["api_key=ann"]), Some(vec![1]));
    assert_eq!(applied(&matcher, &["api_key=bob"]), Some(vec![10, 100]));
    assert_eq!(applied(&matcher, &["api_key=kim"]), Some(vec![5]), "not listed");
    assert_eq!(applied(&matcher, &["api_key="]), Some(vec![5]));
    assert_eq!(applied(&matcher, &["api_key=eve"]), Some(vec![5]), "listed under no known tier");
    assert_eq!(matcher.limits().len(), 4);
}

#[test]
fn what_stands_in_plain_counts_before_a_digest_and_a_tier_may_be_unlimited() {
    let mut table = table();
    table.plain.insert(b"bob".as_slice().into(), "staff".into());
    let matcher = shop_of(vec![of_member("api_key", vec![])], table);
    assert_eq!(applied(&matcher, &["api_key=bob"]), Some(vec![]));
}

#[test]
fn without_digests_none_is_worked_out() {
    let mut table = table();
    table.sha256.clear();
    let matcher = shop_of(vec![of_member("api_key", vec![])], table);
    assert_eq!(applied(&matcher, &["api_key=bob"]), Some(vec![5]));
}

#[test]
fn the_nearest_entry_with_the_key_at_or_above_the_rule_is_looked_up() {
    let below = pattern("api_key", "", None, vec![of_member("path", vec![of_member("api_key", vec![])])]);
    let matcher = shop_of(vec![below], table());
    assert_eq!(applied(&matcher, &["api_key=ann", "path=bob"]), Some(vec![1]));
    assert_eq!(applied(&matcher, &["api_key=ann", "path=x", "api_key=bob"]), Some(vec![10, 100]));
    // Each rule has limits of its own in each tier.
    assert_eq!(matcher.limits().len(), 8);
    let indices = |entries: &[&str]| {
        let pairs = entries.iter().map(|entry| entry.split_once('=').unwrap());
        let entries = pairs.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
        match matcher.domain(b"shop").unwrap().find(entries.clone()).unwrap().applies(entries) {
            Applies::All(limits) => limits.iter().map(|limit| limit.index).collect::<Vec<_>>(),
            Applies::Unlimited(_) => panic!("limited"),
        }
    };
    assert_ne!(indices(&["api_key=ann", "path=x"]), indices(&["api_key=x", "path=x", "api_key=ann"]));
}

#[test]
fn what_the_configuration_refuses_leaves_no_rule() {
    let no_key = shop_of(vec![of_member("path", vec![])], table());
    assert_eq!(applied(&no_key, &["path=x"]), None);
    assert_eq!(applied(&matcher(vec![of_member("api_key", vec![])]), &["api_key=ann"]), None);
}

#[test]
fn the_tier_is_told_with_the_entry_that_it_comes_from() {
    let shop = shop_of(vec![pattern("route", "", None, vec![of_member("api_key", vec![])])], table());
    let tier = |value: &str| {
        let entries =
            [("route", "a"), ("api_key", value)].map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let rule = shop.domain(b"shop").unwrap().find(entries).unwrap();
        rule.tier(entries).map(|tier| (tier.position, tier.name.map(str::to_owned)))
    };
    assert_eq!(tier("ann"), Some((1, Some("small".to_owned()))));
    assert_eq!(tier("bob"), Some((1, Some("large".to_owned()))));
    assert_eq!(tier("zoe"), Some((1, None)), "not listed, so in the default tier");
    assert_eq!(tier("eve"), Some((1, None)), "her tier has no limits here");
    let plain = super::shop();
    let seat = [(&b"seat"[..], &b"1"[..])];
    assert_eq!(plain.domain(b"shop").unwrap().find(seat).unwrap().tier(seat), None);
}
