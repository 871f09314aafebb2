//! The abuse guard: a quota for the day, in a window, on top of a rate for the minute.

use super::decided;
use crate::{limiter::Outcome, store::memory::MemoryStore};
use tollgate_core::{
    applied::QuotaMode,
    decision::Verdict,
    descriptor::{Descriptor, Entry, Hits, Request},
    limit::{Algorithm, LimitSpec, Unit},
    matcher::Matcher,
    rules::{Domain, Limits, NamedLimit, Pattern},
};

const MINUTE_US: u64 = 60_000_000;
const DAY_US: u64 = 86_400_000_000;
/// Noon, in UTC.
const NOON_US: u64 = 20_000 * DAY_US + DAY_US / 2;

fn matcher() -> Matcher {
    let rate = LimitSpec { burst: Some(10), ..LimitSpec::new(60, Unit::Minute) }.check().unwrap();
    let quota = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(1_000, Unit::Day) };
    let quota = NamedLimit { name: "day".to_owned(), ..quota.check().unwrap().into() };
    let limits = Limits::All(vec![rate.into(), quota]);
    let pattern = Pattern { key: "api_key".to_owned(), limits, ..Pattern::default() };
    Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors: vec![pattern], ..Domain::default() }])
}

fn ask<'m>(matcher: &'m Matcher, store: &MemoryStore, now_us: u64) -> Outcome<'m> {
    let entry = Entry { key: b"api_key", value: b"k" };
    let descriptors = [Descriptor::new([entry], Hits::Take(1))];
    let request = Request { domain: b"edge", descriptors: descriptors.into_iter().collect() };
    decided(matcher, store, &request, QuotaMode::AsConfigured, now_us)
}

#[test]
fn a_client_that_has_used_up_its_day_is_held_until_midnight_though_its_minute_has_room() {
    let (matcher, store) = (matcher(), MemoryStore::new());
    let mut now_us = NOON_US;
    for _ in 0..1_000 {
        let passed = ask(&matcher, &store, now_us);
        assert_eq!(passed.verdict, Some(Verdict::Allow), "within its minute and its day");
        now_us += 1_000_000;
    }
    // A quiet hour later the minute's bucket is full.
    now_us += 60 * MINUTE_US;
    let denied = ask(&matcher, &store, now_us);
    assert_eq!(denied.verdict, Some(Verdict::Deny));
    let [rate, day] = &denied.decisions[..] else { panic!("two limits") };
    assert_eq!((rate.verdict, rate.remaining), (Verdict::Allow, 10), "under its rate, and not charged");
    assert_eq!((day.verdict, day.remaining), (Verdict::Deny, 0));
    let speaker = denied.speaker().unwrap();
    let midnight_us = NOON_US + DAY_US / 2;
    assert_eq!((speaker.limit.label().as_ref(), speaker.reset_us), ("api_key:day", midnight_us - now_us));

    assert_eq!(ask(&matcher, &store, midnight_us - 1).verdict, Some(Verdict::Deny));
    let next_day = ask(&matcher, &store, midnight_us);
    assert_eq!(next_day.verdict, Some(Verdict::Allow));
    assert_eq!(next_day.decisions[1].remaining, 999);
}

#[test]
fn a_burst_that_the_minute_denies_costs_nothing_of_the_day() {
    let (matcher, store) = (matcher(), MemoryStore::new());
    let passed = (0..500).filter(|_| ask(&matcher, &store, NOON_US).verdict == Some(Verdict::Allow)).count();
    assert_eq!(passed, 10);
    let later = ask(&matcher, &store, NOON_US + MINUTE_US);
    assert_eq!(later.decisions[1].remaining, 989);
}
