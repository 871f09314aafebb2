//! Leases: hits that this runtime has reserved in Redis, and spends without a call.
//!
//! A bucket that was asked for more than a few times within the last lease is worth one. The batch that carries its next
//! take also reserves what the runtime expects to need in half a lease. When that runs out, and when the lease is over, a
//! call that no request waits for reports what was spent, and asks for more if there is still use for it. It travels with
//! the next batch, or alone if none is to be expected soon. So a lease only ever admits what Redis holds for this runtime;
//! [`mod@tollgate_core::decision::lease`] says why the limit holds.
//!
//! A lease ends early by the local clock: it counts from before the call was sent, with room for clocks that drift apart.
//! A call whose answer is lost leaves open what Redis holds. Nothing is reported about such a lease any more: it is spent
//! until its end, and Redis counts it as spent to the last hit.
//!
//! Two calls come before the requests of their batch: one that returns a lease into which a take does not fit, so that a
//! runtime denies nothing because of what it holds itself; and one that reports what was spent before hits are given back.
//!
//! Pure: requests, answers and the time go in; answers and calls come out.

mod bucket;
mod calls;
mod counts;
mod demanded;
mod part;
mod twice;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    mem,
    sync::Arc,
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use bucket::Bucket;
pub use calls::Whereabouts;
pub use counts::{Counts, LeasedHits};
pub use part::{Part, Spent};
use tollgate_core::{
    decision::{Answer, AnswerSource, Enforcement, Kind, Take, Takes, Verdict},
    descriptor::BucketKey,
};
use twice::Twice;

/// The number of buckets that are watched at once. Others are asked for one by one.
const MOST: usize = 32_768;
/// The number of calls that no request waits for in one batch: Redis decides nothing else meanwhile.
const MOST_DUE: usize = 32;
/// The number of due calls that are looked at for one batch, since some may be for another master.
const MOST_LOOKED_AT: usize = 256;
/// How long a due call waits for a batch of requests to travel with,
const MOST_WAIT_US: u64 = 1_000;
/// if the last such batch is not longer ago than this. A call of its own would cost Redis several times as much.
const BATCHES_WITHIN_US: u64 = 1_000;
/// The time between two looks for buckets that nobody asks for any more.
const SWEEP_EVERY_US: u64 = 1_000_000;

/// One runtime's leases.
#[derive(Debug, Default)]
pub struct Leases {
    buckets: HashMap<BucketKey, Bucket, RandomState>,
    /// Decides which keys get a bucket here.
    twice: Twice,
    /// The number of buckets under lease.
    leased: usize,
    /// When each lease ends, or is looked at again; the first one comes first.
    ends: BinaryHeap<Reverse<(u64, BucketKey)>>,
    /// Buckets whose holder has something to report or to ask for, and since when.
    due: VecDeque<(u64, BucketKey)>,
    /// How many of the last of them nobody was woken for.
    fresh: usize,
    /// When the last batch with requests was sent.
    batch_us: u64,
    /// When somebody will look for leases that are over; 0 before the first look.
    looks_us: u64,
    /// The number of buckets that have ever been watched.
    births: u32,
    swept_us: u64,
    counts: Counts,
    /// The counts that were added to those of the process.
    told: Counts,
    hits: Arc<LeasedHits>,
}

// === impl Leases ===

impl Leases {
    /// Leases whose hits are counted there.
    pub fn counted_in(hits: &Arc<LeasedHits>) -> Leases {
        Leases { hits: Arc::clone(hits), ..Leases::default() }
    }

