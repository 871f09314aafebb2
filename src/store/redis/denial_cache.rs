//! The denial cache: what the store would deny now need not be asked.
//!
//! A take only ever empties a bucket, so one that was seen to leave no room still leaves none until enough time
//! has passed. A take is denied from memory if and only if it would fail the script's comparison at
//! the latest instant that the store's clock can show by now. So memory never denies what the store would
//! admit, and it never admits. What may fill a bucket elsewhere (a refund or reset through another replica, a
//! store that lost its data or whose clock stepped forward) stays unseen for a second at most: no entry serves longer.
//! What was learnt under one limit says nothing to whoever asks for the same bucket under other numbers.

mod room;

use std::{cmp::Ordering, collections::HashMap};

use foldhash::fast::RandomState;

use room::Room;
use tollgate_core::{
    decision::{self, Answer, Buckets, Demand, Kind, Source, State, Take, Verdict},
    descriptor::BucketKey,
};

/// No entry serves longer than this after its take was sent.
pub const SERVES_US: u64 = 1_000_000;
/// Entries of one generation; there are two.
const MOST: usize = 32_768;

/// One runtime's denial cache.
#[derive(Debug, Default)]
pub struct DenialCache {
    /// What was learnt lately, and what was learnt before: when the first is full or a second old it becomes
    /// the second, so that nothing has to be searched for what is old.
    current: HashMap<BucketKey, Known, RandomState>,
    previous: HashMap<BucketKey, Known, RandomState>,
    turned_us: u64,
}

/// A bucket as an answer of the store showed it, after whatever that answer charged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    shown: Shown,
    /// The store's clock at that answer.
    told_us: u64,
    /// The local clock before the take left and after its answer came.
    sent_us: u64,
    arrived_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    NoRoom(Room),
    /// Room for the same take again, so nothing is denied by what was learnt before.
    HasRoom,
    /// Something was given back, so whatever was learnt before `told_us` is void.
    GivenBack,
}

/// When an answer was asked for and when it came, by the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    pub sent_us: u64,
    pub arrived_us: u64,
}

// === impl Known ===

impl Known {
    /// The latest that the store's clock can show by now: counted from before the take left, with room for
    /// clocks that run apart by one in a thousand. Clocks show whole microseconds, so up to one more has passed.
    fn latest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.sent_us).saturating_add(1);
        self.told_us.saturating_add(passed).saturating_add(passed.div_ceil(1_000))
    }

    /// The earliest: counted from after the answer came, with the same room. Waits told to clients go by it, so
    /// none is too short.
    fn earliest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.arrived_us).saturating_sub(1);
        self.told_us.saturating_add(passed - passed.div_ceil(1_000))
    }
}

impl Known {
    fn room(&self) -> Option<&Room> {
        match &self.shown {
            Shown::NoRoom(room) => Some(room),
            Shown::HasRoom | Shown::GivenBack => None,
        }
    }

    fn is_served_at(&self, local_us: u64) -> bool {
        local_us.saturating_sub(self.sent_us) < SERVES_US
    }

    /// Whether what the other one shows came after this. An older answer never lowers what a newer one has shown.
    fn gives_way_to(&self, other: &Known) -> bool {
        // It left after this one had arrived, so it came later whatever the store's clock shows, which may have
        // stepped back. What no longer serves was so asked for again.
        if other.sent_us > self.arrived_us {
            return true;
        }
        match (self.told_us.cmp(&other.told_us), &self.shown, &other.shown) {
            (Ordering::Less, ..) => true,
            (Ordering::Greater, ..) | (_, Shown::GivenBack, _) => false,
            // Of one instant the fuller one counts.
            (_, Shown::NoRoom(old), Shown::NoRoom(new)) => new.lasts_longer_than(old),
            // All requests of a batch are told one instant, and learnt from in their order.
            (Ordering::Equal, ..) => true,
        }
    }

    /// None: a take like this has to be asked of the store.
    fn room_for(&self, demand: &Demand) -> Option<&Room> {
        let room = self.room().filter(|room| room.is_known_for(demand))?;
        (demand.kind != Kind::GiveBack && !demand.meters()).then_some(room)
    }
}

// === impl Memo ===

