//! The denial cache: Tollgate denies a take from memory while Redis would still deny it.
//!
//! A take only ever empties a bucket, so a bucket that was seen without room has none until enough time has passed. A
//! request is denied from memory only if each of its buckets was seen without room within the last second, under the
//! same numbers, and if each of its takes would fail even at the latest instant that Redis' clock can show by now. So
//! memory never denies what Redis would admit, and it never admits. Refunds and resets made through another replica,
//! lost data and forward steps of Redis' clock are noticed within one second, since no entry serves longer.

mod refunds;
mod room;

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

pub use refunds::Refunds;
use refunds::{Exchange, Refund};
use room::Room;
use tollgate_core::{
    decision::{self, Answer, AnswerSource, Buckets, Demand, Kind, State, Take, Verdict},
    descriptor::BucketKey,
};

/// No entry serves longer than this after its take was sent.
pub const SERVES_US: u64 = 1_000_000;
/// For how long it is recalled that a bucket was without room: a request over several masters then asks for it first.
pub const RECALLS_US: u64 = 2_000_000;
/// The number of entries in one generation; there are two.
const MOST: usize = 32_768;

/// One runtime's denial cache. Only that runtime's thread uses it; other runtimes reach it through [`Refunds`].
#[derive(Debug, Default)]
pub struct DenialCache {
    /// When the current generation is full or two seconds old it replaces the previous one, so that nothing has to be
    /// searched for old entries.
    current: HashMap<BucketKey, Known, RandomState>,
    previous: HashMap<BucketKey, Known, RandomState>,
    turned_us: u64,
    mode: Mode,
}

#[derive(Debug, Default)]
enum Mode {
    /// Learns nothing, and so denies nothing.
    Off,
    /// No other runtime gives anything back.
    #[default]
    Alone,
    Shared(Exchange),
}

/// A bucket as an answer from Redis showed it, after what that answer charged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    shown: Shown,
    /// Whether that answer changed the bucket, so that what other answers of its batch have shown before is older.
    is_charged: bool,
    /// Redis' clock at that answer.
    told_us: u64,
    /// The local clock before the take was sent and after its answer had arrived.
    sent_us: u64,
    arrived_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    NoRoom(Room),
    /// Room for the same take again, so that what was learnt before denies nothing.
    HasRoom,
    /// Something was given back, so everything learnt before `told_us` is void.
    GivenBack,
}

/// When a batch was sent and when its answer arrived, by the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// Before the batch was written to the socket.
    pub sent_us: u64,
    /// After its answer was read.
    pub arrived_us: u64,
}

// === impl Known ===

impl Known {
    fn new(shown: Shown, is_charged: bool, told_us: u64, trip: Trip) -> Known {
        Known { shown, is_charged, told_us, sent_us: trip.sent_us, arrived_us: trip.arrived_us }
    }

    /// The latest instant that Redis' clock can show by now: counted from before the take was sent, with room for
    /// clocks that drift apart by one in a thousand. Clocks show whole microseconds, so up to one more has passed.
    fn latest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.sent_us).saturating_add(1);
        self.told_us.saturating_add(passed).saturating_add(passed.div_ceil(1_000))
    }

    /// The earliest instant: counted from after the answer arrived, with the same room. Waits told to clients are
    /// computed from it, so none is too short.
    fn earliest_us(&self, local_us: u64) -> u64 {
        let passed = local_us.saturating_sub(self.arrived_us).saturating_sub(1);
        self.told_us.saturating_add(passed - passed.div_ceil(1_000))
    }

    fn room(&self) -> Option<&Room> {
        match &self.shown {
            Shown::NoRoom(room) => Some(room),
            Shown::HasRoom | Shown::GivenBack => None,
        }
    }

    fn is_served_at(&self, local_us: u64) -> bool {
        local_us.saturating_sub(self.sent_us) < SERVES_US
    }

    /// Whether the other entry is newer. An older answer never lowers what a newer one has shown.
    fn gives_way_to(&self, other: &Known) -> bool {
        // It was sent after this one had arrived, so it is newer whatever Redis' clock shows, which may have stepped
        // back. So an entry that no longer serves always gives way.
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
    fn room_for(&self, demand: &Demand) -> Option<&Room> {
        let room = self.room().filter(|room| room.is_known_for(demand))?;
        (!demand.kind.gives_back() && !demand.meters()).then_some(room)
    }
}

// === impl DenialCache ===

impl DenialCache {
    /// A cache that learns nothing, for a Tollgate that asks Redis about every take.
    pub fn off() -> DenialCache {
        DenialCache { mode: Mode::Off, ..DenialCache::default() }
    }

