//! Logs and windows admit no more than the limit in each period, and keep no more than they need.

use std::collections::HashMap;

use proptest::prelude::{Strategy, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{START_US, Table, key};
use crate::{
    decision::{Demand, State, Take, Verdict, decide},
    descriptor::Hits,
    limit::{Algorithm, LimitSpec, Overdraft, Unit},
};

const LENGTH_US: u64 = 60_000_000;

fn take(spec: LimitSpec, hits: u64) -> Take {
    Take { key: key(1), demand: Demand::new(Hits::Take(hits), &spec.check().unwrap()) }
}

fn spec(algorithm: Algorithm, requests: u32) -> LimitSpec {
    LimitSpec { algorithm, ..LimitSpec::new(requests, Unit::Minute) }
}

/// Steps of time, and hits.
fn takes() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let step = prop_oneof![
        3 => 0..=0_u64, 3 => 0..20_000_000_u64, 1 => 59_000_000..62_000_000_u64,
        1 => LENGTH_US..=LENGTH_US, 1 => LENGTH_US - 1..=LENGTH_US - 1
    ];
    prop::collection::vec((step, 1..4_u64), 1..80)
}

proptest! {
    #[test]
    fn a_log_admits_its_number_in_every_period_and_denies_nothing_that_fits(
        requests in 1..12_u32, takes in takes(),
    ) {
        let (mut table, mut now_us) = (Table::default(), START_US);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let log = spec(Algorithm::SlidingWindowLog, requests);
        for (step, hits) in takes {
            now_us += step;
            let verdict = decide(&[take(log, hits)], now_us, &mut table).verdict;
            let held: u64 =
                admitted.iter().filter(|(at, _)| at + LENGTH_US > now_us).map(|(_, hits)| hits).sum();
            prop_assert_eq!(verdict == Verdict::Allow, held + hits <= u64::from(requests), "{} held", held);
            if verdict == Verdict::Allow {
                admitted.push((now_us, hits));
            }
            if let Some(State::SlidingLog(log)) = table.get(&key(1)) {
                prop_assert!(log.len() <= requests as usize, "{} runs are kept", log.len());
            }
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let within = admitted[index..].iter().take_while(|(at, _)| *at < from + LENGTH_US);
            prop_assert!(within.map(|(_, hits)| hits).sum::<u64>() <= u64::from(requests));
        }
    }

    #[test]
    fn a_window_admits_its_number_in_each_aligned_period_and_denies_nothing_that_fits(
        requests in 1..12_u32, takes in takes(),
    ) {
        let (mut table, mut now_us) = (Table::default(), START_US);
        let mut counts: HashMap<u64, u64> = HashMap::new();
        let window = spec(Algorithm::FixedWindow, requests);
        for (step, hits) in takes {
            now_us += step;
            let count = counts.entry(now_us / LENGTH_US).or_default();
            let verdict = decide(&[take(window, hits)], now_us, &mut table).verdict;
            prop_assert_eq!(verdict == Verdict::Allow, *count + hits <= u64::from(requests));
            if verdict == Verdict::Allow {
                *count += hits;
            }
        }
    }

    #[test]
    fn what_is_owed_is_at_most_one_burst(
        requests in 1..12_u32, bills in prop::collection::vec(1..40_u64, 1..10),
    ) {
        for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
            let spec = LimitSpec { overdraft: Overdraft::Charge, ..spec(algorithm, requests) };
            let mut table = Table::default();
            for hits in &bills {
                decide(&[take(spec, *hits)], START_US, &mut table);
            }
            let (billed, most) = (bills.iter().sum::<u64>(), 2 * u64::from(requests));
            match table.get(&key(1)) {
                Some(State::FixedWindow(window)) => prop_assert_eq!(u64::from(window.count), billed.min(most)),
                Some(State::TokenBucket(full_at)) => {
                    let most_us = START_US + 2 * LENGTH_US;
                    prop_assert!(full_at.ceil_us() <= most_us, "two bursts from full at most");
                    prop_assert_eq!(full_at.ceil_us() == most_us, billed >= most);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn takes_of_one_instant_all_count_and_are_one_run() {
    let mut table = Table::default();
    let one = take(spec(Algorithm::SlidingWindowLog, 40), 1);
    let admitted = (0..64).filter(|_| decide(&[one], START_US, &mut table).verdict == Verdict::Allow);
    assert_eq!(admitted.count(), 40);
    let Some(State::SlidingLog(log)) = table.get(&key(1)) else { panic!("a log") };
    assert_eq!(log.len(), 1);
}
