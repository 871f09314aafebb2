//! Decides which requests travel together. Pure: requests and the time go in, batches come out.
//!
//! A batch is one call to Redis that carries many requests. When a slot is free, everything that is queued is sent at
//! once; nothing waits to fill a batch. A request is held back only if a batch under way asks for one of its buckets
//! that was recently seen without room, since the answer to that batch will probably deny the request too. It is sent
//! at the latest when the batches that were under way have landed: meanwhile younger requests for its buckets without
//! room wait behind it. It also waits for such calls of other runtimes, but only for [`MOST_QUESTIONS`](super::elsewhere::MOST_QUESTIONS) of them.

use std::{
    collections::{HashSet, VecDeque},
    mem,
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::elsewhere::Elsewhere;
use crate::store::redis::denial_cache::{DenialCache, Trip};
use tollgate_core::{
    decision::{Answer, Take, Takes},
    descriptor::BucketKey,
};

/// The number of batches under way at once. A second one keeps Redis busy while the first one's answer travels.
pub const MOST_UNDER_WAY: usize = 2;
/// The number of takes in a batch, so that no call holds up Redis for long. A larger request travels alone.
pub const MOST_TAKES: usize = 128;
/// How long a take may stay queued, unless the deadline is longer: after that, more requests arrive than the store can
/// decide.
pub const PATIENCE_US: u64 = 100_000;
/// A batch that takes more than half the deadline halves the number of slots. Each period of this length without one
/// adds a slot.
const GOOD_US: u64 = 1_000_000;

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Request<T> {
    /// What it asks of its buckets.
    pub takes: Takes,
    /// How the answer reaches the caller.
    pub ticket: T,
    /// When it was queued, by the local clock.
    pub queued_us: u64,
    /// What it waits for in other runtimes.
    pub(super) elsewhere: Elsewhere,
}

/// Requests that travel together.
#[derive(Debug)]
pub struct Batch<T> {
    /// None for an errand.
    pub requests: Vec<Request<T>>,
    /// When it was formed, by the local clock.
    pub sent_us: u64,
    /// Buckets for which other requests wait until this batch has landed.
    pub(super) awaited: Vec<BucketKey>,
}

/// The next batch, if there is one, and requests that need none any more.
#[derive(Debug)]
pub struct Formed<T> {
    /// The batch to send.
    pub batch: Option<Batch<T>>,
    /// Requests that can be denied by what was learnt since they were queued.
    pub denied: Vec<(T, Answer)>,
    /// Requests that were queued for longer than [`PATIENCE_US`] and are not sent.
    pub overdue: Vec<T>,
}

/// The requests of one runtime that wait for a batch to one Redis.
#[derive(Debug)]
pub struct Queue<T> {
    requests: VecDeque<Request<T>>,
    under_way: usize,
    /// The number of batches that may be under way.
    slots: usize,
    slow_us: u64,
    patience_us: u64,
    last_change_us: u64,
    /// Buckets recently seen without room that a batch under way asks for, each in one batch.
    awaited: HashSet<BucketKey, RandomState>,
    /// Buckets without room that a held request asks for: younger requests for them wait. Used only while a batch is
    /// formed, and kept for its memory.
    reserved: HashSet<BucketKey, RandomState>,
}

impl<T> Queue<T> {
    /// `deadline_us` is the time that Redis has for an answer.
    pub fn new(deadline_us: u64) -> Queue<T> {
        Queue {
            requests: VecDeque::new(),
            under_way: 0,
            slots: MOST_UNDER_WAY,
            slow_us: deadline_us / 2,
            patience_us: PATIENCE_US.max(deadline_us),
            last_change_us: 0,
            awaited: HashSet::default(),
            reserved: HashSet::default(),
        }
    }

    /// Queues a request behind the others.
    pub fn push(&mut self, request: Request<T>) {
        self.requests.push_back(request);
    }

    /// The next batch, if a slot is free. A request whose caller no longer waits, by `is_gone`, leaves the queue.
    /// [`landed`](Self::landed) must be called for every batch.
    pub fn next(
        &mut self,
        denial_cache: &mut DenialCache,
        now_us: u64,
        is_gone: impl Fn(&T) -> bool,
    ) -> Formed<T> {
        let mut formed = Formed { batch: None, denied: Vec::new(), overdue: Vec::new() };
        if self.under_way >= self.slots || self.requests.is_empty() {
            return formed;
        }
        let most = self.requests.len().min(MOST_TAKES);
        let mut batch = Batch { requests: Vec::with_capacity(most), sent_us: now_us, awaited: Vec::new() };
        let mut takes = 0;
        let mut held = VecDeque::new();
        self.reserved.clear();
        while let Some(mut request) = self.requests.pop_front() {
            if is_gone(&request.ticket) {
                continue;
            }
            if now_us.saturating_sub(request.queued_us) > self.patience_us {
                formed.overdue.push(request.ticket);
            } else if let Some(answer) = denial_cache.denial(&request.takes, now_us) {
                formed.denied.push((request.ticket, answer));
            } else if self.must_wait(&request.takes) {
                request.elsewhere.until_us = None;
                self.reserve(&request, denial_cache, now_us);
                held.push_back(request);
            } else if takes > 0 && takes + request.takes.len() > MOST_TAKES {
                self.requests.push_front(request);
                break;
            } else if batch.waits_elsewhere(&mut request, denial_cache, now_us) {
                self.reserve(&request, denial_cache, now_us);
                held.push_back(request);
            } else {
                takes += request.takes.len();
                batch.requests.push(request);
            }
        }
        // The held requests are the oldest, and keep their place.
        if !held.is_empty() {
            held.append(&mut self.requests);
            self.requests = held;
        }
        if !batch.requests.is_empty() {
            batch.awaited.retain(|key| self.awaited.insert(*key));
            self.under_way += 1;
            formed.batch = Some(batch);
        }
        formed
    }

    /// When [`next`](Self::next) must be called again, since a request waits for another runtime that may not get on.
    /// While no slot is free, that is when one is.
    pub fn looks_again_us(&self) -> Option<u64> {
        let waiting = self.requests.iter().filter_map(|request| request.elsewhere.until_us);
        if self.has_room() { waiting.min() } else { None }
    }

    /// Whether a slot is free.
    pub fn has_room(&self) -> bool {
        self.under_way < self.slots
    }

    /// A batch without requests, if a slot is free.
    pub fn errand(&mut self, now_us: u64) -> Option<Batch<T>> {
        if !self.has_room() {
            return None;
        }
        self.under_way += 1;
        Some(Batch { requests: Vec::new(), sent_us: now_us, awaited: Vec::new() })
    }

    /// A batch was answered, refused or lost. Its slot is free, and requests no longer wait for the buckets in
    /// `awaited`.
    pub fn landed(&mut self, awaited: &[BucketKey], trip: Trip) {
        self.under_way -= 1;
        for key in awaited {
            self.awaited.remove(key);
        }
        if trip.arrived_us.saturating_sub(trip.sent_us) > self.slow_us {
            self.slots = (self.slots / 2).max(1);
            self.last_change_us = trip.arrived_us;
        } else if self.slots < MOST_UNDER_WAY
            && trip.arrived_us.saturating_sub(self.last_change_us) >= GOOD_US
        {
            self.slots += 1;
            self.last_change_us = trip.arrived_us;
        }
    }

    /// Removes the requests that have been queued for too long.
    pub fn overdue(&mut self, now_us: u64) -> impl Iterator<Item = T> {
        let is_overdue = |request: &Request<T>| now_us.saturating_sub(request.queued_us) > self.patience_us;
        // The oldest requests are in front.
        let overdue = self.requests.iter().take_while(|request| is_overdue(request)).count();
        self.requests.drain(..overdue).map(|request| request.ticket)
    }

    /// Removes all requests.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> + use<T> {
        mem::take(&mut self.requests).into_iter().map(|request| request.ticket)
    }

    /// The number of requests that wait.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether a request asks for a bucket that an older one was sent for, or waits for.
    fn must_wait(&self, takes: &[Take]) -> bool {
        // An empty set does not even hash the key.
        takes.iter().any(|take| self.awaited.contains(&take.key) || self.reserved.contains(&take.key))
    }

    /// Without this, younger requests would be sent with one of its buckets while another is under way, by turns and
    /// forever. A bucket with room cannot hold it up, and reserving that too would stop requests that need not wait.
    fn reserve(&mut self, held: &Request<T>, denial_cache: &mut DenialCache, now_us: u64) {
        let without_room = held.takes.iter().filter(|take| denial_cache.knows(&take.key, now_us));
        self.reserved.extend(without_room.map(|take| take.key));
    }
}