    /// The cache of one of several runtimes: what any of them gives back, none goes on denying.
    pub fn sharing(refunds: &Arc<Refunds>) -> DenialCache {
        DenialCache { mode: Mode::Shared(Exchange::join(refunds)), ..DenialCache::default() }
    }

    /// The denial that Redis would answer now. None if Redis might admit, or must be asked for another reason: the
    /// request gives something back, or is charged although it is denied; one of its buckets is not known; or one of
    /// its takes would fit. (Others may have taken from a bucket with room since, and the answer tells what is left.)
    pub fn denial(&mut self, takes: &[Take], local_us: u64) -> Option<Answer> {
        self.receive_refunds();
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
            source: AnswerSource::Cache,
            ..answer
        })
    }

    /// Whether this bucket was seen without room, by an entry that still serves.
    pub fn knows(&mut self, key: &BucketKey, local_us: u64) -> bool {
        self.receive_refunds();
        self.known(key).is_some_and(|known| known.room().is_some() && known.is_served_at(local_us))
    }

    /// Whether this bucket was last seen without room, and lately, though it may have some again.
    pub fn was_without_room(&mut self, key: &BucketKey, local_us: u64) -> bool {
        self.receive_refunds();
        let is_lately = |known: &Known| local_us.saturating_sub(known.sent_us) < RECALLS_US;
        self.known(key).is_some_and(|known| known.room().is_some() && is_lately(known))
    }

    /// Learns from Redis' answer to a request which of its buckets have no room for the same take again, which of
    /// those that had none have some now, and what was given back. The latter is told to the other runtimes.
    pub fn learn(&mut self, takes: &[Take], answer: &Answer, trip: Trip) {
        if let Mode::Off = self.mode {
            return;
        }
        self.receive_refunds();
        for (index, (take, found)) in takes.iter().zip(&answer.found).enumerate() {
            let is_charged = take.is_charged(found, answer.verdict);
            let shown = match take.demand.kind {
                Kind::GiveBack | Kind::Undo { .. } if is_charged => Shown::GivenBack,
                Kind::GiveBack | Kind::Undo { .. } => Shown::HasRoom,
                // What is reserved may come back at any time.
                Kind::Take | Kind::Peek if found.is_reserved => Shown::HasRoom,
                Kind::Take | Kind::Peek => Room::after(&take.demand, found, is_charged, answer.now_us)
                    .map_or(Shown::HasRoom, Shown::NoRoom),
            };
            // Room is worth remembering only where it replaces an entry that denies.
            if shown == Shown::HasRoom && self.known(&take.key).is_none_or(|known| known.room().is_none()) {
                continue;
            }
            // If the request names a bucket twice: on Deny nothing was charged, so its first take found what is there
            // now; on Allow its last one did.
            let others = if answer.verdict == Verdict::Deny { &takes[..index] } else { &takes[index + 1..] };
            if others.iter().any(|other| other.key == take.key) {
                continue;
            }
            self.insert(take.key, Known::new(shown, is_charged, answer.now_us, trip));
        }
        let given_back = takes
            .iter()
            .zip(&answer.found)
            .filter(|(take, found)| take.demand.kind.gives_back() && take.is_charged(found, answer.verdict));
        for (take, _) in given_back {
            let refund = Refund { key: take.key, told_us: answer.now_us, trip };
            self.void(refund);
            if let Mode::Shared(exchange) = &self.mode {
                exchange.tell(refund);
            }
        }
    }

    /// Reads what other runtimes gave back. Each method that answers begins with it, so that no answer is older than a
    /// refund that was told.
    pub fn receive_refunds(&mut self) {
        if let Mode::Shared(exchange) = &self.mode {
            exchange.receive().into_iter().for_each(|refund| self.void(refund));
        }
    }

    fn void(&mut self, refund: Refund) {
        self.insert(refund.key, Known::new(Shown::GivenBack, true, refund.told_us, refund.trip));
    }

    fn known(&self, key: &BucketKey) -> Option<&Known> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    fn insert(&mut self, key: BucketKey, known: Known) {
        if self.known(&key).is_some_and(|old| !old.gives_way_to(&known)) {
            return;
        }
        let is_old = known.arrived_us.saturating_sub(self.turned_us) >= RECALLS_US;
        if is_old || self.current.len() >= MOST {
            self.previous = std::mem::take(&mut self.current);
            self.turned_us = known.arrived_us;
        }
        self.current.insert(key, known);
    }
}

// === View ===

/// The buckets as the denial cache knows them, with the changes of the request that is being tried.
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
