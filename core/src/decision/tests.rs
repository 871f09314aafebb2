mod changes;
mod intervals;
mod leases;
mod months;
mod undo;

use std::collections::HashMap;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq, sample};

use super::{Demand, State, Take, Verdict, decide};
use crate::{
    descriptor::{BucketKey, Hits},
    limit::{Exact, Limit, Unit},
};

type Table = HashMap<BucketKey, State>;

const START_US: u64 = 1_800_000_000_000_000;

fn key(number: u8) -> BucketKey {
    BucketKey::from_bytes([number; 16])
}

fn take(number: u8, limit: &Limit, hits: Hits) -> Take {
    Take { key: key(number), demand: Demand::new(hits, limit) }
}

fn full_at(table: &Table, number: u8, per_us: u32) -> Exact {
    State::full_at(table.get(&key(number)), per_us)
}

fn limit(requests_per_unit: u32, unit: Unit, burst: u32) -> Limit {
    Limit::new(requests_per_unit, unit, Some(burst)).unwrap()
}

/// Limits whose rates divide a period, and others; with bursts of one, and large ones.
fn limits() -> impl Strategy<Value = Limit> {
    sample::select(vec![
        limit(7, Unit::Second, 1),
        limit(7, Unit::Second, 7),
        limit(10, Unit::Second, 20),
        limit(1_000_003, Unit::Day, 5),
        limit(u32::MAX, Unit::Minute, 3),
        limit(u32::MAX, Unit::Second, u32::MAX),
        limit(1, Unit::Year, 1),
        limit(1, Unit::Year, 71),
        limit(1, Unit::Month, 868),
        limit(60, Unit::Minute, 10),
        limit(999_983, Unit::Hour, 999_983),
    ])
}

/// Steps of time in fractions of a token's time, so that takes fall just before and just after refills,
/// and idle gaps of up to three times the time to full.
fn steps(limit: &Limit) -> impl Strategy<Value = u64> + use<> {
    let token_us = limit.cost(1).whole_us.max(1);
    let fill_us = limit.worth_of_burst().whole_us.max(1);
    prop_oneof![
        4 => 0..=1_u64,
        4 => 0..=token_us.saturating_mul(2),
        1 => fill_us..=fill_us.saturating_mul(3),
        1 => sample::select(vec![fill_us, fill_us + 1, fill_us - 1, token_us, token_us + 1, token_us - 1]),
    ]
}

fn hits(limit: &Limit) -> impl Strategy<Value = u64> + use<> {
    let burst = u64::from(limit.burst());
    prop_oneof![6 => 1..=1_u64, 1 => sample::select(vec![0, burst, burst + 1, u64::MAX]), 2 => 1..=burst]
}

/// A bucket without `full_at`: its tokens are refilled continuously, and are counted in 1/(R·P) of a token, so that
/// they are integers.
struct Reference {
    level: u128,
    at_us: u64,
}

impl Reference {
    /// The level, in units of which a token has `period`, and of which a microsecond brings `tokens`.
    fn admits(&mut self, limit: &Limit, hits: u64, now_us: u64) -> bool {
        let period = u128::from(limit.unit().seconds()) * 1_000_000;
        let full = u128::from(limit.burst()) * period;
        let refill = u128::from(now_us - self.at_us) * u128::from(limit.requests_per_unit());
        self.level = (self.level + refill).min(full);
        self.at_us = now_us;
        let cost = u128::from(hits.max(1)) * period;
        let fits = cost <= self.level;
        if fits && hits > 0 {
            self.level -= cost;
        }
        fits
    }
}

