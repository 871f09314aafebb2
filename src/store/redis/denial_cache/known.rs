//! What is known of each bucket, and for how long it is kept.

use std::{cmp::Ordering, collections::HashMap};

use foldhash::fast::RandomState;

use super::{RECALLS_US, SERVES_US, Trip, room::Room};
use tollgate_core::{decision::Demand, descriptor::BucketKey};

/// A bucket as an answer from Redis showed it, after what that answer charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) shown: Shown,
    /// Whether that answer changed the bucket, so that what other answers of its batch have shown before is older.
    is_charged: bool,
    /// Redis' clock at that answer.
    told_us: u64,
    /// The local clock before the take was sent and after its answer had arrived.
    pub(super) sent_us: u64,
    pub(super) arrived_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    NoRoom(Room),
    /// Room for the same take again, so that what was learnt before denies nothing.
    HasRoom,
    /// Something was given back, so everything learnt before `told_us` is void.
    GivenBack,
}

/// The newest entry of each bucket, in bounded memory.
#[derive(Debug)]
pub(super) struct Entries {
    /// When the current generation is full or two seconds old it replaces the previous one, so that nothing has to be
    /// searched for old entries.
    pub(super) current: HashMap<BucketKey, Known, RandomState>,
    pub(super) previous: HashMap<BucketKey, Known, RandomState>,
    turned_us: u64,
    /// The number of entries in one generation.
    most: usize,
}

// === impl Known ===

impl Known {
    pub(super) fn new(shown: Shown, is_charged: bool, told_us: u64, trip: Trip) -> Known {
        Known { shown, is_charged, told_us, sent_us: trip.sent_us, arrived_us: trip.arrived_us }
    }

    /// The latest instant that Redis' clock can show by now: counted from before the take was sent, with room for
    /// clocks that drift apart by one in a thousand. Clocks show whole microseconds, so up to one more has passed.
    pub(super) fn latest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.sent_us).saturating_add(1);
        self.told_us.saturating_add(passed).saturating_add(passed.div_ceil(1_000))
    }

    /// The earliest instant: counted from after the answer arrived, with the same room. Waits told to clients are
    /// computed from it, so none is too short.
    pub(super) fn earliest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.arrived_us).saturating_sub(1);
        self.told_us.saturating_add(passed - passed.div_ceil(1_000))
    }

    pub(super) fn room(&self) -> Option<&Room> {
        match &self.shown {
            Shown::NoRoom(room) => Some(room),
            Shown::HasRoom | Shown::GivenBack => None,
        }
    }

    pub(super) fn is_served_at(&self, local_us: u64) -> bool {
        local_us.saturating_sub(self.sent_us) < SERVES_US
    }

    /// Whether the other entry is newer. An older answer never lowers what a newer one has shown.
    pub(super) fn gives_way_to(&self, other: &Known) -> bool {
        // It was sent after this one had arrived, so it is newer whatever Redis' clock shows, which may have stepped
        // back. So an entry that no longer serves gives way, unless the thread stood still before it read that one.
        if other.sent_us > self.arrived_us {
            return true;
        }
        match (self.told_us.cmp(&other.told_us), &self.shown, &other.shown) {
            (Ordering::Less, ..) => true,
            (Ordering::Greater, ..) | (_, Shown::GivenBack, _) => false,
            // Of two entries of one instant, a change counts, or else the one that denies for longer. (A change may deny
            // for less: a missing bucket that counts as used up may be so for longer under other numbers.)
            (_, Shown::NoRoom(old), Shown::NoRoom(new)) => other.is_charged || new.lasts_longer_than(old),
            // All answers of a batch have one instant, and are learnt in their order.
            (Ordering::Equal, ..) => true,
        }
    }

    /// None if Redis must be asked about a take like this.
    pub(super) fn room_for(&self, demand: &Demand) -> Option<&Room> {
        let room = self.room().filter(|room| room.is_known_for(demand))?;
        may_be_denied(demand).then_some(room)
    }
}

// === impl Entries ===

impl Entries {
    pub(super) fn new(most: usize) -> Entries {
        Entries { current: HashMap::default(), previous: HashMap::default(), turned_us: 0, most }
    }

    pub(super) fn are_none(&self) -> bool {
        self.current.is_empty() && self.previous.is_empty()
    }

    pub(super) fn known(&self, key: &BucketKey) -> Option<&Known> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// Does nothing if what is known of the bucket is newer.
    pub(super) fn insert(&mut self, key: BucketKey, known: Known) {
        if self.known(&key).is_some_and(|old| !old.gives_way_to(&known)) {
            return;
        }
        let is_old = known.arrived_us.saturating_sub(self.turned_us) >= RECALLS_US;
        if is_old || self.current.len() >= self.most {
            self.turn();
            self.turned_us = known.arrived_us;
        }
        self.current.insert(key, known);
    }

    /// The current generation becomes the previous one. The table of the one before is used again: tables that grow from
    /// nothing in each generation would leave holes of their former sizes in the heap. One that a flood has left too
    /// large is given back.
    fn turn(&mut self) {
        std::mem::swap(&mut self.current, &mut self.previous);
        if self.current.capacity() / 8 > self.previous.len() {
            self.current = HashMap::default();
        } else {
            self.current.clear();
        }
    }
}

/// Whether memory may deny it: Redis must be told of hits that are given back, or are charged though they do not fit.
pub(super) fn may_be_denied(demand: &Demand) -> bool {
    !demand.kind.gives_back() && !demand.meters()
}
