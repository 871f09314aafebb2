mod alike;
mod generations;
mod shared;

use std::collections::HashMap;

use super::{DenialCache, MOST, RECALLS_US, Refund, SERVES_US, Shared, Trip};
use tollgate_core::{
    decision::{self, Answer, AnswerSource, Buckets, Demand, Found, Seen, State, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Exact, Limit, LimitSpec, Unit},
};

const STORE_US: u64 = 1_800_000_000_000_000;
/// The local clock shows something else altogether.
const LOCAL_US: u64 = 5_000_000_000;

type Table = HashMap<BucketKey, State>;

fn ten() -> Limit {
    Limit::new(10, Unit::Second, Some(1)).unwrap()
}

fn take(number: u8, hits: Hits) -> Take {
    Take { key: BucketKey::from_bytes([number; 16]), demand: Demand::new(hits, &ten()) }
}

fn one(number: u8) -> [Take; 1] {
    [take(number, Hits::Take(1))]
}

/// A trip that left at `sent_us` after the start and came back half a millisecond later.
fn trip(sent_us: u64) -> Trip {
    Trip { sent_us: LOCAL_US + sent_us, arrived_us: LOCAL_US + sent_us + 500 }
}

/// A denial cache that saw bucket 1 emptied.
fn emptied() -> (DenialCache, Table) {
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    let answer = decision::decide(&one(1), STORE_US, &mut table);
    cache.learn(&one(1), &answer, trip(0));
    (cache, table)
}

#[test]
fn an_admission_that_leaves_no_room_is_enough_to_deny_the_next() {
    let (mut cache, _) = emptied();
    let denial = cache.denial(&one(1), LOCAL_US + 1_000).unwrap();
    assert_eq!((denial.verdict, denial.source), (Verdict::Deny, AnswerSource::Cache));
    assert!(cache.denial(&one(2), LOCAL_US + 1_000).is_none(), "another bucket");
}

#[test]
fn memory_denies_until_the_store_might_admit_and_no_longer() {
    let (mut cache, _) = emptied();
    // A token comes after 100 ms of the store's clock, which may run a thousandth faster and, when the take
    // left, have been about to show the next microsecond.
    let last_us = 99_899;
    assert!(cache.denial(&one(1), LOCAL_US + last_us - 1).is_some());
    assert!(cache.denial(&one(1), LOCAL_US + last_us).is_none());
}

#[test]
fn a_wait_told_from_memory_counts_down_and_is_never_too_short() {
    let (mut cache, _) = emptied();
    let mut wait_us = |local_us| {
        let denial = cache.denial(&one(1), local_us).unwrap();
        ten().wait_us(denial.found[0].full_at(), ten().cost(1), denial.now_us)
    };
    // Told at the earliest when the answer came.
    assert_eq!(wait_us(LOCAL_US + 500), 100_000);
    // 50 ms later by a clock that may run a thousandth fast, and was about to show the next microsecond.
    assert_eq!(wait_us(LOCAL_US + 50_500), 50_000 + 50 + 1);
}

#[test]
fn no_entry_serves_longer_than_a_second() {
    let slow = Limit::new(1, Unit::Hour, None).unwrap();
    let takes = [Take { key: BucketKey::from_bytes([1; 16]), demand: Demand::new(Hits::Take(1), &slow) }];
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    cache.learn(&takes, &decision::decide(&takes, STORE_US, &mut table), trip(0));
    assert!(cache.denial(&takes, LOCAL_US + SERVES_US - 1).is_some());
    assert!(cache.denial(&takes, LOCAL_US + SERVES_US).is_none());
}

