//! A request that leases decide as far as they go.

use smallvec::SmallVec;

use super::bucket::Aside;
use crate::store::redis::legs::by_clock;
use tollgate_core::{
    decision::{Answer, AnswerSource, Enforcement, Found, Takes, verdict},
    descriptor::BucketKey,
};

/// What leases can do for a request.
#[derive(Debug)]
pub enum Spent {
    /// All of its takes fit.
    All(Answer),
    /// Some do, if the store admits the others.
    Part(Box<Part>),
    /// Redis must be asked for all of them.
    None,
}

/// The takes of a request that are spent from leases if the store admits the others.
#[derive(Debug)]
pub struct Part {
    /// What the store must be asked for.
    pub rest: Takes,
    /// For each take its enforcement, and what its lease has set aside for it; none if it is among the rest.
    pub(super) takes: SmallVec<[Share; 2]>,
}

/// The enforcement of a take, and what was set aside for it, in which bucket.
pub(super) type Share = (Enforcement, Option<(BucketKey, Aside)>);

// === impl Part ===

impl Part {
    pub(super) fn spends(&self, key: &BucketKey) -> bool {
        self.takes.iter().any(|(_, aside)| aside.as_ref().is_some_and(|(spent, _)| spent == key))
    }

    /// The answer to all takes, in their order.
    pub(super) fn answer(&self, rest: Option<Answer>) -> Answer {
        // What a lease shows is true at any later instant too, so the store's own clock counts. But masters of a Redis Cluster
        // have clocks of their own.
        let by_clock_of = |(key, aside): &(BucketKey, Aside), now_us| match key.tagged_limit() {
            Some(_) => by_clock(aside.found, aside.now_us, now_us),
            None => aside.found,
        };
        let of_leases = || self.takes.iter().filter_map(|(_, aside)| Some(aside.as_ref()?.1.now_us)).min();
        let now_us = rest.as_ref().map(|rest| rest.now_us).or_else(of_leases).unwrap_or_default();
        let mut others = rest.iter().flat_map(|rest| rest.found.iter().copied());
        let mut found: SmallVec<[Found; 1]> = SmallVec::with_capacity(self.takes.len());
        for (_, aside) in &self.takes {
            found.extend(aside.as_ref().map(|own| by_clock_of(own, now_us)).or_else(|| others.next()));
        }
        let judged =
            self.takes.iter().zip(&found).map(|((enforcement, _), found)| (*enforcement, found.fits));
        Answer {
            now_us,
            verdict: verdict(judged),
            malformed: rest.as_ref().map_or(0, |rest| rest.malformed),
            source: rest.as_ref().map_or(AnswerSource::Lease, |rest| rest.source),
            found,
        }
    }
}