    /// Decides a request, as far as its buckets are under lease. The hits of a [`Spent::Part`] stay set aside until it is
    /// given to [`settle`](Self::settle).
    pub fn spend(&mut self, takes: &Takes, now_us: u64) -> Spent {
        if self.leased == 0 || takes.iter().all(|take| take.demand.lease_us == 0) {
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
                self.is_due(*key, now_us);
            }
        }
    }

    fn is_due(&mut self, key: BucketKey, now_us: u64) {
        self.due.push_back((now_us, key));
        self.fresh += 1;
    }

    /// Whether there is a lease.
    pub fn are_any(&self) -> bool {
        self.leased > 0
    }

    /// The store charged these takes. What is shown of a bucket under lease shows it from now on.
    pub fn were_charged(&mut self, takes: &[Take], answer: &Answer) {
        if self.leased == 0 || answer.verdict != Verdict::Allow || answer.source != AnswerSource::Store {
            return;
        }
        for take in takes.iter().filter(|take| take.demand.kind == Kind::Take) {
            if let Some(bucket) = self.buckets.get_mut(&take.key) {
                bucket.was_charged(&take.demand, answer.now_us);
            }
        }
    }

    /// A batch with requests is being sent.
    pub fn are_passed_by(&mut self, now_us: u64) {
        self.batch_us = now_us;
    }

    /// Whether batches with requests follow each other closely.
    pub fn are_often_passed_by(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.batch_us) < BATCHES_WITHIN_US
    }

    /// Whether a call must be sent that no request waits for, and must not wait for a batch to travel with.
    pub fn has_due(&self, now_us: u64) -> bool {
        self.due.front().is_some_and(|(since_us, _)| {
            !self.are_often_passed_by(now_us) || now_us.saturating_sub(*since_us) >= MOST_WAIT_US
        })
    }

    /// Whether calls have become due of which nobody was told yet.
    pub fn has_fresh(&self) -> bool {
        self.fresh > 0
    }

    /// The buckets with such a call, if they must not wait.
    pub fn fresh(&mut self, now_us: u64) -> SmallVec<[BucketKey; 1]> {
        if self.fresh == 0 {
            return SmallVec::new();
        }
        let fresh = mem::take(&mut self.fresh).min(self.due.len());
        let fresh = if self.has_due(now_us) { fresh } else { 0 };
        self.due.range(self.due.len() - fresh..).map(|(_, key)| *key).collect()
    }

    // === ends ===

    /// Finds the leases that are over, and forgets buckets that nobody asks for. Returns when it must be called again;
    /// none while there is no lease.
    pub fn look(&mut self, now_us: u64) -> Option<u64> {
        while let Some(Reverse((at_us, key))) = self.ends.peek().copied() {
            if at_us > now_us {
                break;
            }
            self.ends.pop();
            let Some(bucket) = self.buckets.get_mut(&key) else { continue };
            bucket.is_timed = false;
            self.give_up(&key, now_us);
        }
        if now_us.saturating_sub(self.swept_us) >= SWEEP_EVERY_US {
            self.sweep(now_us);
        }
        self.tell();
        let next_us = self.next_look_us(now_us);
        self.looks_us = next_us.unwrap_or(u64::MAX);
        next_us
    }

    /// When the first lease ends, or the first call has waited long enough.
    fn next_look_us(&self, now_us: u64) -> Option<u64> {
        let ends_us = self.ends.peek().map(|Reverse((at_us, _))| *at_us);
        let sent_us = self.due.front().map(|(since_us, _)| since_us + MOST_WAIT_US);
        ends_us.into_iter().chain(sent_us.filter(|sent_us| *sent_us > now_us)).min()
    }

    /// Whether somebody must [look](Self::look) sooner than was said last.
    pub fn needs_a_look(&self, now_us: u64) -> bool {
        let is_sooner = |next_us| self.looks_us == 0 || next_us < self.looks_us;
        self.next_look_us(now_us).is_some_and(is_sooner)
    }

    /// If a lease is over, a call becomes due, or it is dropped. Otherwise somebody will look again.
    fn give_up(&mut self, key: &BucketKey, now_us: u64) {
        let Some(bucket) = self.buckets.get_mut(key) else { return };
        let was_leased = bucket.is_leased();
        self.counts.lapsed += u64::from(bucket.give_up(now_us));
        self.follow(*key, was_leased, now_us);
    }

    /// What follows if a bucket may have got a lease, or may have lost it.
    fn follow(&mut self, key: BucketKey, was_leased: bool, now_us: u64) {
        let Some(bucket) = self.buckets.get_mut(&key) else { return };
        self.leased = self.leased + usize::from(bucket.is_leased()) - usize::from(was_leased);
        if let Some(ends_us) = bucket.ends_us_after(now_us).filter(|_| !bucket.is_timed) {
            bucket.is_timed = true;
            self.ends.push(Reverse((ends_us, key)));
        }
        if bucket.is_due(now_us) {
            self.is_due(key, now_us);
        }
    }

    fn sweep(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.swept_us) >= SWEEP_EVERY_US {
            self.swept_us = now_us;
            self.buckets.retain(|_, bucket| bucket.is_used(now_us));
        }
    }

    fn tell(&mut self) {
        self.hits.add(self.counts, mem::replace(&mut self.told, self.counts));
    }

    /// Ends all leases, so that what was not spent comes back before the process ends, and asks for no more. Returns how many
    /// there are or may yet be granted.
    pub fn end_all(&mut self, now_us: u64) -> usize {
        self.buckets.values_mut().for_each(|bucket| bucket.retire(now_us));
        let leased = self.buckets.iter().filter(|(_, bucket)| bucket.is_leased());
        let leased: Vec<BucketKey> = leased.map(|(key, _)| *key).collect();
        leased.iter().for_each(|key| self.give_up(key, now_us));
        self.tell();
        self.buckets.values().filter(|bucket| bucket.is_leased() || bucket.is_under_way()).count()
    }
}

#[cfg(test)]
mod tests;
