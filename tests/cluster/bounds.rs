//! Random requests over one to three masters: no bucket admits more than its burst and its refill, and little less.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lab::redis::Cluster;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tokio::task::JoinSet;
use tollgate::{
    clock::Clock,
    store::{Backend, Store},
};
use tollgate_core::{
    audit::{Allowance, Remoteness, Span, WorstInterval, too_much},
    decision::{State, Take, Takes, Verdict, decide},
    descriptor::BucketKey,
    limit::{Limit, Unit},
};

use crate::{DEADLINE, a_year, ask, cluster, legs::in_slots_of, until};

const FOR_US: u64 = 3_000_000;
/// Requests per second and burst, on each master.
const LIMITS: [(u32, u32); 3] = [(20, 10), (200, 20), (20_000, 2_000)];

/// A bucket that was asked for, with its limit.
type Bucket = (Take, Limit);

#[derive(Debug)]
struct Seen {
    takes: Takes,
    span: Span,
    is_admitted: bool,
}

fn buckets() -> Vec<Vec<Bucket>> {
    let limit = |(requests, burst)| Limit::new(requests, Unit::Second, Some(burst)).expect("sound");
    let bucket = |master, number: u32, limit: Limit| (in_slots_of(master, number, &limit), limit);
    let on =
        |master| (0..).zip(LIMITS).map(|(number, numbers)| bucket(master, number, limit(numbers))).collect();
    (0..3).map(on).collect()
}

/// Without a denial cache more legs are taken that have to be undone.
async fn open(cluster: &Cluster, has_memory: bool) -> Arc<Store> {
    let backend = Backend::parse(&cluster.url()).expect("a URL");
    let backend = if has_memory { backend } else { backend.without_denial_cache() };
    let store = backend.open(DEADLINE);
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    Arc::new(store)
}

/// Asks for one request after the other, each for buckets of one to three masters.
async fn any(
    store: Arc<Store>,
    buckets: Arc<Vec<Vec<Bucket>>>,
    (clock, until_us): (Clock, u64),
    seed: u64,
) -> Vec<Seen> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut seen = Vec::new();
    while clock.now_us() < until_us {
        let first = rng.random_range(0..3);
        let masters = (first..first + rng.random_range(1..=3)).map(|master| &buckets[master % 3]);
        let takes: Takes = masters.map(|of| of.choose(&mut rng).expect("some").0).collect();
        seen.push(seen_of(&store, takes, clock).await);
    }
    seen
}

/// Leaves a bucket alone until it may be full again, then floods it, while takes of other requests wait to be undone.
async fn in_bursts(store: Arc<Store>, take: Take, (clock, until_us): (Clock, u64)) -> Vec<Seen> {
    let mut seen = Vec::new();
    while clock.now_us() < until_us {
        tokio::time::sleep(Duration::from_millis(70)).await;
        for _ in 0..60 {
            seen.push(seen_of(&store, Takes::from_elem(take, 1), clock).await);
        }
    }
    seen
}

async fn seen_of(store: &Store, takes: Takes, clock: Clock) -> Seen {
    let start_us = clock.now_us();
    let answer = ask(store, &takes).await.expect("an answer");
    let span = Span { start_us, end_us: clock.now_us() + 1 };
    Seen { takes, span, is_admitted: answer.verdict == Verdict::Allow }
}

