//! A real Redis Cluster of three masters: its buckets are decided exactly, wherever their slots are and go.

mod acks;
mod audit;
mod bounds;
mod leases;
mod legs;
mod moves;
mod outages;
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use lab::{binaries::Part, redis::Cluster};
use tollgate::store::{Backend, Store, StoreError};
use tollgate_core::{
    decision::{Answer, Demand, Take, Takes},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

/// Long, so that a busy machine makes no answer late.
const DEADLINE: Duration = Duration::from_secs(5);

/// None, with a message, if there is no Redis and that is allowed.
async fn cluster(masters: usize, replicas_each: usize) -> Option<Cluster> {
    if !lab::real::available(&[Part::Redis]) {
        return None;
    }
    Some(Cluster::start(masters, replicas_each).await.expect("a Cluster starts"))
}

/// One runtime's store, which reaches all masters.
async fn open(url: &str) -> Store {
    open_within(url, DEADLINE).await
}

async fn open_within(url: &str, deadline: Duration) -> Store {
    let backend = Backend::parse(url).expect("a URL").without_denial_cache();
    let store = backend.open(deadline);
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    store
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn a_year(requests: u32) -> Limit {
    Limit::new(requests, Unit::Year, Some(requests)).expect("sound")
}

/// The bucket of a descriptor under one of its limits.
fn key(descriptor: u32, limit: u32) -> BucketKey {
    let mut digest = [0; 16];
    let bytes = (u64::from(descriptor) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    digest[..8].copy_from_slice(&bytes);
    BucketKey::tagged(digest, limit)
}

fn take(key: BucketKey, limit: &Limit) -> Take {
    Take { key, demand: Demand::new(Hits::Take(1), limit) }
}

async fn ask(store: &Store, takes: &[Take]) -> Result<Answer, StoreError> {
    store.take(Takes::from_slice(takes)).await
}