#[test]
fn that_a_bucket_was_without_room_is_recalled_for_two_seconds() {
    let recalls =
        |cache: &mut DenialCache, sent_us| cache.was_without_room(&one(1)[0].key, LOCAL_US + sent_us);
    let (mut cache, mut table) = emptied();
    // Other entries do not push it out.
    for number in 2..20 {
        let answer = decision::decide(&one(number), STORE_US, &mut Table::default());
        cache.learn(&one(number), &answer, trip(u64::from(number) * 100_000));
    }
    assert!(recalls(&mut cache, RECALLS_US - 1) && !recalls(&mut cache, RECALLS_US));
    let undo = [Take { demand: one(1)[0].demand.undo(STORE_US), ..one(1)[0] }];
    cache.learn(&undo, &decision::decide(&undo, STORE_US, &mut table), trip(1_000));
    assert!(!recalls(&mut cache, 2_000), "what was given back is there again");
    assert!(cache.denial(&one(1), LOCAL_US + 2_000).is_none());
}

#[test]
fn an_older_answer_never_lowers_what_a_newer_one_showed() {
    let (mut cache, mut table) = emptied();
    let old = Answer { now_us: STORE_US - 10, ..decision::decide(&one(1), STORE_US, &mut Table::default()) };
    let newer = decision::decide(&one(1), STORE_US + 100_000, &mut table);
    cache.learn(&one(1), &newer, trip(100_000));
    cache.learn(&one(1), &old, trip(0));
    assert!(cache.denial(&one(1), LOCAL_US + 150_000).is_some());
}

const HOUR_US: u64 = 3_600_000_000;

#[test]
fn after_a_step_back_of_the_stores_clock_memory_serves_as_before() {
    let one = |number| [slow(number, 1)];
    let deny_at = |now_us| {
        let mut table = Table::default();
        decision::decide(&one(1), now_us, &mut table);
        decision::decide(&one(1), now_us, &mut table)
    };
    let is_served =
        |cache: &mut DenialCache, sent_us| cache.denial(&one(1), LOCAL_US + sent_us + 1_000).is_some();
    let known_before = || {
        let mut cache = DenialCache::default();
        cache.learn(&one(1), &deny_at(STORE_US), trip(0));
        cache
    };
    // An entry that no longer serves gives way, whichever generation it is in.
    let mut cache = known_before();
    cache.learn(&one(1), &deny_at(STORE_US - HOUR_US), trip(SERVES_US));
    assert!(is_served(&mut cache, SERVES_US));
    let mut cache = known_before();
    cache.learn(&one(2), &deny_at(STORE_US), trip(RECALLS_US));
    assert!(cache.entries.previous.contains_key(&one(1)[0].key));
    cache.learn(&one(1), &deny_at(STORE_US - HOUR_US), trip(RECALLS_US + 10));
    assert!(is_served(&mut cache, RECALLS_US + 10));
    // So does what was given back before the step.
    let mut cache = known_before();
    cache.void(Refund { key: one(1)[0].key, told_us: STORE_US + 1_000, trip: trip(1_000) });
    cache.learn(&one(1), &deny_at(STORE_US - HOUR_US), trip(2_000));
    assert!(is_served(&mut cache, 2_000));
    // And a refund after the step ends what was learnt before it.
    let mut cache = known_before();
    cache.void(Refund { key: one(1)[0].key, told_us: STORE_US - HOUR_US, trip: trip(1_000) });
    assert!(!is_served(&mut cache, 1_000));
}

#[test]
fn of_two_answers_that_were_under_way_together_the_stores_clock_tells_the_older() {
    let under_way = |sent_us| Trip { sent_us: LOCAL_US + sent_us, arrived_us: LOCAL_US + 1_100_000 };
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    let early = decision::decide(&[slow(1, 1)], STORE_US, &mut table);
    cache.void(Refund { key: slow(1, 1).key, told_us: STORE_US + 10, trip: under_way(0) });
    cache.learn(&[slow(1, 1)], &early, under_way(900_000));
    assert!(
        !cache.knows(&slow(1, 1).key, LOCAL_US + 1_100_000),
        "given back since, though that was asked early"
    );
}

/// A store that began half a minute ago.
struct Begun(Table);

impl Buckets for Begun {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.0.state(key)
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.0.set_state(key, state);
    }

    fn epoch_us(&mut self, now_us: u64) -> u64 {
        now_us - 30_000_000
    }
}

