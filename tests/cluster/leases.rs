//! Leases in a Cluster: each master reserves for its own buckets, and a request over several masters may be decided without
//! asking any.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tollgate::{
    clock::Clock,
    store::{Store, StoreError, redis::keys::slot},
};
use tollgate_core::{
    audit::{Allowance, Remoteness, Span, WorstInterval, too_much},
    decision::{Answer, AnswerSource, Demand, Take, Verdict},
    limit::{Limit, Unit},
};

use crate::{a_year, ask, audit::Told, cluster, legs::in_slots_of, open, open_within, take, until};

/// The same take, under lease.
fn leased(take: Take) -> Take {
    let demand = Demand { lease_us: 100_000, ..take.demand };
    Take { demand, ..take }
}

#[derive(Default)]
struct Seen {
    admitted: Vec<(Vec<Take>, Answer)>,
    spans: Vec<Span>,
    from_leases: usize,
    errors: Vec<StoreError>,
}

impl Seen {
    fn note(&mut self, takes: &[Take], answer: Result<Answer, StoreError>, span: Span) {
        match answer {
            Ok(answer) => {
                self.from_leases += usize::from(answer.source == AnswerSource::Lease);
                if answer.verdict == Verdict::Allow {
                    self.spans.push(span);
                    self.admitted.push((takes.to_vec(), answer));
                }
            }
            Err(error) => self.errors.push(error),
        }
    }
}

/// Asks for these requests one after the other until told to stop.
async fn load(store: Arc<Store>, requests: Vec<Vec<Take>>, clock: Clock, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        for takes in &requests {
            let start_us = clock.now_us();
            let answer = ask(&store, takes).await;
            seen.note(takes, answer, Span { start_us, end_us: clock.now_us() });
        }
        // An answer from a lease yields to nobody.
        tokio::task::yield_now().await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_keys_of_all_masters_are_decided_without_a_call_and_no_hit_is_lost_or_left() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let limit = a_year(1_000_000);
    let on = |master| leased(in_slots_of(master, 0, &limit));
    let requests = vec![vec![on(0)], vec![on(1)], vec![on(2)], vec![on(0), on(1), on(2)]];
    let store = Arc::new(open(&cluster.url()).await);
    let stop = Arc::<AtomicBool>::default();
    let loading = tokio::spawn(load(Arc::clone(&store), requests, Clock::start(), Arc::clone(&stop)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let seen = loading.await.expect("no panic");
    println!("{} admitted, {} without a call", seen.spans.len(), seen.from_leases);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors[0]);
    assert!(seen.from_leases * 10 > seen.spans.len() * 8, "{} of {}", seen.from_leases, seen.spans.len());
    store.finish().await;
    let mut told = Told::default();
    seen.admitted.iter().for_each(|(takes, answer)| told.note(takes, answer));
    assert_eq!(told.differences(&cluster), (0, 0), "takes that buckets hold or lack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leased_bucket_whose_slot_moves_admits_no_more_than_its_bound() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let limit = Limit::new(600, Unit::Second, Some(300)).expect("sound");
    let hot = leased(take(in_slots_of(0, 0, &limit).key, &limit));
    let (clock, stop) = (Clock::start(), Arc::<AtomicBool>::default());
    let mut clients = Vec::new();
    let start_us = clock.now_us();
    for _ in 0..3 {
        let store = Arc::new(open(&cluster.url()).await);
        clients.push(tokio::spawn(load(store, vec![vec![hot]], clock, Arc::clone(&stop))));
    }
    let moved = slot(&hot.key);
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.move_slot(moved, from, to).expect("moves");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut spans, mut from_leases) = (Vec::new(), 0);
    for client in clients {
        let seen = client.await.expect("no panic");
        assert!(seen.errors.is_empty(), "{:?} and {} more", seen.errors[0], seen.errors.len());
        spans.extend(seen.spans);
        from_leases += seen.from_leases;
    }
    let allowed = 300 + 600 * (clock.now_us() - start_us) / 1_000_000;
    println!("{} of {allowed} admitted, {from_leases} without a call", spans.len());
    let worst = too_much(&spans, &Allowance::for_limit(&limit, Remoteness::OtherClock));
    assert!(!worst.as_ref().is_some_and(WorstInterval::is_too_much), "{worst:?}");
    assert!(spans.len() as u64 * 100 >= allowed * 90, "{} of {allowed}", spans.len());
    assert!(from_leases > 0, "no lease was spent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_decides_while_its_master_is_away_and_only_until_it_ends() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let on = |master| leased(in_slots_of(master, 0, &a_year(1_000_000)));
    let store = open(&cluster.url()).await;
    for takes in [[on(0)], [on(1)]] {
        until_leased(&store, &takes).await;
    }
    cluster.nodes[0].kill();
    let mut from_leases = 0;
    let error = loop {
        match ask(&store, &[on(0)]).await {
            Ok(answer) => {
                assert_eq!(answer.source, AnswerSource::Lease);
                from_leases += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(from_leases > 0, "the lease was not spent");
    assert!(matches!(error, StoreError::Disconnected | StoreError::Unserved), "{error}");
    // The others hold what they held.
    until_leased(&store, &[on(1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_away_keeps_no_lease_of_another_from_being_reported() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let limit = a_year(1_000_000);
    // Long, so that what is left reserved shows.
    let long = |take: Take| Take { demand: Demand { lease_us: 10_000_000, ..take.demand }, ..take };
    // It is for so long that leases are tried to be reported at the end.
    let store = open_within(&cluster.url(), Duration::from_millis(500)).await;
    let another = open(&cluster.url()).await;
    let away: Vec<_> = (0..40).map(|number| [long(in_slots_of(0, number, &limit))]).collect();
    for takes in &away {
        until_leased(&store, takes).await;
    }
    cluster.nodes[0].kill();
    let gone = [in_slots_of(0, 40, &limit)];
    while !matches!(ask(&store, &gone).await, Err(StoreError::Disconnected | StoreError::Unserved)) {}
    // Until they are used up, and calls about them are due.
    for takes in &away {
        while ask(&store, takes).await.is_ok() {}
    }
    let other = in_slots_of(1, 0, &limit);
    until_leased(&store, &[long(other)]).await;
    // Until its master's senders of batches sleep.
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.finish().await;
    // Another runtime asks, since this one would report it now.
    let answer = ask(&another, &[other]).await.expect("an answer");
    assert!(!answer.found[0].is_reserved, "{answer:?}");
}

async fn until_leased(store: &Store, takes: &[Take]) {
    let mut is_leased = false;
    for _ in 0..10_000 {
        is_leased = ask(store, takes).await.expect("an answer").source == AnswerSource::Lease;
        if is_leased {
            return;
        }
    }
    until("a lease is granted", || is_leased).await;
}
