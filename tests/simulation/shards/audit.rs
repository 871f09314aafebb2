//! What was admitted from each bucket, by the clock of the master that held it.

use std::collections::HashMap;

use super::{plan::number_of, world::World};
use tollgate_core::{
    decision::{Kind, Take, Verdict},
    limit::Limit,
};

/// Hits that a request took from a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) request: usize,
    pub(super) bucket: usize,
    /// Time of the bucket: that of its master's clock, which never steps back. A step forward counts as time, as it
    /// does for the bucket.
    pub(super) at_us: u64,
    pub(super) at_ns: u64,
    pub(super) hits: i128,
    /// The replica that took over had not received it.
    pub(super) is_lost: bool,
}

/// The time of the bucket of each slot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Elapsed {
    /// What had passed when the present clock took over.
    before_us: u64,
    /// What that clock showed then.
    since_us: u64,
}

impl Elapsed {
    pub(super) fn new(clock_us: u64) -> Elapsed {
        Elapsed { before_us: 0, since_us: clock_us }
    }

    pub(super) fn at(self, clock_us: u64) -> u64 {
        self.before_us + (clock_us - self.since_us)
    }

    /// Another clock takes over.
    pub(super) fn passes(self, old_us: u64, new_us: u64) -> Elapsed {
        Elapsed { before_us: self.at(old_us) + new_us.saturating_sub(old_us), since_us: new_us }
    }
}

/// The hits of a token bucket.
pub(super) fn hits(take: &Take, limit: &Limit) -> i128 {
    let Some(tokens) = take.demand.tokens() else { return 0 };
    let one = limit.cost(1);
    let parts = |time: tollgate_core::limit::Exact| {
        i128::from(time.whole_us) * i128::from(limit.per_us()) + i128::from(time.fraction)
    };
    parts(tokens.cost) / parts(one)
}

impl World<'_> {
    pub(super) fn admitted(&self) -> usize {
        let told = self.requests.iter().filter_map(|request| request.told.as_ref());
        told.filter(|told| **told == Some(Verdict::Allow)).count()
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        if let Some(request) = self.requests.iter().position(|request| request.told.is_none()) {
            return Err(format!("request {request} is never answered"));
        }
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let is_denied = |request: &usize| self.requests[*request].told == Some(Some(Verdict::Deny));
        if let Some(request) = self.refunded_by.iter().find(|request| is_denied(request)) {
            return Err(format!("request {request} was denied and gave hits back"));
        }
        // Admitted less what came back, in parts of a token, over the worst interval that ends at the last take.
        let mut worst: HashMap<usize, (u64, i128)> = HashMap::new();
        let is_told = |taken: &&Taken| {
            let allowed = self.requests[taken.request].told == Some(Some(Verdict::Allow));
            !taken.is_lost && allowed && !self.plan.has_refunds(taken.bucket)
        };
        for taken in self.taken.iter().filter(is_told) {
            let limit = &self.plan.buckets[taken.bucket].limit;
            let (unit_us, requests) = (1_000_000, i128::from(limit.requests_per_unit()));
            let (last_us, sum) = worst.entry(taken.bucket).or_insert((taken.at_us, 0));
            let refilled = i128::from(taken.at_us - *last_us) * requests;
            *sum = (*sum - refilled).max(0) + taken.hits * unit_us;
            *last_us = taken.at_us;
            if *sum > i128::from(limit.burst()) * unit_us {
                let over = *sum - i128::from(limit.burst()) * unit_us;
                return Err(format!(
                    "burst and refill hold over every interval: bucket {} of {limit:?} admits {over} millionths too \
                     many at {} ns",
                    taken.bucket, taken.at_ns
                ));
            }
        }
        Ok(())
    }
}

/// Whether hits are given back by the client's wish.
pub(super) fn is_refund(take: &Take) -> bool {
    take.demand.kind == Kind::GiveBack && !take.demand.changes_nothing()
}

pub(super) fn bucket_of(take: &Take) -> usize {
    number_of(&take.key)
}