#[test]
fn memory_answers_only_for_the_numbers_that_taught_it() {
    let one = |requests, burst| {
        let after_store_loss = AfterStoreLoss::Empty;
        let spec = LimitSpec { burst, after_store_loss, ..LimitSpec::new(requests, Unit::Minute) };
        [Take {
            key: BucketKey::from_bytes([1; 16]),
            demand: Demand::new(Hits::Take(1), &spec.check().unwrap()),
        }]
    };
    // A missing bucket counts as used up for the time that the burst of the limit that asks takes to fill.
    let (slow, quick) = (one(1, None), one(10, Some(1)));
    let (mut cache, mut table) = (DenialCache::default(), Begun(Table::default()));
    let answer = decision::decide(&slow, STORE_US, &mut table);
    assert_eq!(answer.verdict, Verdict::Deny);
    cache.learn(&slow, &answer, trip(0));
    assert!(cache.denial(&slow, LOCAL_US + 1_000).is_some());
    assert!(cache.denial(&quick, LOCAL_US + 1_000).is_none());
    assert_eq!(decision::decide(&quick, STORE_US + 1_000, &mut table).verdict, Verdict::Allow);

    let counted = |algorithm, requests| {
        let spec = LimitSpec { algorithm, ..LimitSpec::new(requests, Unit::Minute) };
        [Take {
            key: BucketKey::from_bytes([2; 16]),
            demand: Demand::new(Hits::Take(1), &spec.check().unwrap()),
        }]
    };
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindowLog] {
        let (mut cache, mut table) = (DenialCache::default(), Table::default());
        let taught = counted(algorithm, 1);
        cache.learn(&taught, &decision::decide(&taught, STORE_US, &mut table), trip(0));
        assert!(cache.denial(&taught, LOCAL_US + 1_000).is_some(), "{algorithm:?}");
        assert!(cache.denial(&counted(algorithm, 2), LOCAL_US + 1_000).is_none(), "{algorithm:?}");
    }
}

/// One an hour.
fn slow(number: u8, hits: u64) -> Take {
    let limit = Limit::new(1, Unit::Hour, Some(1)).unwrap();
    Take { key: BucketKey::from_bytes([number; 16]), demand: Demand::new(Hits::Take(hits), &limit) }
}

#[test]
fn memory_answers_only_where_no_take_fits_and_room_replaces_what_was_known() {
    let minute = Limit::new(2, Unit::Minute, None).unwrap();
    let week = Limit::new(10, Unit::Week, None).unwrap();
    let takes = |hits| {
        let demanded = |number, hits, limit| Take {
            key: BucketKey::from_bytes([number; 16]),
            demand: Demand::new(Hits::Take(hits), limit),
        };
        [demanded(1, 1, &minute), demanded(2, hits, &week)]
    };
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    let mut ask = |cache: &mut DenialCache, hits, sent_us: u64| {
        let answer = decision::decide(&takes(hits), STORE_US + sent_us, &mut table);
        cache.learn(&takes(hits), &answer, trip(sent_us));
        answer.verdict
    };
    assert_eq!(ask(&mut cache, 7, 0), Verdict::Allow);
    assert!(cache.knows(&takes(1)[1].key, LOCAL_US + 500), "three are left, and seven more do not fit");
    assert_eq!(ask(&mut cache, 1, 1_000), Verdict::Allow);
    assert!(!cache.knows(&takes(1)[1].key, LOCAL_US + 1_500), "two are left, and one more fits");
    assert!(cache.denial(&takes(3), LOCAL_US + 2_000).is_none(), "what is left of the second is not known");
    // The store tells that three do not fit; two would.
    assert_eq!(ask(&mut cache, 3, 2_000), Verdict::Deny);
    let denial = cache.denial(&takes(3), LOCAL_US + 3_000).unwrap();
    let wait_us = week.wait_us(denial.found[1].full_at(), week.cost(3), denial.now_us);
    assert_eq!(wait_us.div_ceil(1_000_000), 7 * 86_400 / 10);
    assert!(cache.denial(&takes(2), LOCAL_US + 3_000).is_none(), "the second would fit");
}