impl DenialCache {
    /// The denial that the store would answer now; none if it might admit, or has to be asked for another
    /// reason: something is given back or charged though it is denied, one of the buckets is not known, or one of
    /// the takes would fit. Of a bucket with room others may have taken since, and what is left of it is told.
    pub fn denial(&self, takes: &[Take], local_us: u64) -> Option<Answer> {
        if self.current.is_empty() && self.previous.is_empty() {
            return None;
        }
        let (mut latest_us, mut earliest_us, mut ends_us) = (0, 0, u64::MAX);
        for take in takes {
            let known = self.known(&take.key).filter(|known| known.is_served_at(local_us))?;
            ends_us = known.room_for(&take.demand)?.ends_us().min(ends_us);
            latest_us = known.latest_us(local_us).max(latest_us);
            earliest_us = known.earliest_us(local_us).max(earliest_us);
        }
        if latest_us >= ends_us {
            return None;
        }
        let mut view = View { cache: self, changed: Vec::new() };
        let answer = decision::decide(takes, latest_us, &mut view);
        let fits_nowhere = answer.found.iter().all(|found| !found.fits);
        (answer.verdict == Verdict::Deny && fits_nowhere).then_some(Answer {
            now_us: earliest_us.min(latest_us),
            source: Source::Cache,
            ..answer
        })
    }

    /// Whether this bucket was seen without room, and not so long ago that it may have changed unseen.
    pub fn knows(&self, key: &BucketKey, local_us: u64) -> bool {
        self.known(key).is_some_and(|known| known.room().is_some() && known.is_served_at(local_us))
    }

    /// Learns from the store's answer to a request which of its buckets have no room for the same take again, and
    /// which of those that had none have some now.
    pub fn learn(&mut self, takes: &[Take], answer: &Answer, trip: Trip) {
        for (index, (take, found)) in takes.iter().zip(&answer.found).enumerate() {
            let is_charged = take.is_charged(found, answer.verdict);
            let shown = match take.demand.kind {
                Kind::GiveBack if is_charged => Shown::GivenBack,
                Kind::GiveBack => Shown::HasRoom,
                _ => Room::after(&take.demand, found, is_charged, answer.now_us)
                    .map_or(Shown::HasRoom, Shown::NoRoom),
            };
            // Room is worth remembering only where something else would be believed.
            if shown == Shown::HasRoom && self.known(&take.key).is_none_or(|known| known.room().is_none()) {
                continue;
            }
            // Of a bucket that stands twice: on a denied request nothing was charged, so the first take found what
            // is there now; else the last one did.
            let others = if answer.verdict == Verdict::Deny { &takes[..index] } else { &takes[index + 1..] };
            if others.iter().any(|other| other.key == take.key) {
                continue;
            }
            let Trip { sent_us, arrived_us } = trip;
            self.insert(take.key, Known { shown, told_us: answer.now_us, sent_us, arrived_us });
        }
    }

    /// Something was given back to this bucket at `told_us` of the store's clock, through another runtime of this
    /// process, whose local clock it shares.
    pub fn void(&mut self, key: BucketKey, told_us: u64, trip: Trip) {
        let Trip { sent_us, arrived_us } = trip;
        self.insert(key, Known { shown: Shown::GivenBack, told_us, sent_us, arrived_us });
    }

    fn known(&self, key: &BucketKey) -> Option<&Known> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    fn insert(&mut self, key: BucketKey, known: Known) {
        if self.known(&key).is_some_and(|old| !old.gives_way_to(&known)) {
            return;
        }
        let is_old = known.arrived_us.saturating_sub(self.turned_us) >= SERVES_US;
        if is_old || self.current.len() >= MOST {
            self.previous = std::mem::take(&mut self.current);
            self.turned_us = known.arrived_us;
        }
        self.current.insert(key, known);
    }
}

// === View ===

/// The buckets as the denial cache knows them, and what a request that is being tried changed.
struct View<'a> {
    cache: &'a DenialCache,
    changed: Vec<(BucketKey, Option<State>)>,
}

impl Buckets for View<'_> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        let changed = self.changed.iter().rev().find(|(changed, _)| changed == key);
        let known = || Some(self.cache.known(key)?.room()?.state().clone());
        changed.map_or_else(known, |(_, state)| state.clone())
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.changed.push((*key, state));
    }
}

#[cfg(test)]
mod tests;
