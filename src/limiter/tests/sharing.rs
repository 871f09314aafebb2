//! Which limits share a bucket, and which have one of their own.

use std::{collections::BTreeMap, sync::Arc};

use crate::store::memory::MemoryStore;
use tollgate_core::{
    applied::{AppliedLimit, Few, QuotaMode},
    decision::Verdict,
    descriptor::{BucketKey, Descriptor, Hits, KeyForm, Request},
    limit::{Algorithm, Limit, LimitSpec, Unit},
    matcher::Matcher,
    rules::{Domain, Limits, MemberTable, Members, NamedLimit, Options, Pattern},
};

const NOW_US: u64 = 1_800_000_000_000_000;

fn limit(requests: u32, unit: Unit) -> Limit {
    Limit::new(requests, unit, None).unwrap()
}

fn named(name: &str, limit: Limit) -> NamedLimit {
    NamedLimit { name: name.to_owned(), ..limit.into() }
}

fn matcher(descriptors: Vec<Pattern>) -> Matcher {
    Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, ..Domain::default() }])
}

fn rule(limits: Vec<NamedLimit>) -> Matcher {
    let key = "api_key".to_owned();
    matcher(vec![Pattern { key, limits: Limits::All(limits), ..Pattern::default() }])
}

/// The limits that apply to a request for one hit of this entry.
fn applied<'m>(
    matcher: &'m Matcher,
    (key, value): (&str, &str),
    limit: Option<Limit>,
) -> Few<AppliedLimit<'m>> {
    let rules = matcher.domain(b"edge").unwrap();
    let descriptor = Descriptor::new([(key.as_bytes(), value.as_bytes())], Hits::Take(1));
    let descriptors = [Descriptor { limit, ..descriptor }].into_iter().collect();
    let request = Request { domain: b"edge", descriptors };
    rules.apply(&request, QuotaMode::AsConfigured, KeyForm::Whole).unwrap().limits
}

fn buckets(matcher: &Matcher, entry: (&str, &str), limit: Option<Limit>) -> Vec<BucketKey> {
    applied(matcher, entry, limit).iter().map(|applied| applied.take.key).collect()
}

const ALICE: (&str, &str) = ("api_key", "alice");

#[test]
fn no_number_starts_a_bucket_anew_and_neither_does_a_name() {
    let before = buckets(&rule(vec![limit(10, Unit::Minute).into()]), ALICE, None);
    for after in [
        vec![limit(500, Unit::Minute).into()],
        vec![limit(0, Unit::Minute).into()],
        vec![named("rate", limit(10, Unit::Minute))],
        vec![named("rate", limit(10, Unit::Minute)), limit(9, Unit::Hour).into()],
        vec![limit(10, Unit::Minute).into(), named("burst", limit(99, Unit::Minute))],
    ] {
        let after = rule(after);
        assert_eq!(buckets(&after, ALICE, None)[0], before[0], "{:?}", after.limits());
    }
}

#[test]
fn of_limits_that_count_alike_each_has_a_bucket_of_its_own_that_keeps_its_name() {
    let three = |last: u32| {
        let minute = |requests| limit(requests, Unit::Minute);
        rule(vec![minute(10).into(), named("two", minute(20)), named("three", minute(last))])
    };
    let keys = buckets(&three(30), ALICE, None);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2] != keys[0]);
    assert_eq!(keys, buckets(&three(31), ALICE, None));
}

#[test]
fn a_requests_own_limit_shares_the_bucket_of_the_rule_whose_place_it_takes() {
    let window = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(9, Unit::Day) };
    let window = window.check().unwrap();
    let rule = rule(vec![limit(10, Unit::Minute).into(), window.clone().into()]);
    let [minute, day] = buckets(&rule, ALICE, None)[..] else { panic!("two limits") };
    let own = |limit| buckets(&rule, ALICE, Some(limit))[0];
    assert_eq!(own(limit(99, Unit::Minute)), minute);
    assert_eq!(own(window), day);
    assert!(![minute, day].contains(&own(limit(10, Unit::Hour))), "another period");
    assert!(![minute, day].contains(&own(limit(9, Unit::Day))), "counted in another way");
}

#[test]
fn a_requests_own_limit_shares_the_bucket_that_a_wildcard_shares() {
    let pattern = |is_shared| {
        let options = Options { share_threshold: is_shared, ..Options::default() };
        let limit = limit(10, Unit::Minute);
        vec![Pattern { options, ..Pattern::with_limit("path", Some("/a*"), limit) }]
    };
    let own = || Some(limit(99, Unit::Minute));
    let shared = matcher(pattern(true));
    let rules_bucket = buckets(&shared, ("path", "/a/1"), None);
    assert_eq!(buckets(&shared, ("path", "/a/1"), own()), rules_bucket);
    assert_eq!(buckets(&shared, ("path", "/a/2"), own()), rules_bucket);
    assert_ne!(buckets(&shared, ("path", "/b"), own()), rules_bucket, "no rule matches it");
    let apart = matcher(pattern(false));
    assert_eq!(buckets(&apart, ("path", "/a/1"), own()), buckets(&apart, ("path", "/a/1"), None));
    assert_ne!(buckets(&apart, ("path", "/a/1"), own()), buckets(&apart, ("path", "/a/2"), own()));
}

/// Rules under which alice is in that tier.
fn with_alice_in(tier: &str) -> Matcher {
    let tiers = [("free", 10), ("paid", 100)];
    let tiers: BTreeMap<String, Vec<NamedLimit>> =
        tiers.map(|(name, requests)| (name.to_owned(), vec![limit(requests, Unit::Minute).into()])).into();
    let plain = [(Box::from(ALICE.1.as_bytes()), Arc::from(tier))].into();
    let table = Arc::new(MemberTable { plain, ..MemberTable::default() });
    let members = Members { key: ALICE.0.to_owned(), default: "free".to_owned(), tiers, table };
    let pattern = Pattern { key: ALICE.0.to_owned(), limits: Limits::OfMember, ..Pattern::default() };
    let name = "edge".to_owned();
    let descriptors = vec![pattern];
    Matcher::new(vec![Domain { name, descriptors, members: Some(members), ..Domain::default() }])
}

#[test]
fn a_client_that_goes_from_tier_to_tier_gets_no_burst_by_it() {
    let (free, paid) = (with_alice_in("free"), with_alice_in("paid"));
    let store = MemoryStore::new();
    let passes = |matcher: &Matcher, now_us| {
        let takes: Vec<_> = applied(matcher, ALICE, None).iter().map(|applied| applied.take).collect();
        (0..200).filter(|_| store.take_at(&takes, now_us).unwrap().verdict == Verdict::Allow).count()
    };
    let way = [&free, &paid, &free, &paid].map(|matcher| passes(matcher, NOW_US));
    assert_eq!(way, [10, 0, 0, 0]);
    // Half a minute later half of either burst is back.
    let way = [&paid, &free, &paid].map(|matcher| passes(matcher, NOW_US + 30_000_000));
    assert_eq!(way, [50, 0, 0]);
}
