//! Undoing takes, in any order and at any time, admits no more than the limit.

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest, sample::Index};

use super::{START_US, Table, full_at, hits, key, limits, steps};
use crate::{
    decision::{Demand, State, Take, Verdict, decide},
    descriptor::Hits,
    limit::{Algorithm, Exact, Limit, LimitSpec, Unit},
};

/// What happens after some time.
#[derive(Debug, Clone)]
enum Event {
    Take(u64),
    /// One of the takes that were admitted and not undone.
    Undo(Index),
}

fn events(limit: &Limit) -> impl Strategy<Value = Vec<(u64, Event)>> + use<> {
    let event =
        prop_oneof![3 => hits(limit).prop_map(Event::Take), 2 => any::<Index>().prop_map(Event::Undo)];
    prop::collection::vec((steps(limit), event), 1..60)
}

/// A take that was admitted and not undone.
#[derive(Debug, Clone, Copy)]
struct Admitted {
    at_us: u64,
    hits: u64,
    take: Take,
}

/// The takes that were admitted and not undone, in their order.
fn admitted(limit: &Limit, events: &[(u64, Event)], table: &mut Table) -> Vec<Admitted> {
    let (mut now_us, mut admitted): (u64, Vec<Admitted>) = (START_US, Vec::new());
    for (step_us, event) in events {
        now_us += step_us;
        match event {
            Event::Take(hits) => {
                let take = super::take(1, limit, Hits::Take(*hits));
                if decide(&[take], now_us, table).verdict == Verdict::Allow {
                    admitted.push(Admitted { at_us: now_us, hits: *hits, take });
                }
            }
            Event::Undo(index) if !admitted.is_empty() => {
                let Admitted { at_us, take, .. } = admitted.remove(index.index(admitted.len()));
                let undo = Take { demand: take.demand.undo(at_us), ..take };
                assert_eq!(decide(&[undo], now_us, table).verdict, Verdict::Allow);
            }
            Event::Undo(_) => {}
        }
    }
    admitted
}

fn counting(algorithm: Algorithm, requests: u32) -> Limit {
    LimitSpec { algorithm, ..LimitSpec::new(requests, Unit::Second) }.check().unwrap()
}

proptest! {
    /// Giving back the whole fails this.
    #[test]
    fn whatever_takes_are_undone_the_others_are_at_most_burst_and_refill_over_every_interval(
        (limit, events) in limits().prop_flat_map(|limit| {
            let events = events(&limit);
            (Just(limit), events)
        })
    ) {
        let admitted = admitted(&limit, &events, &mut Table::default());
        let unit_us = i128::from(limit.unit().seconds()) * 1_000_000;
        for (index, from) in admitted.iter().enumerate() {
            let mut sum = 0;
            for to in &admitted[index..] {
                sum += i128::from(to.hits);
                let refilled = i128::from(to.at_us - from.at_us) * i128::from(limit.requests_per_unit());
                prop_assert!(sum * unit_us <= i128::from(limit.burst()) * unit_us + refilled);
            }
        }
    }

    #[test]
    fn whatever_takes_are_undone_a_period_of_a_window_or_log_holds_at_most_its_number(
        is_log in any::<bool>(),
        requests in 1..9_u32,
        events in events(&Limit::new(7, Unit::Second, Some(7)).unwrap()),
    ) {
        let algorithm = if is_log { Algorithm::SlidingWindowLog } else { Algorithm::FixedWindow };
        let mut table = Table::default();
        let admitted = admitted(&counting(algorithm, requests), &events, &mut table);
        for from in &admitted {
            let is_together = |to: &&Admitted| match is_log {
                true => (from.at_us..from.at_us + 1_000_000).contains(&to.at_us),
                false => to.at_us / 1_000_000 == from.at_us / 1_000_000,
            };
            let sum: u64 = admitted.iter().filter(is_together).map(|to| to.hits).sum();
            prop_assert!(sum <= u64::from(requests), "{} hits", sum);
        }
    }

    #[test]
    fn a_take_that_is_undone_at_once_leaves_the_bucket_as_it_was(
        limit in limits(), before in 0..5_u64, taken in 1..5_u64,
    ) {
        let mut table = Table::default();
        for hits in [before, taken] {
            decide(&[super::take(1, &limit, Hits::Take(hits))], START_US, &mut table);
        }
        let mut alone = Table::default();
        decide(&[super::take(1, &limit, Hits::Take(before))], START_US, &mut alone);
        let earlier = full_at(&alone, 1, limit.per_us());
        if full_at(&table, 1, limit.per_us()) != earlier {
            let undo = Demand::new(Hits::Take(taken), &limit).undo(START_US);
            decide(&[Take { key: key(1), demand: undo }], START_US, &mut table);
        }
        prop_assert_eq!(full_at(&table, 1, limit.per_us()), earlier);
    }
}

#[test]
fn a_clock_that_steps_back_gives_back_no_more_than_was_taken() {
    let limit = Limit::new(1, Unit::Second, Some(5)).unwrap();
    let take = super::take(1, &limit, Hits::Take(2));
    let mut table = Table::default();
    decide(&[take, take], START_US, &mut table);
    let undo = Take { demand: take.demand.undo(START_US), ..take };
    decide(&[undo], START_US - 60_000_000, &mut table);
    assert_eq!(full_at(&table, 1, limit.per_us()), Exact::at_us(START_US + 2_000_000));
}

#[test]
fn what_left_a_log_or_a_window_is_not_given_back_and_neither_is_another_take() {
    let two = Hits::Take(2);
    for (algorithm, left) in [(Algorithm::SlidingWindowLog, 3), (Algorithm::FixedWindow, 1)] {
        let limit = counting(algorithm, 5);
        let take = super::take(1, &limit, two);
        let mut table = Table::default();
        let undo = |taken_us, now_us, table: &mut Table| {
            decide(&[Take { demand: take.demand.undo(taken_us), ..take }], now_us, table);
        };
        // In the next second, when the first take has left, others are there.
        decide(&[take], START_US, &mut table);
        decide(&[take, super::take(1, &limit, Hits::Take(1))], START_US + 1_000_000, &mut table);
        undo(START_US, START_US + 1_000_000, &mut table);
        assert_eq!(held(&table), 3, "{algorithm:?}");
        // A log knows a take by its time. A window does not, and needs not.
        undo(START_US + 1_000_001, START_US + 1_000_002, &mut table);
        assert_eq!(held(&table), left, "{algorithm:?}");
    }
}

fn held(table: &Table) -> u32 {
    match table.get(&key(1)) {
        Some(State::FixedWindow(window)) => window.count,
        Some(State::SlidingLog(log)) => log.held(),
        _ => 0,
    }
}
