//! The shards of the memory store, and what one request does to those that it has locked.

use std::{collections::HashMap, sync::MutexGuard};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use tollgate_core::{
    decision::{Buckets, State, Take},
    descriptor::BucketKey,
};

pub(super) const SHARDS: usize = 64;
/// A key has one of these places by its first bytes.
const PLACES: usize = 1_024;
/// The shard of each place.
const SHARD_OF_PLACE: [u8; PLACES] = shard_of_place();
/// A smaller shard is not worth sweeping.
pub(super) const SMALLEST_SWEEP: usize = 1_024;
/// A full shard is swept at most this often: in a flood of new keys, each key must not cost a sweep.
const SWEEP_AT_BOUND_EVERY_US: u64 = 5_000_000;

/// The request needs new buckets, and there is no room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The places in the request of the takes that find no room.
    pub takes: SmallVec<[usize; 4]>,
}

/// A key in 16 bytes, because with 20 each bucket would take 48 bytes in place of 40. The limit of a tagged key is mixed into
/// the digest: different limits of one descriptor stay different, and other keys meet no sooner than digests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u64, u64);

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) buckets: HashMap<Name, State, RandomState>,
    /// Buckets that are kept until this instant even if they are full. They are few: those that were given something
    /// back soon after the start.
    pub(super) held_until_us: HashMap<Name, u64, RandomState>,
    /// The most buckets.
    pub(super) most: usize,
    sweep_at: usize,
    /// A full shard is not swept before this instant.
    next_sweep_us: u64,
}

/// The shards that one request needs.
pub(super) struct Locked<'a> {
    pub(super) shards: SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>,
    pub(super) now_us: u64,
    pub(super) epoch_us: u64,
}

pub(super) fn shard_of(key: &BucketKey) -> usize {
    let digest = key.digest();
    let place = usize::from(u16::from_le_bytes([digest[0], digest[1]])) % PLACES;
    usize::from(SHARD_OF_PLACE[place])
}

/// Each shard has more places than the one before, and the last one has twice as many as the first. So shards do not all
/// double their tables at the same number of buckets, which would leave half of the memory empty then, and would copy
/// everything at once.
const fn shard_of_place() -> [u8; PLACES] {
    // The number of a place's shard plus 64 is the square root of what rises evenly from 64² to 128².
    let mut shards = [0; PLACES];
    let (mut place, mut shard) = (0, 0);
    while place < PLACES {
        let square = SHARDS * SHARDS + place * 3 * SHARDS * SHARDS / PLACES;
        while (shard as usize + SHARDS + 1) * (shard as usize + SHARDS + 1) <= square {
            shard += 1;
        }
        shards[place] = shard;
        place += 1;
    }
    shards
}

/// The part of so many buckets that this shard may have, rounded down; but at least one, unless there may be none.
pub(super) fn part_of(most_buckets: usize, shard: usize) -> usize {
    let places = SHARD_OF_PLACE.iter().filter(|of_place| usize::from(**of_place) == shard).count();
    (most_buckets.saturating_mul(places) / PLACES).max(most_buckets.min(1))
}

// === impl Name ===

impl Name {
    pub(super) fn of(key: &BucketKey) -> Name {
        let [a, b, c, d, e, f, g, h, last @ ..] = *key.digest();
        let limit = u64::from(key.tagged_limit().unwrap_or_default());
        Name(u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(last) ^ limit)
    }
}

// === impl Locked ===

impl Locked<'_> {
    fn position(&self, key: &BucketKey) -> usize {
        let number = shard_of(key);
        self.shards.iter().position(|(shard, _)| *shard == number).expect("the shard of each take is locked")
    }

    /// Whether each bucket that these takes may create exists or may be added.
    pub(super) fn has_room_for(&mut self, takes: &[Take]) -> Result<(), Full> {
        let (now_us, epoch_us) = (self.now_us, self.epoch_us);
        let finds_none = |take: &Take| {
            let position = self.position(&take.key);
            let shard = &mut *self.shards[position].1;
            if shard.buckets.len() < shard.most
                || shard.buckets.contains_key(&Name::of(&take.key))
                || !take.demand.may_begin_bucket(epoch_us, now_us)
            {
                return false;
            }
            if now_us >= shard.next_sweep_us {
                shard.sweep(now_us);
                shard.next_sweep_us = now_us.saturating_add(SWEEP_AT_BOUND_EVERY_US);
            }
            shard.buckets.len() >= shard.most
        };
        let places = takes.iter().map(finds_none).enumerate().filter(|(_, finds_none)| *finds_none);
        let takes: SmallVec<[usize; 4]> = places.map(|(place, _)| place).collect();
        if takes.is_empty() { Ok(()) } else { Err(Full { takes }) }
    }
}

impl Buckets for Locked<'_> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.shards[self.position(key)].1.buckets.get(&Name::of(key)).cloned()
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        let (now_us, position) = (self.now_us, self.position(key));
        let shard = &mut *self.shards[position].1;
        let Some(state) = state else {
            shard.buckets.remove(&Name::of(key));
            return;
        };
        if shard.buckets.len() >= shard.sweep_at {
            shard.sweep(now_us);
        }
        shard.buckets.insert(Name::of(key), state);
    }

    fn epoch_us(&mut self, _now_us: u64) -> u64 {
        self.epoch_us
    }

    fn hold(&mut self, key: &BucketKey, until_us: u64) {
        let (now_us, position) = (self.now_us, self.position(key));
        let shard = &mut *self.shards[position].1;
        let held_until_us = shard.held_until_us.entry(Name::of(key)).or_default();
        *held_until_us = until_us.max(*held_until_us);
        if shard.held_until_us.len() > shard.sweep_at {
            shard.sweep(now_us);
        }
    }
}

// === impl Shard ===

impl Shard {
    pub(super) fn new(most: usize) -> Shard {
        Shard {
            buckets: HashMap::default(),
            held_until_us: HashMap::default(),
            most,
            sweep_at: SMALLEST_SWEEP,
            next_sweep_us: 0,
        }
    }

    /// Forgets full buckets. The cost is spread over the insertions that doubled the shard.
    pub(super) fn sweep(&mut self, now_us: u64) {
        let Shard { buckets, held_until_us, .. } = self;
        held_until_us.retain(|key, until_us| *until_us > now_us && buckets.contains_key(key));
        buckets.retain(|key, state| state.spent_us() > now_us || held_until_us.contains_key(key));
        self.sweep_at = (self.buckets.len() * 2).max(SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at);
    }
}
