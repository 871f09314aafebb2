use std::thread;

use super::{
    Full, MemoryStore,
    shard::{Name, SHARDS, SMALLEST_SWEEP, part_of},
    unpoisoned,
};
use tollgate_core::{
    decision::{Demand, State, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Unit},
};

fn take(number: u64, limit: &Limit) -> Take {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Take { key: BucketKey::from_bytes(bytes), demand: Demand::new(Hits::Take(1), limit) }
}

#[test]
fn buckets_that_are_full_again_leave() {
    let store = MemoryStore::new();
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    let slow = Limit::new(1, Unit::Day, None).unwrap();
    let live: Vec<Take> = (0..256).map(|number| take(u64::MAX - number, &slow)).collect();
    for take in &live {
        assert_eq!(store.take_at(&[*take], 1_800_000_000_000_000).unwrap().verdict, Verdict::Allow);
    }
    let many = 400 * u64::try_from(SMALLEST_SWEEP).unwrap();
    for number in 0..many {
        // One bucket a millisecond, each full again 100 ms later: about a hundred are not full.
        store.take_at(&[take(number, &limit)], 1_800_000_000_000_000 + number * 1_000).unwrap();
    }
    assert!(store.len() <= 64 * (SMALLEST_SWEEP + 1), "{} of {many} buckets are kept", store.len());
    for take in &live {
        let answer = store.take_at(&[*take], 1_800_000_000_000_000 + many * 1_000).unwrap();
        assert_eq!(answer.verdict, Verdict::Deny, "a bucket that is not full was forgotten");
    }
}

#[test]
fn requests_over_the_same_buckets_in_any_order_do_not_wait_for_each_other() {
    let store = MemoryStore::new();
    let limit = Limit::new(1, Unit::Day, Some(1_000)).unwrap();
    let admitted: usize = thread::scope(|scope| {
        let start = |order: [u64; 3]| {
            let (store, limit) = (&store, &limit);
            scope.spawn(move || {
                let takes = order.map(|number| take(number, limit));
                (0..1_000).filter(|_| store.take(&takes).unwrap().verdict == Verdict::Allow).count()
            })
        };
        let threads = [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]].map(start);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1_000);
}

#[test]
fn at_the_bound_a_new_bucket_is_refused_and_those_that_are_not_full_keep_their_levels() {
    let store = MemoryStore::bounded(64 * 100);
    let slow = Limit::new(1, Unit::Day, None).unwrap();
    let now_us = 1_800_000_000_000_000;
    let (mut kept, mut refused) = (Vec::new(), 0);
    for number in 0..20_000 {
        match store.take_at(&[take(number, &slow)], now_us + number) {
            Ok(answer) => {
                assert_eq!(answer.verdict, Verdict::Allow);
                kept.push(number);
            }
            Err(Full { takes }) => {
                assert_eq!(takes[..], [0]);
                refused += 1;
            }
        }
    }
    assert!((6_000..=6_400).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept.len() + refused, 20_000);
    for number in kept {
        let again = store.take_at(&[take(number, &slow)], now_us + 30_000).unwrap();
        assert_eq!(again.verdict, Verdict::Deny, "bucket {number} lost its level");
    }
    // A day later all are full again, and make room.
    assert!(store.take_at(&[take(50_000, &slow)], now_us + 86_400_000_000 + 30_001).is_ok());
}

#[test]
fn buckets_that_no_request_asks_for_any_more_are_swept_in_time() {
    let store = MemoryStore::new();
    let limit = Limit::new(1_000_000, Unit::Second, None).unwrap();
    for number in 0..1_000 {
        store.take(&[take(number, &limit)]).unwrap();
    }
    // Each is full again a microsecond later.
    for _ in 0..64 {
        store.sweep_one();
    }
    assert_eq!(store.len(), 0);
}

#[test]
fn a_bucket_takes_40_bytes_with_its_key() {
    assert_eq!(size_of::<(Name, State)>(), 40);
}

#[test]
fn limits_of_one_descriptor_have_buckets_of_their_own() {
    let (store, slow) = (MemoryStore::new(), Limit::new(1, Unit::Day, None).unwrap());
    let keys = [BucketKey::from_bytes([1; 16]), BucketKey::tagged([1; 16], 7), BucketKey::tagged([1; 16], 8)];
    for key in keys {
        let take = Take { key, ..take(1, &slow) };
        let verdicts = [(); 2].map(|()| store.take_at(&[take], 1_800_000_000_000_000).unwrap().verdict);
        assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny]);
    }
}

