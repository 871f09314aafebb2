//! The requests of clients.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use super::{bucket::Bucket, plan::Plan};
use tollgate_core::{
    decision::{Demand, Take},
    descriptor::Hits,
};

/// Hits of a bucket, before they become a cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) bucket: usize,
    pub(super) hits: Hits,
    /// The edition of the bucket's limit at the replica that is asked.
    pub(super) edition: usize,
}

/// Mostly one hit of one bucket; sometimes several buckets, one of them twice, and rarely more than a batch holds.
pub(super) fn wishes(rng: &mut SmallRng, plan: &Plan, edition: usize) -> Vec<Wish> {
    let count = match rng.random_range(0..1_000) {
        0 => rng.random_range(129..=200),
        1..700 => 1,
        _ => rng.random_range(2..=4),
    };
    let mut wishes: Vec<Wish> = (0..count).map(|_| wish(rng, plan, count, edition)).collect();
    if count > 1 && rng.random_bool(0.3) {
        wishes[1].bucket = wishes[0].bucket;
        wishes[1].hits = hits(rng, &plan.buckets[wishes[1].bucket]);
    }
    wishes
}

fn wish(rng: &mut SmallRng, plan: &Plan, count: usize, edition: usize) -> Wish {
    // A large request that asked for a hot bucket many times would always be denied.
    let hot = if count > 4 { 0.01 } else { 0.8 };
    let numbers = if rng.random_bool(hot) { 0..plan.hot } else { plan.hot..plan.buckets.len() };
    let bucket = rng.random_range(numbers);
    Wish { bucket, hits: hits(rng, &plan.buckets[bucket]), edition }
}

fn hits(rng: &mut SmallRng, bucket: &Bucket) -> Hits {
    let burst = u64::from(bucket.limits[0].burst());
    if bucket.refunds && rng.random_bool(0.1) {
        return Hits::GiveBack(rng.random_range(1..=burst.max(1)));
    }
    let hits = match rng.random_range(0..20) {
        0 => *[0, burst, burst + 1].choose(rng).expect("one"),
        1 => rng.random_range(1..=burst.max(1)),
        _ => 1,
    };
    Hits::new(Some(hits), 0, false)
}

pub(super) fn takes(wishes: &[Wish], buckets: &[Bucket]) -> Vec<Take> {
    let take = |wish: &Wish| {
        let bucket = &buckets[wish.bucket];
        Take { key: bucket.key, demand: Demand::new(wish.hits, &bucket.limits[wish.edition]) }
    };
    wishes.iter().map(take).collect()
}
