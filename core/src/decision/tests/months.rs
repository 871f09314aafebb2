//! Fixed windows that are months of the calendar.

use super::{START_US, Table, Take, Verdict, decide, key};
use crate::{
    calendar::Month,
    decision::{Demand, Seen},
    descriptor::Hits,
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Unit, Windows},
};
use proptest::prelude::{Strategy, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq, sample};
use std::collections::HashMap;

const DAY_US: u64 = 86_400_000_000;

fn quota(requests_per_unit: u32) -> LimitSpec {
    LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Windows::CalendarMonth,
        ..LimitSpec::new(requests_per_unit, Unit::Month)
    }
}

/// Steps that often end at, just before or just after the end of a month: `None` goes there, give or take a microsecond.
fn steps() -> impl Strategy<Value = (Option<u64>, u64)> {
    prop_oneof![
        2 => (0..=1_u64).prop_map(Some),
        2 => (0..=20 * DAY_US).prop_map(Some),
        2 => sample::select(vec![None]),
    ]
    .prop_flat_map(|step| (sample::select(vec![step]), 0..=2_u64))
}

proptest! {
    #[test]
    fn in_each_month_of_the_calendar_the_limit_passes_and_not_one_more(
        limit in 1..=5_u32, takes in prop::collection::vec((steps(), 1..=3_u64), 1..80),
    ) {
        let limit: Limit = quota(limit).check().unwrap();
        let (mut table, mut now_us, mut admitted) = (Table::default(), START_US, HashMap::<u64, u64>::new());
        for ((step, more), hits) in takes {
            now_us = match step {
                Some(step) => now_us + step,
                None => Month::at(now_us + 1).ends_us - 1 + more,
            };
            let take = Take { key: key(1), demand: Demand::new(Hits::Take(hits), &limit) };
            let answer = decide(&[take], now_us, &mut table);
            let month = Month::at(now_us);
            let count = admitted.entry(month.number).or_default();
            let fits = *count + hits <= u64::from(limit.burst());
            prop_assert_eq!(answer.verdict == Verdict::Allow, fits, "{} hits at {}", hits, now_us);
            let Seen::FixedWindow(window) = answer.found[0].seen else { panic!("a window") };
            prop_assert_eq!(window.ends_us, month.ends_us);
            prop_assert!(month.starts_us <= now_us && now_us < month.ends_us);
            if fits {
                *count += hits;
            }
        }
    }
}

#[test]
fn after_a_step_of_the_clock_back_over_the_end_of_a_month_it_stays_in_the_later_month() {
    let limit = quota(2).check().unwrap();
    let mut table = Table::default();
    // 2024-03-01.
    let edge_us = 19_783 * DAY_US;
    let take = [Take { key: key(1), demand: Demand::new(Hits::Take(1), &limit) }];
    for (now_us, expected) in [
        (edge_us - 1, Verdict::Allow),
        (edge_us, Verdict::Allow),
        (edge_us - 1, Verdict::Allow),
        (edge_us - 1, Verdict::Deny),
        (edge_us + 31 * DAY_US - 1, Verdict::Deny),
        (edge_us + 31 * DAY_US, Verdict::Allow),
    ] {
        assert_eq!(decide(&take, now_us, &mut table).verdict, expected, "{now_us}");
    }
}

#[test]
fn a_lost_month_counts_as_used_up_until_it_ends() {
    let limit = LimitSpec { after_store_loss: AfterStoreLoss::Empty, ..quota(2) }.check().unwrap();
    let demand = Demand::new(Hits::Take(1), &limit);
    // 2025-02-10, in a year that is not leap.
    let used_up = demand.empty(20_129 * DAY_US).unwrap();
    assert_eq!(used_up.spent_us(), 20_148 * DAY_US);
}
