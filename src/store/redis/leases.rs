//! Leases: hits that this runtime has reserved in Redis, and spends without a call.
//!
//! A bucket that was asked for more than a few hits within the last lease is worth one. The batch that carries its next
//! take also reserves what the runtime expects to need in half a lease. When half of that is spent, and when the lease is
//! over, a call that no request waits for reports what was spent, and asks for more if there is still use for it. So a
//! lease only ever admits what Redis holds for this runtime; [`mod@tollgate_core::decision::lease`] says why the limit
//! holds.
//!
//! A lease ends early by the local clock: it counts from before the call was sent, with room for clocks that drift apart.
//! A call whose answer is lost leaves open what Redis holds. Nothing is reported about such a lease any more: it is spent
//! until its end, and Redis counts it as spent to the last hit.
//!
//! Pure: requests, answers and the time go in; answers and calls come out.

mod bucket;
mod twice;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::denial_cache::Trip;
use bucket::{Aside, Bucket};
use tollgate_core::{
    decision::{Answer, AnswerSource, Enforcement, Found, Granted, LeaseCall, Takes, Verdict, verdict},
    descriptor::BucketKey,
};
use twice::Twice;

/// The number of buckets that are watched at once. Others are asked for one by one.
const MOST: usize = 32_768;
/// The time between two looks for buckets that nobody asks for any more.
const SWEEP_EVERY_US: u64 = 1_000_000;

/// One runtime's leases.
#[derive(Debug, Default)]
pub struct Leases {
    buckets: HashMap<BucketKey, Bucket, RandomState>,
    /// Decides which keys get a bucket here.
    twice: Twice,
    /// Buckets under lease.
    leased: Vec<BucketKey>,
    /// Buckets whose holder has something to report or to ask for.
    due: Vec<BucketKey>,
    swept_us: u64,
    counts: Counts,
    /// The counts that were added to those of the process.
    told: Counts,
    hits: Arc<LeasedHits>,
}

/// What became of the hits of all leases; it only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Granted by Redis.
    pub reserved: u64,
    /// Admitted from a lease.
    pub spent: u64,
    /// Not reported in time, so Redis counts them as spent.
    pub lapsed: u64,
}

/// The [`Counts`] of all runtimes of a process.
#[derive(Debug, Default)]
pub struct LeasedHits {
    reserved: AtomicU64,
    spent: AtomicU64,
    lapsed: AtomicU64,
}

impl LeasedHits {
    /// Each count with its word in metrics.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [("reserved", &self.reserved), ("spent", &self.spent), ("lapsed", &self.lapsed)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    fn add(&self, counts: Counts, told: Counts) {
        let add = |to: &AtomicU64, now: u64, told: u64| {
            to.fetch_add(now - told, Ordering::Relaxed);
        };
        add(&self.reserved, counts.reserved, told.reserved);
        add(&self.spent, counts.spent, told.spent);
        add(&self.lapsed, counts.lapsed, told.lapsed);
    }
}

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
    takes: SmallVec<[Share; 2]>,
}

/// The enforcement of a take, and what was set aside for it, in which bucket.
type Share = (Enforcement, Option<(BucketKey, Aside)>);

// === impl Leases ===

impl Leases {
    /// Leases whose hits are counted there.
    pub fn counted_in(hits: &Arc<LeasedHits>) -> Leases {
        Leases { hits: Arc::clone(hits), ..Leases::default() }
    }

    /// Decides a request, as far as its buckets are under lease. The hits of a [`Spent::Part`] stay set aside until it is
    /// given to [`settle`](Self::settle).
    pub fn spend(&mut self, takes: &Takes, now_us: u64) -> Spent {
        if self.leased.is_empty() || takes.iter().all(|take| take.demand.lease_us == 0) {
            return Spent::None;
        }
        let mut part = Part { rest: Takes::new(), takes: SmallVec::new() };
        for take in takes {
            let bucket = self.buckets.get_mut(&take.key);
            let aside = bucket.and_then(|bucket| bucket.set_aside(&take.demand, now_us));
            if aside.is_none() {
                part.rest.push(*take);
            }
            part.takes.push((take.demand.enforcement, aside.map(|aside| (take.key, aside))));
        }
        if part.rest.len() == takes.len() {
            return Spent::None;
        }
        let has_quota = || takes.iter().any(|take| take.demand.enforcement == Enforcement::Quota);
        let is_shared = || part.rest.iter().any(|rest| part.spends(&rest.key));
        if !part.rest.is_empty() && (has_quota() || is_shared()) {
            // The store judges quotas together, and takes of one bucket one after the other.
            self.settle_with(&part, Verdict::Deny, now_us);
            return Spent::None;
        }
        if part.rest.is_empty() {
            self.settle_with(&part, Verdict::Allow, now_us);
            return Spent::All(part.answer(None));
        }
        Spent::Part(Box::new(part))
    }

    /// Spends what was set aside, or puts it back, by the store's answer for the rest. Returns the answer for the whole.
    pub fn settle(&mut self, part: &Part, rest: Option<Answer>, now_us: u64) -> Option<Answer> {
        let verdict = rest.as_ref().map_or(Verdict::Deny, |rest| rest.verdict);
        self.settle_with(part, verdict, now_us);
        rest.map(|rest| part.answer(Some(rest)))
    }

