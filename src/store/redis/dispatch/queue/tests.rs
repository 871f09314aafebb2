use std::collections::VecDeque;

use super::{Batch, Elsewhere, Formed, MOST_TAKES, PATIENCE_US, Queue, Request};
use crate::store::redis::denial_cache::{DenialCache, SERVES_US, Shared, Trip};
use tollgate_core::{
    decision::{self, Buckets, Demand, Kind, State, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

const DEADLINE_US: u64 = 10_000;

fn take(number: u8) -> Take {
    let limit = Limit::new(10, Unit::Second, Some(1)).unwrap();
    Take { key: BucketKey::from_bytes([number; 16]), demand: Demand::new(Hits::Take(1), &limit) }
}

fn request(ticket: u32, takes: Vec<Take>) -> Request<u32> {
    Request { takes: takes.into(), ticket, queued_us: 0, elsewhere: Elsewhere::default() }
}

fn queue(tickets: impl IntoIterator<Item = u32>) -> Queue<u32> {
    let mut queue = Queue::new(DEADLINE_US);
    for ticket in tickets {
        queue.push(request(ticket, vec![take(u8::try_from(ticket % 200).unwrap())]));
    }
    queue
}

fn next(queue: &mut Queue<u32>, now_us: u64) -> Formed<u32> {
    queue.next(&mut DenialCache::default(), now_us, |_| false)
}

fn tickets(batch: &Batch<u32>) -> Vec<u32> {
    batch.requests.iter().map(|request| request.ticket).collect()
}

fn quick() -> Trip {
    Trip { sent_us: 0, arrived_us: DEADLINE_US / 10 }
}

fn give_back(number: u8) -> Take {
    Take { demand: Demand { kind: Kind::GiveBack, ..take(number).demand }, ..take(number) }
}

/// A denial cache that has seen bucket `number` emptied just now, and at `0` of the local clock.
fn cache_of(number: u8) -> DenialCache {
    let mut cache = DenialCache::default();
    learn_emptied(&mut cache, number);
    cache
}

fn learn_emptied(cache: &mut DenialCache, number: u8) {
    struct Full;
    impl Buckets for Full {
        fn state(&self, _: &BucketKey) -> Option<State> {
            None
        }
        fn set_state(&mut self, _: &BucketKey, _: Option<State>) {}
    }
    let takes = [take(number)];
    cache.learn(&takes, &decision::decide(&takes, 1_000_000, &mut Full), Trip { sent_us: 0, arrived_us: 0 });
}

#[test]
fn everything_that_is_queued_travels_together_and_at_once() {
    let mut queue = queue(0..64);
    let batch = next(&mut queue, 1).batch.unwrap();
    assert_eq!(tickets(&batch), (0..64).collect::<Vec<_>>());
    assert_eq!(queue.len(), 0);
    assert!(next(&mut queue, 1).batch.is_none(), "nothing is queued");
}

#[test]
fn two_batches_are_under_way_and_a_third_waits_for_a_slot() {
    let mut queue = queue([1]);
    assert!(next(&mut queue, 1).batch.is_some());
    queue.push(request(2, vec![take(2)]));
    assert!(next(&mut queue, 1).batch.is_some());
    queue.push(request(3, vec![take(3)]));
    assert!(next(&mut queue, 1).batch.is_none());
    queue.landed(&[], quick());
    assert_eq!(tickets(&next(&mut queue, 2).batch.unwrap()), [3]);
}

#[test]
fn a_batch_is_full_at_128_takes_and_a_larger_request_travels_alone() {
    let mut queue = queue(0..200);
    queue.push(request(900, vec![take(1); MOST_TAKES + 1]));
    queue.push(request(901, vec![take(1)]));
    let sizes: Vec<usize> = (0..4)
        .map(|_| {
            let batch = next(&mut queue, 1).batch.unwrap();
            queue.landed(&[], quick());
            batch.requests.iter().map(|request| request.takes.len()).sum()
        })
        .collect();
    assert_eq!(sizes, [MOST_TAKES, 200 - MOST_TAKES, MOST_TAKES + 1, 1]);
}

#[test]
fn a_call_that_was_cancelled_leaves_the_queue() {
    let mut queue = queue(0..4);
    let batch = queue.next(&mut DenialCache::default(), 1, |ticket| ticket % 2 == 0).batch.unwrap();
    assert_eq!(tickets(&batch), [1, 3]);
}

#[test]
fn a_take_that_was_queued_for_too_long_is_not_sent() {
    let mut queue = queue([1]);
    queue.push(Request { queued_us: 10, ..request(2, vec![take(2)]) });
    let formed = next(&mut queue, PATIENCE_US + 1);
    assert_eq!(formed.overdue, [1]);
    assert_eq!(tickets(&formed.batch.unwrap()), [2]);
}

#[test]
fn patience_is_never_shorter_than_the_deadline() {
    let mut queue = Queue::new(50 * PATIENCE_US);
    queue.push(request(1, vec![take(1)]));
    let formed = next(&mut queue, 50 * PATIENCE_US);
    assert!(formed.overdue.is_empty() && formed.batch.is_some());
}

#[test]
fn a_request_that_memory_learnt_to_deny_while_it_was_queued_is_answered_from_memory() {
    let mut queue = queue([1, 2]);
    let formed = queue.next(&mut cache_of(1), 1_000, |_| false);
    assert_eq!(tickets(&formed.batch.unwrap()), [2]);
    let (ticket, answer) = &formed.denied[0];
    assert_eq!((*ticket, answer.verdict), (1, Verdict::Deny));
}

#[test]
fn one_batch_asks_for_a_bucket_that_ran_out_and_the_others_wait_for_its_answer() {
    // A token is back after 100 ms, so memory can no longer deny.
    let (mut cache, now_us) = (cache_of(1), 100_000);
    let mut queue = Queue::new(DEADLINE_US);
    let queued = |ticket, number| Request { queued_us: now_us, ..request(ticket, vec![take(number)]) };
    queue.push(queued(1, 1));
    let first = queue.next(&mut cache, now_us, |_| false).batch.unwrap();
    queue.push(queued(2, 1));
    queue.push(queued(3, 7));
    let second = queue.next(&mut cache, now_us, |_| false).batch.unwrap();
    assert_eq!(tickets(&second), [3], "another bucket does not wait");
    queue.landed(&first.awaited, quick());
    assert_eq!(tickets(&queue.next(&mut cache, now_us, |_| false).batch.unwrap()), [2]);
}

/// The others travel by turns, so that one of the two buckets is always under way.
#[test]
fn a_request_for_two_buckets_without_room_is_sent_when_all_that_was_under_way_has_landed() {
    let now_us = 100_000;
    let mut cache = cache_of(1);
    learn_emptied(&mut cache, 2);
    let queued = |ticket, takes| Request { queued_us: now_us, ..request(ticket, takes) };
    for both in [vec![take(1), take(2)], vec![take(2), give_back(1)]] {
        let mut queue = Queue::new(DEADLINE_US);
        let mut under_way = VecDeque::new();
        for number in [1, 2] {
            queue.push(queued(number, vec![take(u8::try_from(number).unwrap())]));
            under_way.extend(queue.next(&mut cache, now_us, |_| false).batch);
        }
        queue.push(queued(3, both));
        let left = (0..100).find(|round| {
            queue.landed(&under_way.pop_front().unwrap().awaited, quick());
            queue.push(queued(10, vec![take(1)]));
            queue.push(queued(20, vec![take(2)]));
            // For a bucket that nobody else asks for, so never held.
            queue.push(queued(1_000 + round, vec![take(9)]));
            under_way.extend(queue.next(&mut cache, now_us, |_| false).batch);
            tickets(&under_way[1]).contains(&3)
        });
        assert_eq!(left, Some(1), "it waits for the two that were under way, and no others");
    }
}

/// What this runtime and another one know, who have both seen bucket 1 emptied.
fn sharing() -> [DenialCache; 2] {
    let shared = Shared::default();
    let mut caches = [0, 1].map(|_| DenialCache::sharing(&shared));
    caches.iter_mut().for_each(|cache| learn_emptied(cache, 1));
    caches
}

#[test]
fn a_request_waits_for_two_questions_of_other_runtimes_and_for_no_third() {
    let (key, now_us) = (take(1).key, 100_000);
    let queued = |ticket, number| Request { queued_us: now_us, ..request(ticket, vec![take(number)]) };
    let sent = |queue: &mut Queue<u32>, here: &mut DenialCache| {
        queue.next(here, now_us + 1, |_| false).batch.map(|batch| tickets(&batch))
    };
    let ([mut here, there], mut queue) = (sharing(), Queue::new(DEADLINE_US));
    assert!(there.asks(key, now_us).is_none());
    queue.push(queued(1, 1));
    queue.push(queued(2, 1));
    queue.push(queued(3, 7));
    assert_eq!(sent(&mut queue, &mut here), Some(vec![3]), "another bucket does not wait");
    for _ in 0..2 {
        assert_eq!(sent(&mut queue, &mut here), None, "it still waits for the same question");
    }
    there.has_asked(&[key]);
    assert!(there.asks(key, now_us).is_none());
    assert_eq!(sent(&mut queue, &mut here), None, "the answer denied nothing, and the other asks again");
    there.has_asked(&[key]);
    assert!(there.asks(key, now_us).is_none());
    assert_eq!(sent(&mut queue, &mut here), Some(vec![1, 2]));
    // So does one that waited for an older request of its own runtime.
    let ([mut here, there], mut queue) = (sharing(), Queue::new(DEADLINE_US));
    queue.push(queued(1, 1));
    let first = queue.next(&mut here, now_us, |_| false).batch.unwrap();
    queue.push(queued(2, 1));
    assert_eq!(sent(&mut queue, &mut here), None);
    assert_eq!(queue.looks_again_us(), None, "its own runtime gets on");
    queue.landed(&first.awaited, quick());
    here.has_asked(&first.awaited);
    assert!(there.asks(key, now_us).is_none());
    assert_eq!(sent(&mut queue, &mut here), None);
    there.has_asked(&[key]);
    assert_eq!(sent(&mut queue, &mut here), Some(vec![2]));
}

#[test]
fn a_request_waits_for_other_runtimes_for_ten_milliseconds_at_most() {
    let (key, now_us) = (take(1).key, 100_000);
    let ([mut here, there], mut queue) = (sharing(), Queue::new(DEADLINE_US));
    let next = |queue: &mut Queue<u32>, here: &mut DenialCache, now_us| {
        let batch = queue.next(here, now_us, |_| false).batch;
        batch.map(|batch| (tickets(&batch), batch.awaited))
    };
    queue.push(Request { queued_us: now_us, ..request(1, vec![take(1)]) });
    // Of a question that is older, for less.
    assert!(there.asks(key, now_us - 3_000).is_none());
    assert_eq!(next(&mut queue, &mut here, now_us), None);
    assert_eq!(queue.looks_again_us(), Some(now_us + 7_000));
    there.has_asked(&[key]);
    assert!(there.asks(key, now_us + 6_000).is_none());
    assert_eq!(next(&mut queue, &mut here, now_us + 7_000), None);
    assert_eq!(queue.looks_again_us(), Some(now_us + 10_000));
    assert_eq!(next(&mut queue, &mut here, now_us + 9_999), None);
    assert_eq!(next(&mut queue, &mut here, now_us + 10_000), Some((vec![1], vec![key])));
    assert_eq!(queue.looks_again_us(), None);
}

/// Otherwise the slots that wait would look again and again, without a pause.
#[test]
fn nobody_looks_again_for_a_request_while_its_own_runtime_must_get_on_first() {
    let ([mut here, there], now_us) = (sharing(), 100_000);
    learn_emptied(&mut here, 2);
    for number in [1, 2] {
        assert!(there.asks(take(number).key, now_us - 9_000).is_none());
    }
    let mut queue = Queue::new(DEADLINE_US);
    for (ticket, number) in [(0, 2), (1, 1)] {
        queue.push(Request { queued_us: now_us, ..request(ticket, vec![take(number), take(3)]) });
    }
    assert!(queue.next(&mut here, now_us, |_| false).batch.is_none());
    assert_eq!(queue.looks_again_us(), Some(now_us + 1_000));
    // No slot is free.
    let errands = [(); 2].map(|()| queue.errand(now_us).unwrap());
    assert_eq!(queue.looks_again_us(), None);
    errands.iter().for_each(|errand| queue.landed(&errand.awaited, quick()));
    // The bucket of both is under way.
    learn_emptied(&mut here, 3);
    there.has_asked(&[take(2).key]);
    assert_eq!(tickets(&queue.next(&mut here, now_us, |_| false).batch.unwrap()), [0]);
    assert_eq!(queue.looks_again_us(), Some(now_us + 1_000));
    assert!(queue.next(&mut here, now_us, |_| false).batch.is_none());
    assert_eq!(queue.looks_again_us(), None);
}

#[test]
fn a_request_that_waits_for_one_bucket_asks_for_no_other() {
    let ([mut here, mut there], now_us) = (sharing(), 100_000);
    learn_emptied(&mut here, 2);
    learn_emptied(&mut there, 2);
    assert!(there.asks(take(1).key, now_us).is_none());
    let mut queue = Queue::new(DEADLINE_US);
    let both = vec![take(2), take(1)];
    queue.push(Request { queued_us: now_us, ..request(1, both) });
    assert!(queue.next(&mut here, now_us, |_| false).batch.is_none());
    assert!(there.asks(take(2).key, now_us).is_none(), "nobody asks for it");
}

#[test]
fn a_held_request_holds_up_no_other_for_a_bucket_that_has_room() {
    let now_us = 100_000;
    let mut cache = cache_of(1);
    let mut queue = Queue::new(DEADLINE_US);
    let queued = |ticket, takes| Request { queued_us: now_us, ..request(ticket, takes) };
    queue.push(queued(1, vec![take(1)]));
    let _under_way = queue.next(&mut cache, now_us, |_| false).batch.unwrap();
    queue.push(queued(2, vec![take(1), take(7)]));
    queue.push(queued(3, vec![take(7)]));
    let next = queue.next(&mut cache, now_us, |_| false).batch.unwrap();
    assert_eq!((tickets(&next), queue.len()), (vec![3], 1));
}

#[test]
fn no_request_waits_for_what_was_known_of_a_bucket_over_a_second_ago() {
    let (mut cache, now_us) = (cache_of(1), SERVES_US);
    let mut queue = Queue::new(DEADLINE_US);
    for ticket in 1..3 {
        queue.push(Request { queued_us: now_us, ..request(ticket, vec![take(1)]) });
        assert!(queue.next(&mut cache, now_us, |_| false).batch.is_some(), "request {ticket}");
    }
}

#[test]
fn slow_batches_halve_the_slots_and_good_seconds_bring_them_back() {
    let mut queue = queue([1]);
    next(&mut queue, 1);
    queue.landed(&[], Trip { sent_us: 0, arrived_us: DEADLINE_US / 2 + 1 });
    let sent = |queue: &mut Queue<u32>, now_us| {
        (0..3)
            .filter(|ticket| {
                queue.push(Request { queued_us: now_us, ..request(*ticket, vec![take(1)]) });
                next(queue, now_us).batch.is_some()
            })
            .count()
    };
    assert_eq!(sent(&mut queue, 6_000), 1);
    queue.landed(&[], Trip { sent_us: 1_100_000, arrived_us: 1_100_001 });
    assert_eq!(sent(&mut queue, 1_100_002), 2);
}
