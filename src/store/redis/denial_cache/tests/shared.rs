//! What the runtimes of one process share.

use super::{
    DenialCache, LOCAL_US, SERVES_US, STORE_US, Shared, Table, Trip, emptied, one, slow, take, trip,
};
use crate::store::redis::denial_cache::shared::{Member, WAITS_US};
use tollgate_core::{decision, descriptor::Hits};

/// Two runtimes that both saw bucket 1 emptied, and what the store has.
fn both_emptied() -> (DenialCache, DenialCache, Table) {
    let shared = Shared::default();
    let (mut here, mut there) = (DenialCache::sharing(&shared), DenialCache::sharing(&shared));
    let mut table = Table::default();
    let answer = decision::decide(&one(1), STORE_US, &mut table);
    for cache in [&mut here, &mut there] {
        cache.learn(&one(1), &answer, trip(0));
    }
    (here, there, table)
}

#[test]
fn what_one_runtime_learns_another_denies_by_when_its_own_knowledge_has_run_out() {
    let (mut here, mut there, mut table) = both_emptied();
    assert!(there.denial(&one(1), LOCAL_US + 100_500).is_none(), "a token has come");
    here.learn(&one(1), &decision::decide(&one(1), STORE_US + 100_200, &mut table), trip(100_000));
    let denial = there.denial(&one(1), LOCAL_US + 101_000).expect("it is gone again");
    let own = here.denial(&one(1), LOCAL_US + 101_000).expect("it took it");
    assert_eq!((denial.now_us, denial.found), (own.now_us, own.found));
    assert!(there.denial(&one(1), LOCAL_US + 200_500).is_none(), "and no longer than the store would deny");
}

#[test]
fn what_another_runtime_learnt_serves_for_a_second_after_that_was_sent() {
    let shared = Shared::default();
    let (mut here, mut there) = (DenialCache::sharing(&shared), DenialCache::sharing(&shared));
    let (hour, mut table) = ([slow(1, 1)], Table::default());
    let mut ask = |cache: &mut DenialCache, sent_us| {
        cache.learn(&hour, &decision::decide(&hour, STORE_US + sent_us, &mut table), trip(sent_us));
    };
    ask(&mut there, 0);
    ask(&mut here, 1_000);
    ask(&mut here, 500_000);
    let mut is_denied = |sent_us| there.denial(&hour, LOCAL_US + sent_us).is_some();
    assert!(is_denied(SERVES_US) && is_denied(SERVES_US + 499_999) && !is_denied(SERVES_US + 500_000));
}

#[test]
fn after_a_refund_no_runtime_takes_over_what_was_learnt_before_it() {
    let (mut here, mut there, mut table) = both_emptied();
    here.learn(&one(1), &decision::decide(&one(1), STORE_US + 100_200, &mut table), trip(100_000));
    let refund = [take(1, Hits::GiveBack(1))];
    there.learn(&refund, &decision::decide(&refund, STORE_US + 101_000, &mut table), trip(100_800));
    for cache in [&mut here, &mut there] {
        assert!(cache.denial(&one(1), LOCAL_US + 102_000).is_none());
    }
    // A third runtime that knows less than both, and a denial from before the refund that comes late.
    let late = decision::decide(&one(1), STORE_US + 100_900, &mut emptied().1);
    here.learn(&one(1), &late, trip(100_700));
    assert!(there.denial(&one(1), LOCAL_US + 102_000).is_none());
}

#[test]
fn an_answer_that_comes_late_hides_from_no_runtime_what_a_newer_one_showed() {
    let shared = Shared::default();
    let [mut here, mut late, mut there] = [(); 3].map(|()| DenialCache::sharing(&shared));
    let mut table = Table::default();
    let answer = decision::decide(&one(1), STORE_US, &mut table);
    for cache in [&mut here, &mut late, &mut there] {
        cache.learn(&one(1), &answer, trip(0));
    }
    let old = decision::decide(&one(1), STORE_US + 50_000, &mut table);
    here.learn(&one(1), &decision::decide(&one(1), STORE_US + 100_200, &mut table), trip(100_000));
    late.learn(&one(1), &old, Trip { sent_us: LOCAL_US + 49_800, arrived_us: LOCAL_US + 100_600 });
    assert!(there.denial(&one(1), LOCAL_US + 101_000).is_some(), "the next token is due at 200 ms");
}

