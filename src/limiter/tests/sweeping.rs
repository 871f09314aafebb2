//! Full buckets leave memory without being asked for.

use std::{sync::Arc, time::Duration};

use super::{Limiter, limiter_on};
use crate::{
    clock,
    fallback::{Fallback, local::Local},
    store::Backend,
};
use tollgate_core::{
    decision::{Demand, Take},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
    rules::OnStoreFailure,
};

const SECOND: Duration = Duration::from_secs(1);
/// The time in which each shard is swept once.
const ROUND: Duration = Duration::from_secs(65);

/// Takes from a thousand buckets, each of which is full again within a minute.
fn takes() -> impl Iterator<Item = Take> {
    let limit = Limit::new(1, Unit::Minute, None).unwrap();
    (0..1_000_u64).map(move |number| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Take { key: BucketKey::from_bytes(bytes), demand: Demand::new(Hits::Take(1), &limit) }
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_full_leaves_the_store_and_the_local_buckets_though_nobody_asks_any_more() {
    let (backend, local) = (Backend::memory(10_000), Arc::new(Local::new(10_000, Box::new(|| None))));
    let Backend::Memory(store) = &backend else { unreachable!() };
    let fallback = Fallback { default: OnStoreFailure::Local, local: Arc::clone(&local) };
    let _runtimes: Vec<Limiter> = (0..3).map(|_| Limiter::open(&backend, SECOND, &fallback)).collect();
    // An outage that ended an hour ago, by the clock of the buckets.
    let then_us = clock::unix_us() - 3_600_000_000;
    for take in takes() {
        store.take_at(&[take], then_us).unwrap();
        local.take_at(&[take], |_| false, then_us).unwrap();
    }
    assert_eq!((store.len(), local.len()), (1_000, 1_000));
    tokio::time::sleep(ROUND).await;
    assert_eq!((store.len(), local.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_is_swept_by_one_runtime_however_many_there_are() {
    let backend = Backend::memory(10_000);
    let Backend::Memory(store) = &backend else { unreachable!() };
    let _runtimes: Vec<_> = (0..16).map(|_| limiter_on(&backend, OnStoreFailure::Error)).collect();
    tokio::time::sleep(ROUND).await;
    let sweeps = store.sweeps();
    assert!((64..=66).contains(&sweeps), "{sweeps} sweeps in {ROUND:?}");
}
