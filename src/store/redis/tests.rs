//! Bugs provoked on a real Redis: each costs only the requests that it meets.

mod runtimes;

use std::{iter, sync::atomic::Ordering, time::Duration};

use lab::{binaries::Part, redis::Redis};
use tokio::task::JoinSet;

use super::{denial_cache::Trip, *};
use crate::{clock, tasks::seam};
use tollgate_core::{
    decision::{AnswerSource, Demand, Take},
    descriptor::Hits,
    limit::{Limit, LimitSpec, Unit},
};

const GENEROUS: Duration = Duration::from_secs(5);

/// None, with a message, if there is no Redis and that is allowed.
async fn store(deadline: Duration) -> Option<(Redis, RedisBackend, RedisStore)> {
    if !lab::real::available(&[Part::Redis]) {
        return None;
    }
    let redis = Redis::start().await.unwrap();
    let backend = RedisBackend::new(RedisTarget::parse(&redis.url()).unwrap());
    let store = RedisStore::open(&backend, deadline);
    until_up(&store).await;
    Some((redis, backend, store))
}

async fn until_up(store: &RedisStore) {
    tokio::time::timeout(GENEROUS, store.runtime.line.up()).await.expect("a connection");
}

async fn take(store: &RedisStore) -> Result<Answer, StoreError> {
    let limit = Limit::new(1, Unit::Second, Some(1_000)).unwrap();
    let take = Take { key: BucketKey::from_bytes([7; 16]), demand: Demand::new(Hits::Take(1), &limit) };
    let answer = store.take(None, Takes::from_elem(take, 1));
    tokio::time::timeout(GENEROUS, answer).await.expect("no take waits forever")
}

#[tokio::test]
async fn a_call_whose_task_panics_fails_its_requests_and_no_others() {
    let Some((_redis, _, store)) = store(GENEROUS).await else { return };
    take(&store).await.unwrap();
    // More often than there are slots, so that a slot that is not freed shows.
    for _ in 0..3 * MOST_UNDER_WAY {
        seam::arm(Task::StoreCalls);
        assert!(matches!(take(&store).await, Err(StoreError::Abandoned)));
        take(&store).await.unwrap();
    }
}