#[test]
fn what_is_known_of_a_bucket_ends_when_room_is_seen_or_after_a_second() {
    let takes = |hits| [Take { key: one(1)[0].key, demand: Demand::new(Hits::Take(hits), &week_of(10)) }];
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    let mut ask = |cache: &mut DenialCache, hits, sent_us: u64| {
        let answer = decision::decide(&takes(hits), STORE_US + sent_us, &mut table);
        cache.learn(&takes(hits), &answer, trip(sent_us));
    };
    // One that is too large marks a healthy bucket until the next answer, or for a second.
    let knows = |cache: &mut DenialCache, local_us| cache.knows(&one(1)[0].key, LOCAL_US + local_us);
    ask(&mut cache, 11, 0);
    assert!(knows(&mut cache, SERVES_US - 1) && !knows(&mut cache, SERVES_US));
    ask(&mut cache, 1, 1_000);
    assert!(!knows(&mut cache, 2_000));
    // Of several takes from one bucket the last one tells.
    let twice = [takes(1)[0], takes(8)[0]];
    let answer = decision::decide(&twice, STORE_US + 2_000, &mut table);
    cache.learn(&twice, &answer, trip(2_000));
    assert_eq!((answer.verdict, knows(&mut cache, 3_000)), (Verdict::Allow, true));
}

#[test]
fn of_a_window_that_may_have_ended_memory_tells_nothing() {
    let spec = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(3, Unit::Second) };
    // Four never fit, in no window.
    let takes = [Take { key: one(1)[0].key, demand: Demand::new(Hits::Take(4), &spec.check().unwrap()) }];
    let mut cache = DenialCache::default();
    cache.learn(&takes, &decision::decide(&takes, STORE_US + 500_000, &mut Table::default()), trip(0));
    assert!(cache.denial(&takes, LOCAL_US + 499_000).is_some());
    assert!(cache.denial(&takes, LOCAL_US + 500_000).is_none());
}

#[test]
fn of_one_batch_the_last_answer_about_a_bucket_counts() {
    let takes = |hits| [Take { key: one(1)[0].key, demand: Demand::new(Hits::Take(hits), &week_of(2)) }];
    let (mut cache, mut table) = (DenialCache::default(), Table::default());
    for (hits, is_known) in [(3, true), (1, false), (1, true), (1, true)] {
        cache.learn(&takes(hits), &decision::decide(&takes(hits), STORE_US, &mut table), trip(0));
        assert_eq!(cache.knows(&takes(1)[0].key, LOCAL_US + 1_000), is_known);
    }
}

fn week_of(requests: u32) -> Limit {
    Limit::new(requests, Unit::Week, None).unwrap()
}

#[test]
fn what_was_given_back_is_asked_for_again() {
    let (mut cache, _) = emptied();
    let key = one(1)[0].key;
    cache.void(Refund { key, told_us: STORE_US + 1_000, trip: trip(1_000) });
    assert!(cache.denial(&one(1), LOCAL_US + 2_000).is_none());
    // A denial from before the refund that comes late changes nothing.
    let denied = decision::decide(&one(1), STORE_US + 500, &mut emptied().1);
    assert_eq!(denied.verdict, Verdict::Deny);
    cache.learn(&one(1), &denied, trip(500));
    assert!(cache.denial(&one(1), LOCAL_US + 2_000).is_none());
    // Nor does one of the same microsecond, which may have come before the refund or after it.
    let denied = Answer { now_us: STORE_US + 1_000, ..denied };
    cache.learn(&one(1), &denied, trip(900));
    assert!(cache.denial(&one(1), LOCAL_US + 2_000).is_none());
    let denied = decision::decide(&one(1), STORE_US + 1_500, &mut emptied().1);
    cache.learn(&one(1), &denied, trip(1_500));
    assert!(cache.denial(&one(1), LOCAL_US + 2_000).is_some());
}

