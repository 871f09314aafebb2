//! Buckets in this process: the default store, and exact for one replica.
//!
//! A full bucket is not kept, so memory holds only buckets that were charged recently: an insertion that finds its
//! shard grown to twice the size after the last sweep sweeps it first, and a task sweeps shards that receive no
//! requests. The buckets are lost with the process, so their epoch is its start. A full bucket is kept only if it
//! would count as used up when missing. A bucket that is not full is never forgotten: when the store is full, a
//! request that needs a new bucket is refused.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::{
    clock::Clock,
    tasks::{self, Task},
};
use tollgate_core::{
    decision::{self, Answer, Buckets, State, Take},
    descriptor::BucketKey,
};

const SHARDS: usize = 64;
/// A smaller shard is not worth sweeping.
const SMALLEST_SWEEP: usize = 1_024;
/// All shards are swept in about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A full shard is swept at most this often: in a flood of new keys, each key must not cost a sweep.
const SWEEP_AT_BOUND_EVERY_US: u64 = 5_000_000;
/// The number of buckets that fit into about 200 MB.
pub const MOST_BUCKETS: usize = 2_000_000;

/// The request needs new buckets, and there is no room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The places in the request of the takes that find no room.
    pub takes: SmallVec<[usize; 4]>,
}

/// Buckets of one process, in shards that are locked separately.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
    most_in_shard: usize,
    /// Everything before this is lost, for limits with `after_store_loss: empty`.
    epoch_us: u64,
    /// The shard that is swept next.
    next_sweep: AtomicUsize,
    /// Whether a runtime of the process already does the sweeping.
    is_kept_swept: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    buckets: HashMap<BucketKey, State, RandomState>,
    /// Buckets that are kept until this instant even if they are full. They are few: those that were given something
    /// back soon after the start.
    held_until_us: HashMap<BucketKey, u64, RandomState>,
    sweep_at: usize,
    /// A full shard is not swept before this instant.
    next_sweep_us: u64,
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

    /// A store for at most this number of buckets. Each shard may exceed its part by the buckets of one request.
    pub fn bounded(most_buckets: usize) -> MemoryStore {
        let shard = || {
            Mutex::new(Shard {
                buckets: HashMap::default(),
                held_until_us: HashMap::default(),
                sweep_at: SMALLEST_SWEEP,
                next_sweep_us: 0,
            })
        };
        let clock = Clock::start();
        MemoryStore {
            epoch_us: clock.now_us(),
            clock,
            shards: (0..SHARDS).map(|_| shard()).collect(),
            most_in_shard: most_buckets.div_ceil(SHARDS),
            next_sweep: AtomicUsize::new(0),
            is_kept_swept: AtomicBool::new(false),
        }
    }

    /// A copy of another store: the buckets that it holds at `now_us` by its clock, and when it began.
    pub fn copy_of(
        now_us: u64,
        epoch_us: u64,
        states: impl IntoIterator<Item = (BucketKey, State)>,
    ) -> MemoryStore {
        let store = MemoryStore { clock: Clock::set_to(now_us), epoch_us, ..MemoryStore::new() };
        for (key, state) in states {
            unpoisoned(&store.shards[shard_of(&key)]).buckets.insert(key, state);
        }
        store
    }

    /// Charges all takes or none. If a new bucket is needed and there is no room, it fails and charges nothing.
    pub fn take(&self, takes: &[Take]) -> Result<Answer, Full> {
        let locked = self.lock(takes);
        // Read under the locks: a later request sees a later time, so a sweep forgets nothing too early.
        decide(takes, self.clock.now_us(), locked)
    }

    /// [`take`](Self::take) at the given time, which must not step back.
    pub fn take_at(&self, takes: &[Take], now_us: u64) -> Result<Answer, Full> {
        decide(takes, now_us, self.lock(takes))
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
        Locked { shards, now_us: 0, most_in_shard: self.most_in_shard, epoch_us: self.epoch_us }
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

fn shard_of(key: &BucketKey) -> usize {
    usize::from(key.as_bytes()[0]) % SHARDS
}

/// A thread that panics while it holds a shard leaves each bucket whole, since a write is one assignment.
fn unpoisoned(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Locked ===

/// The shards that one request needs.
struct Locked<'a> {
    shards: SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>,
    now_us: u64,
    most_in_shard: usize,
    epoch_us: u64,
}

impl Locked<'_> {
    fn position(&self, key: &BucketKey) -> usize {
        let number = shard_of(key);
        self.shards.iter().position(|(shard, _)| *shard == number).expect("the shard of each take is locked")
    }

    /// Whether each bucket that these takes may create exists or may be added.
    fn has_room_for(&mut self, takes: &[Take]) -> Result<(), Full> {
        let (now_us, most, epoch_us) = (self.now_us, self.most_in_shard, self.epoch_us);
        let finds_none = |take: &Take| {
            let position = self.position(&take.key);
            let shard = &mut *self.shards[position].1;
            if shard.buckets.len() < most
                || shard.buckets.contains_key(&take.key)
                || !take.demand.may_begin_bucket(epoch_us, now_us)
            {
                return false;
            }
            if now_us >= shard.next_sweep_us {
                shard.sweep(now_us);
                shard.next_sweep_us = now_us.saturating_add(SWEEP_AT_BOUND_EVERY_US);
            }
            shard.buckets.len() >= most
        };
        let places = takes.iter().map(finds_none).enumerate().filter(|(_, finds_none)| *finds_none);
        let takes: SmallVec<[usize; 4]> = places.map(|(place, _)| place).collect();
        if takes.is_empty() { Ok(()) } else { Err(Full { takes }) }
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

    fn epoch_us(&mut self, _now_us: u64) -> u64 {
        self.epoch_us
    }

    fn hold(&mut self, key: &BucketKey, until_us: u64) {
        let (now_us, position) = (self.now_us, self.position(key));
        let shard = &mut *self.shards[position].1;
        let held_until_us = shard.held_until_us.entry(*key).or_default();
        *held_until_us = until_us.max(*held_until_us);
        if shard.held_until_us.len() > shard.sweep_at {
            shard.sweep(now_us);
        }
    }
}

impl Shard {
    /// Forgets full buckets. The cost is spread over the insertions that doubled the shard.
    fn sweep(&mut self, now_us: u64) {
        let Shard { buckets, held_until_us, .. } = self;
        held_until_us.retain(|key, until_us| *until_us > now_us && buckets.contains_key(key));
        buckets.retain(|key, state| state.spent_us() > now_us || held_until_us.contains_key(key));
        self.sweep_at = (self.buckets.len() * 2).max(SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests;
