use std::collections::HashMap;

use proptest::prelude::*;

use super::{Clocks, Denials, Edges, Remoteness, Span, Windows};
use crate::limit::{Algorithm, LimitSpec, Unit};

fn span(start_us: u64, end_us: u64) -> Span {
    Span { start_us, end_us }
}

/// Windows of `length_us` microseconds, and a limiter whose clock is right.
fn quick(most: u32, length_us: u64, began_us: u64, apart_us: u64) -> Windows {
    Windows { most, edges: Edges::Aligned, length_us, began_us, apart_us, drift: 0 }
}

// === the definitions, word by word ===

/// Whether each request can be given to one of its windows so that none holds more than it may: the windows one by
/// one, each to those that cannot wait for longest.
fn can_be_dealt(admitted: &[Span], windows: &Windows) -> bool {
    let mut waiting: Vec<_> = admitted.iter().map(|span| windows.touched_by(*span)).collect();
    let (first, last) = (
        waiting.iter().map(|windows| *windows.start()).min().unwrap_or(0),
        waiting.iter().map(|windows| *windows.end()).max().unwrap_or(0),
    );
    for number in first..=last {
        waiting.sort_by_key(|windows| *windows.end());
        let mut room = windows.most;
        waiting.retain(|windows| {
            let is_dealt = room > 0 && windows.contains(&number);
            room -= u32::from(is_dealt);
            !is_dealt
        });
    }
    waiting.is_empty()
}

/// Whether some window in which the denial may have been decided may have been full by then.
fn may_be_justified(charged: &[Span], denial: Span, windows: &Windows) -> bool {
    windows.touched_by(denial).any(|number| {
        let touching = charged
            .iter()
            .filter(|span| span.start_us <= denial.end_us && windows.touched_by(**span).contains(&number));
        touching.count() >= windows.most as usize
    })
}

const HORIZON: u64 = 60;

prop_compose! {
    fn some_span()(start in 0..=HORIZON, length in 0..=14_u64) -> Span {
        span(start, start + length)
    }
}

prop_compose! {
    fn some_windows()(most in 1..=4_u32, length in 3..=20_u64, began in 100..=140_u64, apart in 0..=3_u64) -> Windows {
        quick(most, length, began, apart)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn too_much_is_what_cannot_be_dealt_to_the_windows(
        admitted in prop::collection::vec(some_span(), 1..25), windows in some_windows(),
    ) {
        let worst = windows.too_much(&admitted).unwrap();
        prop_assert_eq!(worst.interval.is_too_much(), !can_be_dealt(&admitted, &windows));
        let shown = worst.interval.from_us..=worst.interval.to_us;
        let inside = admitted.iter().filter(|s| shown.contains(&s.start_us) && shown.contains(&s.end_us));
        prop_assert!(inside.count() as u64 >= worst.interval.admitted, "the interval that is named shows them");
    }

    #[test]
    fn too_little_is_what_no_window_justifies(
        charged in prop::collection::vec(some_span(), 0..20),
        denied in prop::collection::vec(some_span(), 0..10),
        never_answered in prop::collection::vec(0..=HORIZON, 0..3),
        windows in some_windows(),
    ) {
        let mut charged = charged;
        charged.extend(never_answered.iter().map(|&start| span(start, u64::MAX)));
        let found = windows.too_little(&charged, &denied);
        let unjustified = denied.iter().filter(|&&denial| !may_be_justified(&charged, denial, &windows)).count();
        prop_assert_eq!((found.checked, found.unjustified), (denied.len() as u64, unjustified as u64));
        prop_assert_eq!(found.worst.is_some(), unjustified > 0);
    }

    /// Requests decided at a hidden instant of their spans, by a clock that is a little off, pass both audits.
    #[test]
    fn an_exact_window_is_never_accused(
        requests in prop::collection::vec((0..=HORIZON, 0..=6_u64, 0..=6_u64), 1..40),
        windows in some_windows(), off in 0..=6_u64,
    ) {
        let off = off % (2 * windows.apart_us + 1);
        let mut requests = requests;
        requests.sort_by_key(|&(decided, ..)| decided);
        let (mut counts, mut admitted, mut denied) = (HashMap::<u64, u32>::new(), Vec::new(), Vec::new());
        for (decided, before, after) in requests {
            let limiters_clock = windows.began_us + decided + off - windows.apart_us;
            let count = counts.entry(limiters_clock / windows.length_us).or_default();
            let span = span(decided.saturating_sub(before), decided + after);
            if *count < windows.most {
                *count += 1;
                admitted.push(span);
            } else {
                denied.push(span);
            }
        }
        let worst = windows.too_much(&admitted);
        prop_assert!(worst.is_none_or(|worst| !worst.interval.is_too_much()));
        prop_assert_eq!(windows.too_little(&admitted, &denied).unjustified, 0);
    }
}

// === examples at the edges ===

const DAY_US: u64 = 86_400_000_000;

/// Ten a day, and a run that begins ten seconds before midnight.
fn ten_a_day(remoteness: Remoteness, stepped_us: u64) -> Windows {
    let limit =
        LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(10, Unit::Day) }.check().unwrap();
    Windows::for_limit(&limit, remoteness, Clocks { began_us: 20_785 * DAY_US - 10_000_000, stepped_us })
}