#[test]
fn a_request_is_denied_from_memory_only_if_each_of_its_buckets_is_known() {
    let (mut cache, _) = emptied();
    let both = [one(1)[0], one(2)[0]];
    assert!(cache.denial(&both, LOCAL_US).is_none());
    let refund = [one(1)[0], take(1, Hits::GiveBack(1))];
    assert!(cache.denial(&refund, LOCAL_US).is_none(), "what is given back must reach the store");
}

#[test]
fn a_peek_is_denied_and_learnt_from_as_a_take_is() {
    let (mut cache, mut table) = emptied();
    let peek = [take(1, Hits::Peek)];
    assert!(cache.denial(&peek, LOCAL_US + 1_000).is_some());
    let mut cache = DenialCache::default();
    cache.learn(&peek, &decision::decide(&peek, STORE_US, &mut table), trip(0));
    assert!(cache.denial(&one(1), LOCAL_US + 1_000).is_some());
}

#[test]
fn a_refund_through_one_runtime_is_known_to_all_and_to_the_cache_of_no_other_process() {
    let (here, elsewhere) = (Shared::default(), Shared::default());
    let mut caches = [&here, &here, &elsewhere].map(DenialCache::sharing);
    drop(DenialCache::sharing(&here));
    let mut table = Table::default();
    let emptied = decision::decide(&one(1), STORE_US, &mut table);
    caches.iter_mut().for_each(|cache| cache.learn(&one(1), &emptied, trip(0)));
    let refund = [take(1, Hits::GiveBack(1))];
    let given_back = decision::decide(&refund, STORE_US + 1_000, &mut table);
    caches[0].learn(&refund, &given_back, trip(1_000));
    let known = caches.each_mut().map(|cache| cache.knows(&one(1)[0].key, LOCAL_US + 2_000));
    assert_eq!(known, [false, false, true]);
    // Nor does an older answer that arrives late make the other runtime forget it.
    let denied = Answer { now_us: STORE_US + 500, ..emptied };
    caches[1].learn(&one(1), &denied, trip(500));
    assert!(caches[1].denial(&one(1), LOCAL_US + 2_000).is_none());
}

#[test]
fn a_denial_cache_that_is_off_learns_nothing() {
    let mut cache = DenialCache::off();
    cache.learn(&one(1), &decision::decide(&one(1), STORE_US, &mut Table::default()), trip(0));
    assert!(!cache.knows(&one(1)[0].key, LOCAL_US + 1_000));
}

/// A missing bucket that counts as used up (`after_store_loss: empty`) is so for longer under a slower limit. If a faster one
/// admits in the same batch, the bucket exists from then on, and what was seen before is void.
#[test]
fn an_admission_is_newer_than_a_denial_before_it_in_the_same_batch() {
    let limit =
        |requests| LimitSpec { burst: Some(1), ..LimitSpec::new(requests, Unit::Second) }.check().unwrap();
    let take = |limit: &Limit| {
        [Take { key: BucketKey::from_bytes([1; 16]), demand: Demand::new(Hits::Take(1), limit) }]
    };
    let (slow, fast) = (limit(10), limit(189));
    let answer = |verdict, full_at_us| Answer {
        now_us: STORE_US,
        verdict,
        found: [Found {
            is_reserved: false,
            fits: verdict == Verdict::Allow,
            seen: Seen::TokenBucket { full_at: Exact::at_us(full_at_us) },
        }]
        .into_iter()
        .collect(),
        malformed: 0,
        source: AnswerSource::Store,
    };
    let mut cache = DenialCache::default();
    cache.learn(&take(&slow), &answer(Verdict::Deny, STORE_US + 85_000), trip(0));
    assert!(cache.denial(&take(&slow), LOCAL_US + 50_000).is_some(), "it was learnt");
    cache.learn(&take(&fast), &answer(Verdict::Allow, STORE_US - 1_000), trip(0));
    // The bucket is full again after 1/189 s.
    assert!(cache.denial(&take(&slow), LOCAL_US + 50_000).is_none());
    assert!(cache.denial(&take(&fast), LOCAL_US + 1_000).is_some(), "the admission left no room");
}
