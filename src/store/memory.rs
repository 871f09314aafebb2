//! Buckets in this process: the embedded default, and exact for one replica.
//!
//! A bucket that is full is not kept, so memory holds only what was charged lately: each insertion that
//! finds its shard grown to twice what the last sweep left sweeps it first, and a task sweeps what nobody asks for.
//! What it held is lost with the process, so its epoch is when that started. A bucket that would count as used up if
//! it were missing is kept though it is full.
//! A bucket that is not full is never forgotten: at the bound a request that needs a new one is refused.

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
/// A shard below this size is not worth sweeping.
const SMALLEST_SWEEP: usize = 1_024;
/// All shards are swept in about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// At the bound a shard is swept this often at most: a flood of new keys must not buy a sweep each.
const SWEEP_AT_BOUND_EVERY_US: u64 = 5_000_000;
/// As many buckets as fit about 200 MB.
pub const MOST_BUCKETS: usize = 2_000_000;

/// The request needs buckets that are not there, and there is no room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The takes that find no room, by their places in the request.
    pub takes: SmallVec<[usize; 4]>,
}

#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
    most_in_shard: usize,
    /// What was before is lost, for limits that ask.
    epoch_us: u64,
    /// The shard that is swept next.
    next_sweep: AtomicUsize,
    /// Some runtime of the process does the sweeping.
    is_kept_swept: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    buckets: HashMap<BucketKey, State, RandomState>,
    /// Buckets that are kept until then, even if they are full. Few: given back to soon after the start.
    held_until_us: HashMap<BucketKey, u64, RandomState>,
    sweep_at: usize,
    /// Not to be swept for being full before this instant.
    next_sweep_us: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// At most [`MOST_BUCKETS`].
    pub fn new() -> MemoryStore {
        MemoryStore::bounded(MOST_BUCKETS)
    }

    /// At most so many buckets, give or take those of one request in each of its shards.
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

    /// Takes all or none. Refused, and nothing is charged, where a new bucket is needed and there is no room.
    pub fn take(&self, takes: &[Take]) -> Result<Answer, Full> {
        let locked = self.lock(takes);
        // Read under the locks: whoever comes later sees a later time, so a sweep forgets nothing too early.
        decide(takes, self.clock.now_us(), locked)
    }

    /// As [`take`](Self::take), with the time as a parameter, which must not step back.
    pub fn take_at(&self, takes: &[Take], now_us: u64) -> Result<Answer, Full> {
        decide(takes, now_us, self.lock(takes))
    }

    /// If the bucket of this take is not there, it is from now on, and empty; not where there is no room.
    pub fn start_empty(&self, take: &Take, now_us: u64) {
        let mut locked = self.lock(std::slice::from_ref(take));
        locked.now_us = now_us;
        let is_there = locked.state(&take.key).is_some_and(|state| state.spent_us() > locked.now_us);
        if !is_there && locked.has_room_for(std::slice::from_ref(take)).is_ok() {
            locked.set_state(&take.key, take.demand.empty(locked.now_us));
        }
    }

    /// By the clock of its buckets.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Forgets what is full in the shard that was not looked at for longest.
    pub fn sweep_one(&self) {
        let number = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = unpoisoned(&self.shards[number]);
        let now_us = self.clock.now_us();
        shard.sweep(now_us);
    }

    /// Shards swept so far without being asked to by an insertion.
    #[cfg(test)]
    pub(crate) fn sweeps(&self) -> usize {
        self.next_sweep.load(Ordering::Relaxed)
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
        Locked { shards, now_us: 0, most_in_shard: self.most_in_shard, epoch_us: self.epoch_us }
    }
}

/// From now on one shard is swept every second, as long as the store lives, by the first runtime that calls this.
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

/// A thread that panicked while it held a shard left each bucket whole: a write is one assignment.
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

    /// Every bucket that these may fill is there, or may be added.
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
    /// Forgets what is full. Its cost is spread over the insertions that doubled the shard.
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