// === impl Batch ===

impl<T> Batch<T> {
    /// Whether a request waits for what another runtime is asking. If not, this batch asks for its buckets.
    fn waits_elsewhere(
        &mut self,
        request: &mut Request<T>,
        denial_cache: &mut DenialCache,
        now_us: u64,
    ) -> bool {
        let (elsewhere, asked) = (&mut request.elsewhere, self.awaited.len());
        let keys: SmallVec<[BucketKey; 4]> = without_room(denial_cache, &request.takes, now_us).collect();
        for key in keys {
            if self.awaited.contains(&key) {
                continue;
            }
            let question = denial_cache.asks(key, now_us);
            if question.is_some_and(|question| elsewhere.waits_for(question, request.queued_us, now_us)) {
                denial_cache.has_asked(&self.awaited[asked..]);
                self.awaited.truncate(asked);
                return true;
            }
            self.awaited.push(key);
        }
        false
    }
}

/// The buckets of a request for which others may wait. Nobody waits for a give-back: its answer helps no other request.
fn without_room<'a>(
    denial_cache: &'a mut DenialCache,
    takes: &'a [Take],
    now_us: u64,
) -> impl Iterator<Item = BucketKey> + 'a {
    let asking = takes.iter().filter(|take| !take.demand.kind.gives_back());
    asking.map(|take| take.key).filter(move |key| denial_cache.knows(key, now_us))
}

#[cfg(test)]
mod tests;
