//! The denial cache: Tollgate denies a take from memory while Redis would still deny it.
//!
//! A take only ever empties a bucket, so a bucket that was seen without room has none until enough time has passed. A
//! request is denied from memory only if each of its buckets was seen without room within the last second, under the
//! same numbers, and if each of its takes would fail even at the latest instant that Redis' clock can show by now. So
//! memory never denies what Redis would admit, and it never admits. Refunds and resets made through another replica,
//! lost data and forward steps of Redis' clock are noticed within one second, since no entry serves longer.

mod known;
mod refunds;
mod room;
mod shared;

use std::sync::Arc;

use tokio::sync::Notify;

use known::{Entries, Known, Shown};
use refunds::Refund;
use room::Room;
use shared::Member;
pub use shared::{Question, Shared, WAITS_US, when_answered};
use tollgate_core::{
    decision::{self, Answer, AnswerSource, Buckets, Kind, State, Take, Verdict},
    descriptor::BucketKey,
};

/// No entry serves longer than this after its take was sent.
pub const SERVES_US: u64 = 1_000_000;
/// For how long it is recalled that a bucket was without room: a request over several masters then asks for it first.
pub const RECALLS_US: u64 = 2_000_000;
/// The number of entries in one generation; there are two. A hash table with 32,768 places is full then: one more entry would
/// double it.
const MOST: usize = 28_672;

/// One runtime's denial cache. Only that runtime's thread uses it; what other runtimes learn comes through [`Shared`].
#[derive(Debug)]
pub struct DenialCache {
    entries: Entries,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Learns nothing, and so denies nothing.
    Off,
    /// There is no other runtime.
    Alone,
    OneOf(Member),
}

/// Why memory cannot answer.
enum Unknown {
    /// Of some bucket nothing is known that could deny the take.
    Never,
    /// What is known of all buckets denies no longer. Another runtime may know more.
    RanOut,
}

/// When a batch was sent and when its answer arrived, by the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// Before the batch was written to the socket.
    pub sent_us: u64,
    /// After its answer was read.
    pub arrived_us: u64,
}

// === impl DenialCache ===

impl Default for DenialCache {
    fn default() -> DenialCache {
        DenialCache::of(Mode::Alone)
    }
}

impl DenialCache {
    fn of(mode: Mode) -> DenialCache {
        DenialCache { entries: Entries::new(MOST), mode }
    }

    /// A cache that learns nothing, for a Tollgate that asks Redis about every take.
    pub fn off() -> DenialCache {
        DenialCache::of(Mode::Off)
    }

    /// The cache of one of several runtimes of a process.
    pub fn sharing(shared: &Shared) -> DenialCache {
        DenialCache::of(Mode::OneOf(Member::join(shared)))
    }

    /// The denial that Redis would answer now. None if Redis might admit, or must be asked for another reason: the
    /// request gives something back, or is charged although it is denied; one of its buckets is not known; or one of
    /// its takes would fit. (Others may have taken from a bucket with room since, and the answer tells what is left.)
    pub fn denial(&mut self, takes: &[Take], local_us: u64) -> Option<Answer> {
        self.receive_refunds();
        if self.entries.are_none() {
            return None;
        }
        match self.own_denial(takes, local_us) {
            Err(Unknown::RanOut) if self.catch_up(takes) => self.own_denial(takes, local_us).ok(),
            own => own.ok(),
        }
    }

    fn own_denial(&self, takes: &[Take], local_us: u64) -> Result<Answer, Unknown> {
        let (mut latest_us, mut earliest_us, mut ends_us) = (0, 0, u64::MAX);
        let mut is_served = true;
        for take in takes {
            let known = self.known(&take.key).ok_or(Unknown::Never)?;
            match known.room_for(&take.demand) {
                Some(room) => ends_us = room.ends_us().min(ends_us),
                // Other numbers may be known elsewhere.
                None if known.room().is_some() && known::may_be_denied(&take.demand) => is_served = false,
                None => return Err(Unknown::Never),
            }
            is_served &= known.is_served_at(local_us);
            latest_us = known.latest_us(local_us).max(latest_us);
            earliest_us = known.earliest_us(local_us).max(earliest_us);
        }
        if !is_served || latest_us >= ends_us {
            return Err(Unknown::RanOut);
        }
        let mut view = View { cache: self, changed: Vec::new() };
        let answer = decision::decide(takes, latest_us, &mut view);
        if answer.verdict != Verdict::Deny || answer.found.iter().any(|found| found.fits) {
            return Err(Unknown::RanOut);
        }
        Ok(Answer { now_us: earliest_us.min(latest_us), source: AnswerSource::Cache, ..answer })
    }

    /// Takes over what other runtimes have learnt since about these buckets. Returns whether there was anything.
    fn catch_up(&mut self, takes: &[Take]) -> bool {
        let Mode::OneOf(member) = &self.mode else { return false };
        let mut has_newer = false;
        for take in takes {
            let newer = self.entries.known(&take.key).and_then(|known| member.newer(&take.key, known));
            if let Some(newer) = newer {
                self.entries.insert(take.key, newer);
                has_newer = true;
            }
        }
        has_newer
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
            let known = Known::new(shown, is_charged, answer.now_us, trip);
            // Others have nothing to replace if this is the first that any runtime hears of the bucket. So a flood of
            // keys that are each asked for once costs no more than its answers.
            if let (Mode::OneOf(member), Some(_)) = (&self.mode, self.known(&take.key)) {
                member.tell(take.key, &known);
            }
            self.entries.insert(take.key, known);
        }
        let given_back = takes
            .iter()
            .zip(&answer.found)
            .filter(|(take, found)| take.demand.kind.gives_back() && take.is_charged(found, answer.verdict));
        for (take, _) in given_back {
            let refund = Refund { key: take.key, told_us: answer.now_us, trip };
            self.void(refund);
            if let Mode::OneOf(member) = &self.mode {
                member.tell_refund(refund);
            }
        }
    }

    /// Reads what other runtimes gave back. Each method that answers begins with it, so that no answer is older than a
    /// refund that was told.
    pub fn receive_refunds(&mut self) {
        if let Mode::OneOf(member) = &self.mode {
            member.refunds().into_iter().for_each(|refund| self.void(refund));
        }
    }

    fn void(&mut self, refund: Refund) {
        self.entries.insert(refund.key, refund.known());
    }

    // === questions ===

    /// This runtime is about to ask Redis for this bucket, unless another asks already: then this returns the question
    /// of the other, whose answer is about to be known and wakes this runtime. If it returns none, the runtime must
    /// [say](Self::has_asked) when its question is over.
    pub fn asks(&self, key: BucketKey, local_us: u64) -> Option<Question> {
        let Mode::OneOf(member) = &self.mode else { return None };
        member.asks(key, local_us)
    }

    /// What was answered is learnt, or there is no answer: wakes the runtimes that wait for it.
    pub fn has_asked(&self, keys: &[BucketKey]) {
        if let Mode::OneOf(member) = &self.mode {
            keys.iter().for_each(|key| member.has_asked(key));
        }
    }

    /// Is notified when another runtime has the answer that this one waits for. None if there is no other runtime.
    pub fn answered_elsewhere(&self) -> Option<Arc<Notify>> {
        match &self.mode {
            Mode::OneOf(member) => Some(Arc::clone(&member.waker)),
            Mode::Off | Mode::Alone => None,
        }
    }

    fn known(&self, key: &BucketKey) -> Option<&Known> {
        self.entries.known(key)
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