proptest! {
    #[test]
    fn a_take_is_admitted_exactly_if_the_bucket_holds_its_tokens(
        (limit, takes) in limits().prop_flat_map(|limit| {
            let one = (steps(&limit), hits(&limit));
            (Just(limit), prop::collection::vec(one, 1..60))
        })
    ) {
        let mut table = Table::default();
        let full = u128::from(limit.burst()) * u128::from(limit.unit().seconds()) * 1_000_000;
        let mut reference = Reference { level: full, at_us: START_US };
        let mut now_us = START_US;
        for (step, hits) in takes {
            now_us += step;
            let asked = Hits::new(Some(hits), 0, false);
            let answer = decide(&[take(1, &limit, asked)], now_us, &mut table);
            let expected = reference.admits(&limit, hits, now_us);
            prop_assert_eq!(answer.verdict == Verdict::Allow, expected, "{} hits at {}", hits, now_us);
            let after = full_at(&table, 1, limit.per_us());
            let period = u128::from(limit.unit().seconds()) * 1_000_000;
            prop_assert_eq!(u128::from(limit.level(after, now_us)), reference.level / period);
        }
    }

    #[test]
    fn over_every_interval_at_most_burst_and_refill_are_admitted_whatever_the_clock_does(
        (limit, takes) in limits().prop_flat_map(|limit| {
            let one = (steps(&limit), hits(&limit), prop::bool::weighted(0.1));
            (Just(limit), prop::collection::vec(one, 1..60))
        })
    ) {
        let mut table = Table::default();
        let mut now_us = START_US * 2;
        let mut admitted = Vec::new();
        for (step, hits, back) in takes {
            now_us = if back { now_us - step.min(START_US / 100) } else { now_us + step };
            let asked = Hits::new(Some(hits), 0, false);
            let verdict = decide(&[take(1, &limit, asked)], now_us, &mut table).verdict;
            if hits > 0 && verdict == Verdict::Allow {
                admitted.push((i128::from(now_us), i128::from(hits)));
            }
        }
        let unit_us = i128::from(limit.unit().seconds()) * 1_000_000;
        for (i, &(from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for &(to, hits) in &admitted[i..] {
                sum += hits;
                // This also holds for an interval that ends before it began: then it is less than a burst.
                let refilled = (to - from) * i128::from(limit.requests_per_unit());
                prop_assert!(sum * unit_us <= i128::from(limit.burst()) * unit_us + refilled);
            }
        }
    }

    #[test]
    fn a_denied_take_fits_after_its_wait_and_not_a_microsecond_before(
        (limit, takes) in limits().prop_flat_map(|limit| {
            let one = (steps(&limit), 1..=u64::from(limit.burst()));
            (Just(limit), prop::collection::vec(one, 1..40))
        })
    ) {
        let mut table = Table::default();
        let mut now_us = START_US;
        for (step, hits) in takes {
            now_us += step;
            let asked = take(1, &limit, Hits::Take(hits));
            let answer = decide(&[asked], now_us, &mut table);
            if answer.verdict == Verdict::Deny {
                let full_at = answer.found[0].full_at();
                let wait_us = limit.wait_us(full_at, limit.cost(hits), now_us);
                let tokens = asked.demand.tokens().unwrap();
                prop_assert!(tokens.after(full_at, now_us + wait_us).is_some());
                prop_assert!(tokens.after(full_at, now_us + wait_us - 1).is_none());
            }
        }
    }

    #[test]
    fn a_denied_request_leaves_every_bucket_as_it_was(
        limit in limits(),
        before in prop::collection::vec((0..4_u8, 1..4_u64), 0..8),
        request in prop::collection::vec((0..4_u8, 0..6_u64, any::<bool>()), 1..8),
    ) {
        let mut table = Table::default();
        for (number, hits) in before {
            decide(&[take(number, &limit, Hits::Take(hits))], START_US, &mut table);
        }
        let request: Vec<Take> = request
            .into_iter()
            .map(|(number, hits, negative)| take(number, &limit, Hits::new(Some(hits), 0, negative)))
            .collect();
        let levels = |table: &Table| (0..4).map(|n| full_at(table, n, limit.per_us())).collect::<Vec<_>>();
        let earlier = levels(&table);
        let answer = decide(&request, START_US, &mut table);
        if answer.verdict == Verdict::Deny {
            prop_assert_eq!(earlier, levels(&table));
        }
    }
}

#[test]
fn a_bucket_that_stands_twice_in_a_request_adds_up() {
    let limit = limit(1, Unit::Minute, 1);
    let mut table = Table::default();
    let one = take(1, &limit, Hits::Take(1));
    let answer = decide(&[one, one], START_US, &mut table);
    assert_eq!(answer.verdict, Verdict::Deny);
    assert_eq!(answer.found.iter().map(|found| found.fits).collect::<Vec<_>>(), [true, false]);
    assert_eq!(full_at(&table, 1, limit.per_us()), Exact::default(), "nothing was charged");
    assert_eq!(decide(&[one], START_US, &mut table).verdict, Verdict::Allow);
}

#[test]
fn idling_never_earns_more_than_the_burst() {
    let limit = limit(10, Unit::Second, 10);
    let one = take(1, &limit, Hits::Take(1));
    for idle_us in [0, 500_000, 1_000_000, 1_500_000, 1_990_000, 2_000_000, 100_000_000] {
        let mut table = Table::default();
        decide(&[take(1, &limit, Hits::Take(10))], START_US, &mut table);
        let now_us = START_US + 1_000_000 + idle_us;
        let admitted = (0..30).filter(|_| decide(&[one], now_us, &mut table).verdict == Verdict::Allow);
        assert_eq!(admitted.count(), 10, "after idling {idle_us} µs");
    }
}

#[test]
fn a_clock_that_steps_back_refills_nothing_twice() {
    let limit = limit(10, Unit::Second, 10);
    let one = take(1, &limit, Hits::Take(1));
    let mut table = Table::default();
    let mut admitted = 0;
    for now_us in [START_US, START_US - 5_000_000, START_US, START_US - 1, START_US] {
        for _ in 0..20 {
            admitted += u32::from(decide(&[one], now_us, &mut table).verdict == Verdict::Allow);
        }
    }
    assert_eq!(admitted, 10);
}

#[test]
fn a_peek_needs_one_whole_token_and_charges_nothing() {
    let limit = limit(1, Unit::Second, 2);
    let mut table = Table::default();
    let peek = take(1, &limit, Hits::Peek);
    assert_eq!(decide(&[peek], START_US, &mut table).verdict, Verdict::Allow);
    decide(&[take(1, &limit, Hits::Take(2))], START_US, &mut table);
    assert_eq!(decide(&[peek], START_US + 999_999, &mut table).verdict, Verdict::Deny);
    assert_eq!(decide(&[peek], START_US + 1_000_000, &mut table).verdict, Verdict::Allow);
    assert_eq!(
        decide(&[take(1, &limit, Hits::Take(1))], START_US + 1_000_000, &mut table).verdict,
        Verdict::Allow
    );
}

#[test]
fn what_is_given_back_never_lifts_a_bucket_above_full() {
    let limit = limit(7, Unit::Minute, 7);
    let mut table = Table::default();
    decide(&[take(1, &limit, Hits::Take(5))], START_US, &mut table);
    decide(&[take(1, &limit, Hits::GiveBack(3))], START_US, &mut table);
    assert_eq!(limit.level(full_at(&table, 1, limit.per_us()), START_US), 5);
    decide(&[take(1, &limit, Hits::GiveBack(u64::MAX))], START_US, &mut table);
    assert_eq!(limit.level(full_at(&table, 1, limit.per_us()), START_US), 7);
    assert_eq!(decide(&[take(1, &limit, Hits::Take(8))], START_US, &mut table).verdict, Verdict::Deny);
}

#[test]
fn a_limit_of_zero_denies_takes_and_peeks_and_accepts_what_is_given_back() {
    let limit = limit(0, Unit::Hour, 0);
    let mut table = Table::default();
    let mut verdict = |hits| decide(&[take(1, &limit, hits)], START_US, &mut table).verdict;
    assert_eq!(verdict(Hits::Take(1)), Verdict::Deny);
    assert_eq!(verdict(Hits::Peek), Verdict::Deny);
    assert_eq!(verdict(Hits::GiveBack(5)), Verdict::Allow);
    assert_eq!(verdict(Hits::Take(1)), Verdict::Deny);
}

#[test]
fn what_a_take_found_is_what_stood_there_before_it() {
    let limit = limit(10, Unit::Second, 10);
    let mut table = Table::default();
    let answer =
        decide(&[take(1, &limit, Hits::Take(1)), take(1, &limit, Hits::Take(1))], START_US, &mut table);
    let one_missing = Exact::at_us(START_US + 100_000);
    let found: Vec<_> = answer.found.iter().map(|found| (found.fits, found.full_at())).collect();
    assert_eq!(found, [(true, Exact::default()), (true, one_missing)]);
}
