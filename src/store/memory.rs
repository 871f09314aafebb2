//! Buckets in this process: the default store, and exact for one replica.
//!
//! A full bucket is not kept, so memory holds only buckets that were charged recently: an insertion that finds its
//! shard grown to twice the size after the last sweep sweeps it first, and a task sweeps shards that receive no
//! requests. The buckets are lost with the process, so their epoch is its start. A full bucket is kept only if it
//! would count as used up when missing. A bucket that is not full is never forgotten: when the store is full, a
//! request that needs a new bucket is refused.

mod shard;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use smallvec::SmallVec;
use tracing::warn;

use crate::{
    clock::Clock,
    logging::hourly::Hourly,
    tasks::{self, Task},
};
pub use shard::Full;
use shard::{Locked, Name, SHARDS, Shard, part_of, shard_of};
use tollgate_core::{
    decision::{self, Answer, Buckets as _, State, Take},
    descriptor::BucketKey,
};

/// All shards are swept in about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The number of buckets that fit into about 150 MB.
pub const MOST_BUCKETS: usize = 2_000_000;
const NO_ROOM: &str = "the memory store is full, so requests that need a new bucket get fallback answers: raise \
    --memory-buckets, or look for a descriptor whose values never repeat";

/// Buckets of one process, in shards that are locked separately.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
    /// Everything before this is lost, for limits with `after_store_loss: empty`.
    epoch_us: u64,
    /// The shard that is swept next.
    next_sweep: AtomicUsize,
    /// Whether a runtime of the process already does the sweeping.
    is_kept_swept: AtomicBool,
    refusals: Hourly,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// A store for at most [`MOST_BUCKETS`].
    pub fn new() -> MemoryStore {
        MemoryStore::bounded(MOST_BUCKETS)
    }

    /// A store for at most this number of buckets, or for one in each of 64 shards if that is more; 0: for none. Each shard
    /// may exceed its part by the buckets of one request.
    pub fn bounded(most_buckets: usize) -> MemoryStore {
        let clock = Clock::start();
        MemoryStore {
            epoch_us: clock.now_us(),
            clock,
            shards: (0..SHARDS).map(|shard| Mutex::new(Shard::new(part_of(most_buckets, shard)))).collect(),
            next_sweep: AtomicUsize::new(0),
            is_kept_swept: AtomicBool::new(false),
            refusals: Hourly::new(),
        }
    }

    /// A copy of another store: the buckets that it holds at `now_us` by its clock, and when it began. Its own clock stands
    /// still: a fast bucket that is used up has a token again within microseconds.
    pub fn copy_of(
        now_us: u64,
        epoch_us: u64,
        states: impl IntoIterator<Item = (BucketKey, State)>,
    ) -> MemoryStore {
        let store = MemoryStore { clock: Clock::stopped_at(now_us), epoch_us, ..MemoryStore::new() };
        for (key, state) in states {
            unpoisoned(&store.shards[shard_of(&key)]).buckets.insert(Name::of(&key), state);
        }
        store
    }

    /// Charges all takes or none. If a new bucket is needed and there is no room, it fails and charges nothing.
    pub fn take(&self, takes: &[Take]) -> Result<Answer, Full> {
        let locked = self.lock(takes);
        // Read under the locks: a later request sees a later time, so a sweep forgets nothing too early.
        decide(takes, self.clock.now_us(), locked)
    }

    /// Tells operators, at most once an hour, that a request was refused because there is no room.
    pub(super) fn warn_of_refusal(&self) {
        if let Some(times) = self.refusals.occurs(self.clock.now_us()) {
            warn!(times, buckets = self.len(), "{NO_ROOM}");
        }
    }

    /// [`take`](Self::take) at the given time, which must not step back.
    pub fn take_at(&self, takes: &[Take], now_us: u64) -> Result<Answer, Full> {
        decide(takes, now_us, self.lock(takes))
    }

    /// The time by the clock of the buckets, when the store began, and those buckets of these takes that exist. Changes
    /// nothing.
    pub fn look(&self, takes: &[Take]) -> (u64, u64, Vec<(BucketKey, State)>) {
        let locked = self.lock(takes);
        let states = takes.iter().filter_map(|take| Some((take.key, locked.state(&take.key)?)));
        let states = states.collect();
        (self.clock.now_us(), self.epoch_us, states)
    }

    /// Creates the bucket of this take, empty, unless it exists or there is no room for it.
    pub fn start_empty(&self, take: &Take, now_us: u64) {
        let mut locked = self.lock(std::slice::from_ref(take));
        locked.now_us = now_us;
        let is_there = locked.state(&take.key).is_some_and(|state| state.spent_us() > locked.now_us);
        if !is_there && locked.has_room_for(std::slice::from_ref(take)).is_ok() {
            locked.set_state(&take.key, take.demand.empty(locked.now_us));
        }
    }

    /// The time by the clock of its buckets.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Forgets the full buckets of the shard that was swept longest ago.
    pub fn sweep_one(&self) {
        let number = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = unpoisoned(&self.shards[number]);
        let now_us = self.clock.now_us();
        shard.sweep(now_us);
    }

    /// The number of sweeps so far that no insertion caused.
    #[cfg(test)]
    pub(crate) fn sweeps(&self) -> usize {
        self.next_sweep.load(Ordering::Relaxed)
    }

    /// The number of buckets kept at the moment.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| unpoisoned(shard).buckets.len()).sum()
    }

    /// Whether no bucket is kept.
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
        Locked { shards, now_us: 0, epoch_us: self.epoch_us }
    }
}

/// Sweeps one shard every second for as long as the store lives. The first runtime that calls this does the work.
/// Must be called within a runtime.
pub fn keep_swept(store: &Arc<MemoryStore>) {
    if store.is_kept_swept.swap(true, Ordering::Relaxed) {
        return;
    }
    let store = Arc::downgrade(store);
    tasks::keep(Task::Sweep, move || sweep_every_second(store.clone()));
}

async fn sweep_every_second(store: Weak<MemoryStore>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        match store.upgrade() {
            Some(store) => store.sweep_one(),
            None => return,
        }
    }
}

fn decide(takes: &[Take], now_us: u64, mut locked: Locked<'_>) -> Result<Answer, Full> {
    locked.now_us = now_us;
    locked.has_room_for(takes)?;
    Ok(decision::decide(takes, now_us, &mut locked))
}

/// A thread that panics while it holds a shard leaves each bucket whole, since a write is one assignment.
fn unpoisoned(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