    fn settle_with(&mut self, part: &Part, verdict: Verdict, now_us: u64) {
        for (key, aside) in part.takes.iter().filter_map(|(_, aside)| aside.as_ref()) {
            let Some(bucket) = self.buckets.get_mut(key) else { continue };
            let spent = bucket.settle(aside, verdict, now_us);
            self.counts.spent += u64::from(spent);
            if bucket.is_due(now_us) {
                self.due.push(*key);
            }
        }
    }

    /// Whether a call must be sent that no request waits for.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether no bucket is under lease.
    pub fn is_empty(&self) -> bool {
        self.leased.is_empty()
    }

    // === calls ===

    /// The calls that travel with a batch of these requests. Each must end in [`landed`](Self::landed).
    pub fn calls<'a>(&mut self, requests: impl Iterator<Item = &'a Takes>, now_us: u64) -> Vec<LeaseCall> {
        let mut calls = Vec::new();
        for take in requests.flatten().filter(|take| take.demand.lease_us > 0) {
            if !self.buckets.contains_key(&take.key)
                && self.buckets.len() < MOST
                && self.twice.note(&take.key)
            {
                self.buckets.insert(take.key, Bucket::new(&take.demand, now_us));
            }
            let Some(bucket) = self.buckets.get_mut(&take.key) else { continue };
            bucket.is_asked(&take.demand, now_us);
            calls.extend(bucket.call(&take.key, now_us));
        }
        calls
    }

    /// The buckets with a call that no request waits for.
    pub fn due(&self) -> &[BucketKey] {
        &self.due
    }

    /// Those of these calls whose bucket is here. Each must end in [`landed`](Self::landed) or in
    /// [`not_sent`](Self::not_sent).
    pub fn due_calls(&mut self, is_here: impl Fn(&BucketKey) -> bool, now_us: u64) -> Vec<LeaseCall> {
        let due = self.due.extract_if(.., |key| is_here(key));
        let calls = due.filter_map(|key| self.buckets.get_mut(&key)?.call(&key, now_us));
        calls.collect()
    }

    /// The calls could not be sent, and are still due.
    pub fn not_sent(&mut self, calls: &[LeaseCall]) {
        for call in calls {
            if let Some(bucket) = self.buckets.get_mut(&call.key) {
                bucket.not_sent();
                self.due.push(call.key);
            }
        }
    }

    /// A call was answered; or it was refused or lost, which are the same here.
    pub fn landed(&mut self, call: &LeaseCall, granted: Option<&Granted>, trip: Trip) {
        let Some(bucket) = self.buckets.get_mut(&call.key) else { return };
        let was_leased = bucket.is_leased();
        self.counts.lapsed += u64::from(bucket.landed(call, granted, trip));
        self.counts.reserved += granted.map_or(0, |granted| u64::from(granted.granted));
        if bucket.is_leased() && !was_leased {
            self.leased.push(call.key);
        }
        if bucket.is_due(trip.arrived_us) {
            self.due.push(call.key);
        }
    }

    /// Finds the leases that are over, and forgets buckets that nobody asks for. Returns when it must be called again;
    /// none while there is no lease.
    pub fn look(&mut self, now_us: u64) -> Option<u64> {
        let mut next_us: Option<u64> = None;
        let Leases { buckets, leased, due, counts, .. } = self;
        leased.retain(|key| {
            let Some(bucket) = buckets.get_mut(key) else { return false };
            counts.lapsed += u64::from(bucket.give_up(now_us));
            if bucket.is_due(now_us) {
                due.push(*key);
            }
            if let Some(ends_us) = bucket.ends_us_after(now_us) {
                next_us = Some(next_us.map_or(ends_us, |next_us| next_us.min(ends_us)));
            }
            bucket.is_leased()
        });
        if now_us.saturating_sub(self.swept_us) >= SWEEP_EVERY_US {
            self.swept_us = now_us;
            self.buckets.retain(|_, bucket| bucket.is_used(now_us));
        }
        self.hits.add(self.counts, mem::replace(&mut self.told, self.counts));
        next_us
    }

    /// Ends all leases, so that what was not spent comes back before the process ends.
    pub fn end_all(&mut self, now_us: u64) {
        for key in &self.leased {
            if let Some(bucket) = self.buckets.get_mut(key) {
                bucket.retire(now_us);
                self.due.push(*key);
            }
        }
    }
}

// === impl Part ===

impl Part {
    fn spends(&self, key: &BucketKey) -> bool {
        self.takes.iter().any(|(_, aside)| aside.as_ref().is_some_and(|(spent, _)| spent == key))
    }

    /// The answer to all takes, in their order.
    fn answer(&self, rest: Option<Answer>) -> Answer {
        let told = self.takes.iter().filter_map(|(_, aside)| Some(aside.as_ref()?.1.told_us));
        let now_us = told.chain(rest.as_ref().map(|rest| rest.now_us)).min().unwrap_or_default();
        let mut others = rest.iter().flat_map(|rest| rest.found.iter().copied());
        let mut found: SmallVec<[Found; 1]> = SmallVec::with_capacity(self.takes.len());
        for (_, aside) in &self.takes {
            found.extend(aside.as_ref().map(|(_, aside)| aside.found).or_else(|| others.next()));
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

#[cfg(test)]
mod tests;