#[tokio::test]
async fn a_keeper_that_panics_is_followed_by_another_that_connects() {
    let Some((mut redis, backend, store)) = store(GENEROUS).await else { return };
    seam::arm(Task::StoreConnection);
    redis.restart().await.unwrap();
    let started = clock::monotonic();
    while seam::is_armed(Task::StoreConnection) || take(&store).await.is_err() {
        assert!(started.elapsed() < GENEROUS, "still no connection");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(backend.health.contact().to_string(), "OK");
}

#[tokio::test]
async fn a_replica_count_that_panics_is_started_again() {
    let Some((_redis, backend, _store)) = store(GENEROUS).await else { return };
    seam::arm(Task::ReplicaCount);
    let started = clock::monotonic();
    while seam::is_armed(Task::ReplicaCount) || backend.replica_count.replicas().is_none() {
        assert!(started.elapsed() < GENEROUS, "the replicas are not counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_take_that_no_task_sends_is_given_up() {
    let Some((_redis, _, mut store)) = store(Duration::from_millis(50)).await else { return };
    take(&store).await.unwrap();
    // As if the tasks that send batches were stuck.
    let calls: Vec<_> = store.tasks.drain(..MOST_UNDER_WAY).collect();
    for call in &calls {
        call.abort();
    }
    assert!(matches!(take(&store).await, Err(StoreError::Overload)));
}

// === leases ===

#[tokio::test]
async fn a_renewal_that_is_under_way_when_leases_end_leaves_nothing_reserved() {
    let Some((mut redis, backend, store)) = store(GENEROUS).await else { return };
    // Long, so that what is left reserved shows.
    let spec = LimitSpec { burst: Some(100_000), lease_us: 10_000_000, ..LimitSpec::new(1, Unit::Second) };
    let demand = Demand::new(Hits::Take(1), &spec.check().unwrap());
    let ask = async |demand: Demand| {
        let take = Take { key: BucketKey::from_bytes([8; 16]), demand };
        store.take(None, Takes::from_elem(take, 1)).await.unwrap()
    };
    for _ in 0..500 {
        ask(demand).await;
    }
    while ask(demand).await.source != AnswerSource::Lease {}
    redis.pause().unwrap();
    let has_due = || store.runtime.queues.with(|queues| queues.leases.has_due(store.runtime.clock.now_us()));
    while !has_due() {
        assert_eq!(ask(demand).await.source, AnswerSource::Lease);
    }
    // Nobody waits for the renewal. It is sent to a Redis that does not answer yet.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!has_due(), "it is not sent");
    let reserved = || backend.leased_hits.hits()[0];
    store.runtime.queues.with(|queues| queues.leases.look(0));
    let before = reserved();
    let resumed = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        redis.resume().unwrap();
    };
    tokio::join!(store.end_leases(), resumed);
    assert!(reserved() > before, "{:?}: it was not granted", reserved());
    let answer = ask(Demand { lease_us: 0, ..demand }).await;
    assert!(!answer.found[0].is_reserved, "{answer:?}");
}

/// A store with a lease of the bucket of this take, and the take.
async fn leased() -> Option<(Redis, RedisStore, Take)> {
    let (redis, _, store) = store(GENEROUS).await?;
    let spec = LimitSpec { burst: Some(100_000), lease_us: 10_000_000, ..LimitSpec::new(1, Unit::Second) };
    let demand = Demand::new(Hits::Take(1), &spec.check().unwrap());
    let take = Take { key: BucketKey::from_bytes([8; 16]), demand };
    while store.take(None, Takes::from_elem(take, 1)).await.unwrap().source != AnswerSource::Lease {}
    Some((redis, store, take))
}

/// As if a batch had been sent just now, and the last one had been answered quickly.
fn is_near_and_busy(store: &RedisStore) {
    let now_us = store.runtime.clock.now_us();
    store.runtime.queues.with(|queues| {
        queues.leases.are_passed_by(now_us);
        queues.riders.arrive(None, Trip { sent_us: now_us, arrived_us: now_us });
    });
}

#[tokio::test]
async fn an_answer_from_a_lease_does_not_wait_for_a_redis_that_has_stopped_answering() {
    let Some((mut redis, store, leased)) = leased().await else { return };
    // Otherwise the task that looks for overdue requests would be in time too.
    store.tasks[MOST_UNDER_WAY].abort();
    redis.pause().unwrap();
    is_near_and_busy(&store);
    let other = store.take(None, Takes::from_elem(Take { key: BucketKey::from_bytes([9; 16]), ..leased }, 1));
    let answer = store.take(None, Takes::from_elem(leased, 1));
    assert!(store.runtime.queues.with(|queues| !queues.riders.is_empty()), "it leaves at once");
    let answer = tokio::time::timeout(GENEROUS / 2, answer).await.expect("a lease decides without Redis");
    assert_eq!(answer.unwrap().source, AnswerSource::Lease);
    redis.resume().unwrap();
    other.await.unwrap();
}

#[tokio::test]
async fn an_answer_from_a_lease_leaves_at_once_if_no_request_waits() {
    let Some((_redis, store, leased)) = leased().await else { return };
    store.tasks[MOST_UNDER_WAY].abort();
    is_near_and_busy(&store);
    let answer = store.take(None, Takes::from_elem(leased, 1));
    tokio::time::timeout(GENEROUS / 2, answer)
        .await
        .expect("it waits for a batch that is never sent")
        .unwrap();
}

#[tokio::test]
async fn an_answer_from_a_lease_leaves_though_no_task_sends_batches() {
    let Some((_redis, mut store, leased)) = leased().await else { return };
    store.tasks.drain(..MOST_UNDER_WAY).for_each(|calls| calls.abort());
    tokio::task::yield_now().await;
    is_near_and_busy(&store);
    let answer = store.take(None, Takes::from_elem(leased, 1));
    assert!(store.runtime.queues.with(|queues| !queues.riders.is_empty()), "it leaves at once");
    tokio::time::timeout(GENEROUS, answer).await.expect("no take waits forever").unwrap();
}

#[tokio::test]
async fn a_lease_that_nobody_spends_any_more_is_reported_when_it_is_over() {
    let Some((_redis, backend, store)) = store(GENEROUS).await else { return };
    let spec = LimitSpec { lease_us: 1_000_000, ..LimitSpec::new(1_000, Unit::Second) };
    let demand = Demand::new(Hits::One, &spec.check().unwrap());
    let takes = Takes::from_elem(Take { key: BucketKey::from_bytes([8; 16]), demand }, 1);
    while store.take(None, takes.clone()).await.unwrap().source != AnswerSource::Lease {}
    let started = clock::monotonic();
    while store.runtime.queues.with(|queues| queues.leases.are_any()) {
        assert!(started.elapsed() < GENEROUS, "nobody has looked for it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(backend.leased_hits().hits()[2], ("lapsed", 0));
}

#[tokio::test]
async fn a_call_that_waits_in_vain_for_a_batch_to_travel_with_is_sent_soon() {
    let Some((_redis, backend, store)) = store(GENEROUS).await else { return };
    let spec = LimitSpec { burst: Some(100_000), lease_us: 10_000_000, ..LimitSpec::new(1, Unit::Second) };
    let demand = Demand::new(Hits::One, &spec.check().unwrap());
    let takes = Takes::from_elem(Take { key: BucketKey::from_bytes([8; 16]), demand }, 1);
    let answered = || backend.leased_hits().calls()[0].1;
    let is_due = || store.runtime.queues.with(|queues| queues.leases.has_due(u64::MAX));
    let mut late = Vec::new();
    for _ in 0..5 {
        // Until the task that looks for it sleeps for long.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = answered();
        while !is_due() {
            is_near_and_busy(&store);
            store.take(None, takes.clone()).await.unwrap();
        }
        let started = clock::monotonic();
        while answered() == before {
            assert!(started.elapsed() < GENEROUS, "nobody has looked for it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        late.extend(Some(started.elapsed()).filter(|late| *late > Duration::from_millis(100)));
    }
    assert!(late.len() < 2, "{late:?}");
}

#[tokio::test]
async fn thousands_of_leases_are_ended_and_none_of_their_hits_lapses() {
    let Some((_redis, backend, store)) = store(Duration::from_secs(5)).await else { return };
    let store = Arc::new(store);
    let spec = LimitSpec { lease_us: 10_000_000, ..LimitSpec::new(1_000, Unit::Second) };
    let limit = spec.check().unwrap();
    let take = |number: u32| {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Take { key: BucketKey::from_bytes(bytes), demand: Demand::new(Hits::One, &limit) }
    };
    // More than one call of the script can name.
    for first in (0..9_000).step_by(100) {
        let mut answers = JoinSet::new();
        for take in (first..first + 100).flat_map(|number| iter::repeat_n(take(number), 16)) {
            let store = Arc::clone(&store);
            answers.spawn(async move { store.take(None, Takes::from_elem(take, 1)).await.is_ok() });
        }
        assert!(answers.join_all().await.iter().all(|is_ok| *is_ok));
    }
    let hits = || backend.leased_hits().hits().map(|(_, count)| count);
    let [reserved, _, lapsed] = hits();
    assert!(reserved > 9_000 && lapsed == 0, "{reserved} reserved, {lapsed} lapsed");
    store.end_leases().await;
    let [.., lapsed] = hits();
    assert_eq!(lapsed, 0);
    let now_us = store.runtime.clock.now_us();
    assert_eq!(store.runtime.queues.with(|queues| queues.leases.end_all(now_us)), 0);
}