#[test]
fn ten_before_midnight_and_ten_after_it_are_allowed_and_one_more_on_either_side_is_not() {
    let windows = ten_a_day(Remoteness::SameClock, 0);
    let (before, after) = (span(9_000_000, 9_900_000), span(10_100_000, 11_000_000));
    let both = [vec![before; 10], vec![after; 10]].concat();
    assert!(!windows.too_much(&both).unwrap().interval.is_too_much());
    for (more, from_us, to_us) in [(before, 9_000_000, 9_900_000), (after, 10_100_000, 11_000_000)] {
        let worst = windows.too_much(&[&both[..], &[more]].concat()).unwrap();
        assert!(worst.interval.is_too_much());
        assert_eq!((worst.windows, worst.interval.admitted, worst.surplus), (1, 11, 1));
        assert_eq!((worst.interval.from_us, worst.interval.to_us), (from_us, to_us));
    }
    assert_eq!(windows.edges_between(0, 9_999_999), 0);
    assert_eq!(windows.edges_between(0, 10_000_000), 1);
}

#[test]
fn what_was_decided_around_midnight_may_belong_to_either_day() {
    let windows = ten_a_day(Remoteness::SameClock, 0);
    let around = span(9_999_000, 10_001_000);
    assert!(!windows.too_much(&[around; 20]).unwrap().interval.is_too_much());
    let worst = windows.too_much(&[around; 21]).unwrap();
    assert_eq!((worst.windows, worst.interval.admitted, worst.interval.is_too_much()), (2, 21, true));
}

#[test]
fn a_day_that_is_used_up_justifies_denials_until_it_ends() {
    let windows = ten_a_day(Remoteness::SameClock, 0);
    let charged = vec![span(1_000_000, 1_100_000); 10];
    assert_eq!(windows.too_little(&charged, &[span(9_000_000, 9_900_000)]).unjustified, 0);
    assert_eq!(windows.too_little(&charged[..9], &[span(9_000_000, 9_900_000)]).unjustified, 1);
    let next_day = windows.too_little(&charged, &[span(10_100_000, 10_200_000)]);
    assert_eq!((next_day.unjustified, next_day.worst.unwrap().level_milli), (1, 10_000));
    // At the edge nobody knows.
    assert_eq!(windows.too_little(&charged, &[span(9_999_000, 10_001_000)]).unjustified, 0);
}

#[test]
fn a_month_of_the_calendar_ends_with_its_last_day_and_not_after_30() {
    let calendar = LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Edges::CalendarMonth,
        ..LimitSpec::new(10, Unit::Month)
    };
    // Ten seconds before 2024-02-29, 2024-03-01 and 2025-03-01, and before a multiple of 30 days since the epoch.
    for (day, is_edge) in [(19_782, false), (19_783, true), (20_148, true), (19_800, false)] {
        let clocks = Clocks { began_us: day * DAY_US - 10_000_000, stepped_us: 0 };
        let windows = Windows::for_limit(&calendar.check().unwrap(), Remoteness::SameClock, clocks);
        let (before, after) = (span(9_000_000, 9_900_000), span(10_100_000, 11_000_000));
        let both = [vec![before; 10], vec![after; 10]].concat();
        assert_eq!(windows.too_much(&both).unwrap().interval.is_too_much(), !is_edge, "{day}");
        let denied = windows.too_little(&[before; 10], &[after]);
        assert_eq!(denied.unjustified, u64::from(is_edge), "{day}");
        assert_eq!(windows.edges_between(0, 9_999_999), 0, "{day}");
        assert_eq!(windows.edges_between(0, 10_000_000), u64::from(is_edge), "{day}");
    }
}

#[test]
fn another_machines_clock_may_be_a_second_away_and_one_that_was_set_by_as_much_more() {
    let late = [span(10_900_000, 10_950_000); 11];
    let charged = [span(1_000_000, 1_100_000); 10];
    for (windows, is_sure) in [
        (ten_a_day(Remoteness::SameClock, 0), true),
        (ten_a_day(Remoteness::OtherClock, 0), false),
        (ten_a_day(Remoteness::SameClock, 2_000_000), false),
    ] {
        // Ten may belong to the day before, but not all of them.
        assert_eq!(windows.too_much(&late).unwrap().interval.is_too_much(), is_sure, "{windows:?}");
        let denied = windows.too_little(&charged, &[span(10_900_000, 10_950_000)]);
        assert_eq!(denied.unjustified, u64::from(is_sure), "{windows:?}");
    }
}

#[test]
fn a_request_without_an_answer_may_be_counted_in_any_later_window() {
    let windows = ten_a_day(Remoteness::SameClock, 0);
    let never = vec![span(1_000_000, u64::MAX); 10];
    let denied = [span(9_000_000, 9_100_000), span(20_000_000, 20_100_000), span(0, 10)];
    let found = windows.too_little(&never, &denied);
    // The last was over before they began.
    assert_eq!((found.checked, found.unjustified), (3, 1));
    assert_eq!(found.worst.unwrap().denial, span(0, 10));
    assert_eq!(windows.too_little(&[], &[]), Denials::default());
    assert_eq!(windows.too_much(&[]), None);
}
