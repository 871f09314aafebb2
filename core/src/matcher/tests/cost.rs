//! The cost of a lookup, among few rules and among many.

use std::hint::black_box;

use sha2::{Digest, Sha256};

use super::{members::shop_of, *};
use crate::rules::MemberTable;

const LOOKUPS: usize = 1_000;
const RUNS: usize = 21;

/// Rules of which half have a value and half are keys alone: `n` of `tenant` and `n` of `plan`.
fn rules(count: usize) -> Matcher {
    let half = count / 2;
    let valued = (0..half).map(|number| pattern("tenant", &format!("t{number}"), Some(1), vec![]));
    let bare = (0..half).map(|number| pattern(&format!("plan{number}"), "", Some(1), vec![]));
    matcher(valued.chain(bare).collect())
}

/// The median time of one lookup in nanoseconds, over exact values, bare keys and misses in turn.
fn nanoseconds_a_lookup(count: usize) -> u128 {
    let matcher = rules(count);
    let shop = matcher.domain(b"shop").unwrap();
    let half = count / 2;
    // The step has no common factor with the number of rules, so lookups spread over all of them.
    let asked: Vec<(String, String)> = (0..LOOKUPS)
        .map(|index| match (index % 4, index * 7_919 % half) {
            (0 | 1, number) => ("tenant".to_owned(), format!("t{number}")),
            (2, number) => (format!("plan{number}"), "x".to_owned()),
            (_, number) => (format!("none{number}"), "x".to_owned()),
        })
        .collect();
    median_of(&asked, |(key, value)| {
        black_box(shop.find([(key.as_bytes(), value.as_bytes())]));
    })
}

/// The median in nanoseconds.
fn median_of<T>(asked: &[T], mut ask: impl FnMut(&T)) -> u128 {
    let mut times: Vec<u128> = (0..RUNS)
        .map(|_| {
            #[allow(clippy::disallowed_methods, reason = "this test measures its own cost")]
            let started = std::time::Instant::now();
            asked.iter().for_each(&mut ask);
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2] / asked.len() as u128
}

/// `cargo test --release -p tollgate-core matcher::tests::cost -- --nocapture` prints the figures.
#[test]
fn a_lookup_among_100_000_rules_costs_about_what_one_among_10_costs() {
    let (few, many) = (nanoseconds_a_lookup(10), nanoseconds_a_lookup(100_000));
    eprintln!("a lookup among 10 rules: {few} ns, among 100,000: {many} ns");
    // Cache misses cost several times as much, but a walk over all rules would cost thousands of times as much.
    assert!(many < 30 * few.max(10), "{few} ns among 10 rules, {many} ns among 100,000");
}

/// The median time of finding the tier of a value of 32 bytes, for a table of that many, half of them asked for.
fn nanoseconds_a_member(count: usize, by_digest: bool) -> u128 {
    let value = |number: usize| format!("key-{number:028}");
    let mut table = MemberTable::default();
    for value in (0..count).map(value) {
        match by_digest {
            true => table.sha256.insert(Sha256::digest(value.as_bytes()).into(), "small".into()),
            false => table.plain.insert(value.as_bytes().into(), "small".into()),
        };
    }
    let api_key = Pattern { limits: Limits::OfMember, ..pattern("api_key", "", None, vec![]) };
    let matcher = shop_of(vec![api_key], table);
    let asked: Vec<String> = (0..LOOKUPS).map(|index| value(index * 7_919 % (2 * count))).collect();
    let rule = matcher.domain(b"shop").unwrap().find([(b"api_key".as_slice(), b"".as_slice())]).unwrap();
    median_of(&asked, |value| {
        black_box(rule.applies([(b"api_key".as_slice(), value.as_bytes())]));
    })
}

#[test]
fn a_member_among_100_000_costs_about_what_one_among_10_costs() {
    for (list, by_digest) in [("in plain", false), ("by digest", true)] {
        let (few, many) = (nanoseconds_a_member(10, by_digest), nanoseconds_a_member(100_000, by_digest));
        eprintln!("a member among 10 {list}: {few} ns, among 100,000: {many} ns");
        assert!(many < 30 * few.max(10), "{list}: {few} ns among 10, {many} ns among 100,000");
    }
}
