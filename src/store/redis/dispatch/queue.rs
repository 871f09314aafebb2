//! Which requests travel together. Pure: what is queued and what time it is in, a batch out.
//!
//! A batch is one call to Redis that carries many requests. Whatever is queued when a slot in the air is free
//! goes out at once; nothing waits to fill a batch. One thing waits: a request for a bucket that was lately
//! seen without room, while another batch asks for that bucket, since that batch's answer is likely its own.
//! It leaves at the latest when all that is in the air has landed: no younger request takes off with a bucket that
//! could hold it up again.

use std::{
    collections::{HashSet, VecDeque},
    mem,
};

use foldhash::fast::RandomState;

use crate::store::redis::denial_cache::{DenialCache, Trip};
use tollgate_core::{
    decision::{Answer, Kind, Take, Takes},
    descriptor::BucketKey,
};

/// Flights in the air at once. A second one keeps Redis busy while the first one's answer travels.
pub const MOST_IN_AIR: usize = 2;
/// Takes in a batch, so that no call holds up Redis for long. A larger request travels alone.
pub const MOST_TAKES: usize = 128;
/// How long a take may stay queued, or as long as the deadline if that is longer: beyond it, more arrives than the
/// store can decide.
pub const PATIENCE_US: u64 = 100_000;
/// A batch slower than half the deadline halves what is in the air; after this long without one it grows.
const GOOD_US: u64 = 1_000_000;

/// A request that waits for its answer; `ticket` is how the answer gets to it.
#[derive(Debug)]
pub struct Request<T> {
    pub takes: Takes,
    pub ticket: T,
    pub queued_us: u64,
}

/// Requests that travel together.
#[derive(Debug)]
pub struct Batch<T> {
    pub requests: Vec<Request<T>>,
    pub sent_us: u64,
    /// Buckets that others wait for this batch to tell of.
    asks_for: Vec<BucketKey>,
}

/// What forming a batch yields: perhaps a batch, and requests that need none any more.
#[derive(Debug)]
pub struct Formed<T> {
    pub batch: Option<Batch<T>>,
    /// Denied by what has been learnt since they were queued.
    pub denied: Vec<(T, Answer)>,
    /// Queued for longer than [`PATIENCE_US`]; not sent.
    pub overdue: Vec<T>,
}

/// One runtime's queue.
#[derive(Debug)]
pub struct Queue<T> {
    queue: VecDeque<Request<T>>,
    in_air: usize,
    allowed: usize,
    slow_us: u64,
    patience_us: u64,
    last_change_us: u64,
    /// Buckets lately seen without room that a batch in the air asks for; no two batches ask for the same one.
    asked_for: HashSet<BucketKey, RandomState>,
    /// Those that a request asks for which is held: they are left to it. Only while a batch is formed.
    reserved: HashSet<BucketKey, RandomState>,
}

impl<T> Queue<T> {
    /// `deadline_us` is what the store has for an answer.
    pub fn new(deadline_us: u64) -> Queue<T> {
        Queue {
            queue: VecDeque::new(),
            in_air: 0,
            allowed: MOST_IN_AIR,
            slow_us: deadline_us / 2,
            patience_us: PATIENCE_US.max(deadline_us),
            last_change_us: 0,
            asked_for: HashSet::default(),
            reserved: HashSet::default(),
        }
    }

    pub fn push(&mut self, request: Request<T>) {
        self.queue.push_back(request);
    }

    /// The next batch, if a slot is free. `is_gone` tells whether nobody waits for a request any more: such a
    /// one leaves the queue. [`land`](Self::land) must be called for every batch.
    pub fn form(&mut self, cache: &DenialCache, now_us: u64, is_gone: impl Fn(&T) -> bool) -> Formed<T> {
        let mut formed = Formed { batch: None, denied: Vec::new(), overdue: Vec::new() };
        if self.in_air >= self.allowed || self.queue.is_empty() {
            return formed;
        }
        let mut batch = Batch { requests: Vec::new(), sent_us: now_us, asks_for: Vec::new() };
        let mut takes = 0;
        let mut held = VecDeque::new();
        self.reserved.clear();
        while let Some(request) = self.queue.pop_front() {
            if is_gone(&request.ticket) {
                continue;
            }
            if now_us.saturating_sub(request.queued_us) > self.patience_us {
                formed.overdue.push(request.ticket);
            } else if let Some(answer) = cache.denial(&request.takes, now_us) {
                formed.denied.push((request.ticket, answer));
            } else if self.is_spoken_for(&request.takes) {
                // Or younger ones would take off with one of its buckets while another is in the air, and so on by
                // turns, for ever. No other bucket can hold it up, and reserving those too would ground requests
                // that need not wait.
                let out_of_room = request.takes.iter().filter(|take| cache.knows(&take.key, now_us));
                self.reserved.extend(out_of_room.map(|take| take.key));
                held.push_back(request);
            } else if takes > 0 && takes + request.takes.len() > MOST_TAKES {
                self.queue.push_front(request);
                break;
            } else {
                takes += request.takes.len();
                batch.asks_for.extend(out_of_room(cache, &request.takes, now_us));
                batch.requests.push(request);
            }
        }
        // Those held are the oldest, and keep their place.
        held.append(&mut self.queue);
        self.queue = held;
        if !batch.requests.is_empty() {
            batch.asks_for.retain(|key| self.asked_for.insert(*key));
            self.in_air += 1;
            formed.batch = Some(batch);
        }
        formed
    }

    /// A batch is over: answered, refused or lost. Its slot is free, and so is what waited for it.
    pub fn land(&mut self, asks_for: &[BucketKey], trip: Trip) {
        self.in_air -= 1;
        for key in asks_for {
            self.asked_for.remove(key);
        }
        if trip.arrived_us.saturating_sub(trip.sent_us) > self.slow_us {
            self.allowed = (self.allowed / 2).max(1);
            self.last_change_us = trip.arrived_us;
        } else if self.allowed < MOST_IN_AIR && trip.arrived_us.saturating_sub(self.last_change_us) >= GOOD_US
        {
            self.allowed += 1;
            self.last_change_us = trip.arrived_us;
        }
    }

    /// Whoever has been queued for longer than anybody should be; they leave the queue.
    pub fn overdue(&mut self, now_us: u64) -> Vec<T> {
        let is_overdue = |request: &Request<T>| now_us.saturating_sub(request.queued_us) > self.patience_us;
        // The oldest are in front.
        let overdue = self.queue.iter().take_while(|request| is_overdue(request)).count();
        self.queue.drain(..overdue).map(|request| request.ticket).collect()
    }

    /// Empties the queue.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        mem::take(&mut self.queue).into_iter().map(|request| request.ticket)
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    fn is_spoken_for(&self, takes: &[Take]) -> bool {
        // A set that is empty does not even look at the key.
        takes.iter().any(|take| self.asked_for.contains(&take.key) || self.reserved.contains(&take.key))
    }
}

impl<T> Batch<T> {
    /// What [`Flights::land`] needs, once the requests are answered.
    pub fn take_asks_for(&mut self) -> Vec<BucketKey> {
        mem::take(&mut self.asks_for)
    }
}

/// What others may wait for.
fn out_of_room<'a>(
    cache: &'a DenialCache,
    takes: &'a [Take],
    now_us: u64,
) -> impl Iterator<Item = BucketKey> + 'a {
    // What is given back is worth its own answer to nobody else.
    let asking = takes.iter().filter(|take| take.demand.kind != Kind::GiveBack);
    asking.map(|take| take.key).filter(move |key| cache.knows(key, now_us))
}

#[cfg(test)]
mod tests;