#[test]
fn memory_begins_with_its_process_for_limits_that_ask() {
    let (store, now_us) = (MemoryStore::new(), crate::clock::Clock::start().now_us());
    let limit = LimitSpec { after_store_loss: AfterStoreLoss::Empty, ..LimitSpec::new(10, Unit::Hour) };
    let (guarded, open) = (limit.check().unwrap(), Limit::new(10, Unit::Hour, None).unwrap());
    let verdict = |number, limit, at_us| store.take_at(&[take(number, limit)], at_us).unwrap().verdict;
    assert_eq!(verdict(1, &open, now_us), Verdict::Allow);
    assert_eq!(verdict(2, &guarded, now_us), Verdict::Deny);
    let token_us = 360_000_000;
    assert_eq!(verdict(2, &guarded, now_us + token_us), Verdict::Allow);
    assert_eq!(verdict(2, &guarded, now_us + token_us), Verdict::Deny);
}

#[test]
fn what_was_given_back_soon_after_the_start_is_not_forgotten() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindowLog] {
        let (store, now_us) = (MemoryStore::new(), crate::clock::Clock::start().now_us());
        let limit =
            LimitSpec { after_store_loss: AfterStoreLoss::Empty, algorithm, ..LimitSpec::new(10, Unit::Day) };
        let limit = limit.check().unwrap();
        let one = take(1, &limit);
        let ask = |hits, at_us| {
            let take = Take { demand: Demand::new(hits, &limit), ..one };
            store.take_at(&[take], at_us).unwrap().verdict
        };
        assert_eq!(ask(Hits::Take(1), now_us), Verdict::Deny, "{algorithm:?}");
        ask(Hits::GiveBack(10), now_us);
        let sweep_all = |at_us| store.shards.iter().for_each(|shard| unpoisoned(shard).sweep(at_us));
        sweep_all(now_us + 1);
        assert_eq!(ask(Hits::Take(10), now_us + 2), Verdict::Allow, "{algorithm:?}");
        assert_eq!(ask(Hits::Take(1), now_us + 3), Verdict::Deny, "{algorithm:?}");
        // Two days on it is full whether or not it is there.
        ask(Hits::GiveBack(10), now_us + 4);
        sweep_all(now_us + 2 * 86_400_000_000);
        assert_eq!(store.len(), 0, "{algorithm:?}");
        let held = store.shards.iter().map(|shard| unpoisoned(shard).held_until_us.len());
        assert_eq!(held.sum::<usize>(), 0, "{algorithm:?}");
    }
}

#[test]
fn at_the_bound_nothing_is_given_back_to_what_is_not_there() {
    let store = MemoryStore::bounded(64 * 10);
    let limit = LimitSpec { after_store_loss: AfterStoreLoss::Empty, ..LimitSpec::new(10, Unit::Day) };
    let limit = limit.check().unwrap();
    let now_us = crate::clock::Clock::start().now_us();
    let give_back = |number| Take { demand: Demand::new(Hits::GiveBack(10), &limit), ..take(number, &limit) };
    let refused = (0..10_000).filter(|number| store.take_at(&[give_back(*number)], now_us).is_err()).count();
    assert_eq!(store.len() + refused, 10_000);
    assert!(store.len() <= 640, "{} are kept", store.len());
    // Two days later a missing one is full, and what is given back to it needs no room.
    let later_us = now_us + 2 * 86_400_000_000;
    assert!((0..10_000).all(|number| store.take_at(&[give_back(number)], later_us).is_ok()));
}

#[test]
fn at_no_number_of_buckets_is_half_of_the_memory_empty() {
    let (store, slow) = (MemoryStore::new(), Limit::new(1, Unit::Day, None).unwrap());
    let mut most_empty = 0.0_f64;
    for number in 1..=300_000_u32 {
        store.take_at(&[take(number.into(), &slow)], 1_800_000_000_000_000).unwrap();
        // From here on, tables that are all alike would double twice.
        if number >= 60_000 && number % 1_000 == 0 {
            let places: usize = store.shards.iter().map(|shard| unpoisoned(shard).buckets.capacity()).sum();
            most_empty = most_empty.max(1.0 - f64::from(number) / f64::from(u32::try_from(places).unwrap()));
        }
    }
    assert!(most_empty < 0.42, "{most_empty} of the places are empty");
}

#[test]
fn all_shards_together_have_room_for_what_the_store_may_hold() {
    let parts: Vec<usize> = (0..SHARDS).map(|shard| part_of(1_024_000, shard)).collect();
    assert_eq!(parts.iter().sum::<usize>(), 1_024_000);
    assert!(parts.iter().all(|part| (10_000..=22_000).contains(part)), "{parts:?}");
    for most in (0..3_000).chain([999_999, 2_000_000]) {
        let together: usize = (0..SHARDS).map(|shard| part_of(most, shard)).sum();
        assert!(
            together <= most.max(most.min(1) * SHARDS) && together + SHARDS >= most,
            "{together} of {most}"
        );
    }
    let alike = [0, 1, usize::MAX].map(|most| (0..SHARDS).map(|shard| part_of(most, shard)).min());
    assert!(matches!(alike, [Some(0), Some(1), Some(1_000_000_000..)]), "{alike:?}");
}