/// What one store admits of the same requests, each decided whole when it was asked for, from each bucket.
fn by_one_store(seen: &mut [Seen]) -> HashMap<BucketKey, u64> {
    seen.sort_by_key(|one| one.span.start_us);
    let (mut states, mut admitted) = (HashMap::<BucketKey, State>::new(), HashMap::new());
    for one in seen {
        if decide(&one.takes, one.span.start_us, &mut states).verdict == Verdict::Allow {
            one.takes.iter().for_each(|take| *admitted.entry(take.key).or_default() += 1);
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_over_masters_that_stall_keep_every_bucket_within_its_bound() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let (cluster, buckets) = (Arc::new(cluster), Arc::new(buckets()));
    let stores = [open(&cluster, true).await, open(&cluster, true).await, open(&cluster, false).await];
    let clock = Clock::start();
    let began_us = clock.now_us();
    let until_us = began_us + FOR_US;
    let mut clients = JoinSet::new();
    for seed in 0..24 {
        let store = Arc::clone(&stores[usize::try_from(seed % 3).expect("small")]);
        clients.spawn(any(store, Arc::clone(&buckets), (clock, until_us), seed));
    }
    for of in buckets.iter() {
        clients.spawn(in_bursts(Arc::clone(&stores[2]), of[1].0, (clock, until_us)));
    }
    // While a master stalls, what was taken from the others for a request waits to be undone, and is refilled.
    let stalls = tokio::task::spawn_blocking(move || {
        for master in (0..3).cycle().take_while(|_| clock.now_us() < until_us) {
            cluster.tell(master, &["CLIENT", "PAUSE", "100"]).expect("pauses");
            std::thread::sleep(Duration::from_millis(200));
        }
        cluster
    });
    let mut seen: Vec<Seen> = clients.join_all().await.into_iter().flatten().collect();
    let _cluster = stalls.await.expect("no panic");

    let one_store = by_one_store(&mut seen);
    let length_us = seen.iter().map(|one| one.span.end_us).max().expect("some") - began_us;
    println!("{} requests in {} ms", seen.len(), length_us / 1_000);
    let (mut sum, mut sum_of_one_store) = (0, 0);
    for (take, limit) in buckets.iter().flatten() {
        let is_from = |one: &&Seen| one.is_admitted && one.takes.iter().any(|other| other.key == take.key);
        let admitted: Vec<Span> = seen.iter().filter(is_from).map(|one| one.span).collect();
        let allowance = Allowance::for_limit(limit, Remoteness::OtherClock);
        let most = u64::from(limit.burst()) + allowance.refilled_milli(length_us) / 1_000;
        let (count, of_one_store) = (admitted.len() as u64, one_store.get(&take.key).copied().unwrap_or(0));
        let per_second = limit.requests_per_unit();
        println!("{per_second} per second: {count} of {most}; one store would admit {of_one_store}");
        let worst = too_much(&admitted, &allowance);
        assert!(!worst.as_ref().is_some_and(WorstInterval::is_too_much), "{limit:?}: {worst:?}");
        (sum, sum_of_one_store) = (sum + count, sum_of_one_store + of_one_store);
    }
    let percent = sum * 100 / sum_of_one_store;
    println!("{percent} % of what one store would admit");
    assert!(percent > 50, "{percent} %");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_that_were_refilled_before_their_request_is_denied_are_not_given_back_again() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let store = open(&cluster, false).await;
    let limit = Limit::new(50, Unit::Second, Some(10)).expect("sound");
    let (flooded, empty) = (in_slots_of(0, 0, &limit), in_slots_of(1, 0, &a_year(1)));
    let clock = Clock::start();
    seen_of(&store, Takes::from_elem(empty, 1), clock).await;

    cluster.tell(1, &["CLIENT", "PAUSE", "400"]).expect("pauses");
    let mut denied = JoinSet::new();
    for _ in 0..10 {
        let store = Arc::clone(&store);
        denied.spawn(async move { seen_of(&store, Takes::from_slice(&[flooded, empty]), clock).await });
    }
    // The bucket is full again after 200 ms.
    tokio::time::sleep(Duration::from_millis(350)).await;
    let (until_us, mut admitted) = (clock.now_us() + 200_000, Vec::new());
    while clock.now_us() < until_us {
        let one = seen_of(&store, Takes::from_elem(flooded, 1), clock).await;
        admitted.extend(one.is_admitted.then_some(one.span));
    }
    assert!(denied.join_all().await.iter().all(|one| !one.is_admitted));
    assert!(admitted.len() >= 15, "{} were admitted", admitted.len());
    let worst = too_much(&admitted, &Allowance::for_limit(&limit, Remoteness::OtherClock));
    assert!(!worst.as_ref().is_some_and(WorstInterval::is_too_much), "{worst:?}");
}
