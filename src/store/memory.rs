//! Buckets in this process: the embedded default, and exact for one replica.
//!
//! A bucket that is full is not kept, so memory holds only what was charged lately: each insertion that
//! finds its shard grown to twice what the last sweep left sweeps it first.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use smallvec::SmallVec;

use crate::{
    clock::Clock,
    decision::{self, Answer, Buckets, State, Take},
    descriptor::BucketKey,
};

const SHARDS: usize = 64;
/// A shard below this size is not worth sweeping.
const SMALLEST_SWEEP: usize = 1_024;

#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    buckets: HashMap<BucketKey, State>,
    sweep_at: usize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        let shard = || Mutex::new(Shard { buckets: HashMap::new(), sweep_at: SMALLEST_SWEEP });
        MemoryStore { clock: Clock::start(), shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    pub fn take(&self, takes: &[Take]) -> Answer {
        let locked = self.lock(takes);
        // Read under the locks: whoever comes later sees a later time, so a sweep forgets nothing too early.
        decide(takes, self.clock.now_us(), locked)
    }

    /// As [`take`](Self::take), with the time as a parameter, which must not step back.
    pub fn take_at(&self, takes: &[Take], now_us: u64) -> Answer {
        decide(takes, now_us, self.lock(takes))
    }

    /// Buckets kept at the moment.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| unpoisoned(shard).buckets.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks the shards of all takes, in the order of their numbers, so that no two requests wait for
    /// each other.
    fn lock(&self, takes: &[Take]) -> Locked<'_> {
        let mut numbers: SmallVec<[usize; 4]> = takes.iter().map(|take| shard_of(&take.key)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shards = numbers.into_iter().map(|number| (number, unpoisoned(&self.shards[number]))).collect();
        Locked { shards, now_us: 0 }
    }
}

fn decide(takes: &[Take], now_us: u64, mut locked: Locked<'_>) -> Answer {
    locked.now_us = now_us;
    decision::decide(takes, now_us, &mut locked)
}

fn shard_of(key: &BucketKey) -> usize {
    usize::from(key.as_bytes()[0]) % SHARDS
}

/// A thread that panicked while it held a shard left each bucket whole: a write is one assignment.
fn unpoisoned(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Locked ===

/// The shards that one request needs.
struct Locked<'a> {
    shards: SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>,
    now_us: u64,
}

impl Locked<'_> {
    fn position(&self, key: &BucketKey) -> usize {
        let number = shard_of(key);
        self.shards.iter().position(|(shard, _)| *shard == number).expect("the shard of each take is locked")
    }
}

impl Buckets for Locked<'_> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.shards[self.position(key)].1.buckets.get(key).cloned()
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        let (now_us, position) = (self.now_us, self.position(key));
        let shard = &mut *self.shards[position].1;
        let Some(state) = state else {
            shard.buckets.remove(key);
            return;
        };
        if shard.buckets.len() >= shard.sweep_at {
            shard.sweep(now_us);
        }
        shard.buckets.insert(*key, state);
    }
}

impl Shard {
    /// Forgets what is full. Its cost is spread over the insertions that doubled the shard.
    fn sweep(&mut self, now_us: u64) {
        self.buckets.retain(|_, state| state.spent_us() > now_us);
        self.sweep_at = (self.buckets.len() * 2).max(SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests;