#[test]
fn what_all_runtimes_share_shows_no_denial_from_before_a_refund() {
    let shared = Shared::default();
    let (mut here, mut there) = (DenialCache::sharing(&shared), DenialCache::sharing(&shared));
    let (mut table, key) = (Table::default(), one(1)[0].key);
    let answer = decision::decide(&one(1), STORE_US, &mut table);
    here.learn(&one(1), &answer, trip(0));
    there.learn(&one(1), &answer, trip(0));
    let (member, oldest) = (Member::join(&shared), there.known(&key).expect("it was emptied").clone());
    let newer = |us| decision::decide(&one(1), STORE_US + us, &mut emptied().1);
    here.learn(&one(1), &newer(99_000), trip(98_800));
    assert!(member.newer(&key, &oldest).is_some());
    let refund = [take(1, Hits::GiveBack(1))];
    // By a runtime that has never heard of the bucket.
    let mut third = DenialCache::sharing(&shared);
    third.learn(&refund, &decision::decide(&refund, STORE_US + 99_600, &mut table), trip(99_400));
    assert_eq!(member.newer(&key, &oldest), None);
    // A denial from before the refund that comes late.
    there.learn(&one(1), &newer(99_500), trip(99_300));
    assert_eq!(member.newer(&key, &oldest), None);
}

#[test]
fn room_that_one_runtime_saw_is_no_denial_elsewhere() {
    let (mut here, mut there, mut table) = both_emptied();
    here.learn(&one(1), &decision::decide(&one(1), STORE_US + 100_200, &mut table), trip(100_000));
    // Emptied in Redis by hand, so that there is room.
    let twice = [take(1, Hits::Peek)];
    here.learn(&twice, &decision::decide(&twice, STORE_US + 101_000, &mut Table::default()), trip(100_800));
    assert!(there.denial(&one(1), LOCAL_US + 102_000).is_none());
}

#[test]
fn who_asks_is_waited_for_by_the_others_until_there_is_an_answer_and_never_for_long() {
    let (here, there, _) = both_emptied();
    let key = one(1)[0].key;
    let alone = DenialCache::sharing(&Shared::default());
    for cache in [&here, &here, &alone] {
        assert_eq!(cache.asks(key, LOCAL_US), None, "nobody else asks");
    }
    let question = there.asks(key, LOCAL_US + 1).expect("the other asks");
    assert_eq!(question.until_us, LOCAL_US + WAITS_US);
    // It is not over when another's call is.
    there.has_asked(&[key]);
    assert_eq!(there.asks(key, question.until_us - 1), Some(question));
    here.has_asked(&[key]);
    assert_eq!(there.asks(key, LOCAL_US + 3), None, "now it asks itself");
    let next = here.asks(key, LOCAL_US + 4).expect("the other asks");
    assert_ne!(next.number, question.number);
    // A runtime that does not get on.
    assert_eq!(here.asks(key, next.until_us), None);
    there.has_asked(&[key]);
    assert!(there.asks(key, next.until_us).is_some(), "the question is no longer the one of that runtime");
}

/// For a release build.
#[test]
#[ignore = "measures"]
fn nanoseconds_of_a_look_by_four_runtimes_at_once() {
    const LOOKS: u32 = 1_000_000;
    let shared = Shared::default();
    let look = |local_us: u64| {
        let mut cache = DenialCache::sharing(&shared);
        let answer = decision::decide(&one(1), STORE_US, &mut Table::default());
        for _ in 0..2 {
            cache.learn(&one(1), &answer, trip(0));
        }
        let started = crate::clock::monotonic();
        for _ in 0..LOOKS {
            std::hint::black_box(cache.denial(std::hint::black_box(&one(1)), local_us));
        }
        started.elapsed().as_nanos() / u128::from(LOOKS)
    };
    for (what, local_us) in [("known here", LOCAL_US + 1_000), ("looked up", LOCAL_US + 150_000)] {
        for runtimes in [1, 4] {
            let each: Vec<u128> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..runtimes).map(|_| scope.spawn(|| look(local_us))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            println!("{what}, {runtimes} runtimes: {each:?} ns");
        }
    }
}

#[tokio::test]
async fn a_runtime_that_waits_is_woken_by_the_answer() {
    let shared = Shared::default();
    let [here, there, third] = [(); 3].map(|()| DenialCache::sharing(&shared));
    let key = one(1)[0].key;
    let answered = there.answered_elsewhere().expect("it shares");
    let is_woken = async || {
        tokio::time::timeout(std::time::Duration::from_secs(5), answered.notified()).await.expect("is woken");
    };
    assert!(here.asks(key, LOCAL_US).is_none());
    assert!(there.asks(key, LOCAL_US).is_some());
    here.has_asked(&[key]);
    is_woken().await;
    // Also by that of a runtime that asks because another does not get on.
    assert!(here.asks(key, LOCAL_US).is_none());
    assert!(there.asks(key, LOCAL_US).is_some());
    assert!(third.asks(key, LOCAL_US + WAITS_US).is_none());
    third.has_asked(&[key]);
    is_woken().await;
}
