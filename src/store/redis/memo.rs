//! The denial memo: what the store would deny now need not be asked.
//!
//! A take only ever raises a bucket's `full_at`, so one that was seen to leave no room still leaves none until
//! enough time has passed. A take is denied from memory if and only if it would fail the script's comparison at
//! the latest instant that the store's clock can show by now. So memory never denies what the store would
//! admit, and it never admits. What may lower `full_at` elsewhere (a refund or reset through another replica, a
//! store that lost its data) stays unseen for a second at most: no entry serves longer.

use std::collections::HashMap;

use crate::{
    decision::{self, Answer, Buckets, Source, Take, Verdict},
    descriptor::BucketKey,
    limit::Exact,
};

/// No entry serves longer than this after its take was sent.
pub const SERVES_US: u64 = 1_000_000;
/// Entries of one generation; there are two.
const MOST: usize = 32_768;

/// One runtime's memo.
#[derive(Debug, Default)]
pub struct Memo {
    /// What was learnt lately, and what was learnt before: when the first is full or a second old it becomes
    /// the second, so that nothing has to be searched for what is old.
    current: HashMap<BucketKey, Known>,
    previous: HashMap<BucketKey, Known>,
    turned_us: u64,
}

/// A bucket as an answer of the store showed it, after whatever that answer charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// None: something was given back, so whatever was learnt before `told_us` is void.
    full_at: Option<Exact>,
    /// The store's clock at that answer.
    told_us: u64,
    /// The local clock before the take left and after its answer came.
    sent_us: u64,
    arrived_us: u64,
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

// === impl Memo ===

impl Memo {
    /// The denial that the store would answer now; none if it might admit, or has to be asked for another
    /// reason: something is given back, or one of the buckets is not known.
    pub fn denial(&self, takes: &[Take], local_us: u64) -> Option<Answer> {
        if self.current.is_empty() && self.previous.is_empty() {
            return None;
        }
        let (mut latest_us, mut earliest_us) = (0, 0);
        for take in takes {
            let known = self.known(&take.key).filter(|_| take.ask.kind != decision::Kind::GiveBack)?;
            if local_us.saturating_sub(known.sent_us) >= SERVES_US {
                return None;
            }
            known.full_at?;
            latest_us = known.latest_us(local_us).max(latest_us);
            earliest_us = known.earliest_us(local_us).max(earliest_us);
        }
        let mut view = View { memo: self, changed: Vec::new() };
        let answer = decision::decide(takes, latest_us, &mut view);
        (answer.verdict == Verdict::Deny).then_some(Answer {
            now_us: earliest_us.min(latest_us),
            source: Source::Memo,
            ..answer
        })
    }

    /// Whether this bucket was lately seen without room.
    pub fn knows(&self, key: &BucketKey) -> bool {
        self.known(key).is_some_and(|known| known.full_at.is_some())
    }

    /// Learns from the store's answer to a request which of its buckets have no room for the same take again.
    pub fn learn(&mut self, takes: &[Take], answer: &Answer, trip: Trip) {
        for (index, (take, found)) in takes.iter().zip(&answer.found).enumerate() {
            let stands_again = || takes[..index].iter().any(|earlier| earlier.key == take.key);
            // On a denied request nothing was charged: the first take of a bucket found what is there now.
            let full_at = match answer.verdict {
                Verdict::Deny if stands_again() => continue,
                Verdict::Deny => found.full_at,
                Verdict::Allow => take.ask.of(found.full_at, answer.now_us).unwrap_or(found.full_at),
            };
            let full_at = match take.ask.kind {
                decision::Kind::GiveBack if answer.verdict == Verdict::Allow => None,
                _ if take.ask.of(full_at, answer.now_us).is_some() => continue,
                _ => Some(full_at),
            };
            let Trip { sent_us, arrived_us } = trip;
            self.insert(take.key, Known { full_at, told_us: answer.now_us, sent_us, arrived_us });
        }
    }

    /// Something was given back to this bucket at `told_us` of the store's clock, through another runtime.
    pub fn void(&mut self, key: BucketKey, told_us: u64, trip: Trip) {
        let Trip { sent_us, arrived_us } = trip;
        self.insert(key, Known { full_at: None, told_us, sent_us, arrived_us });
    }

    fn known(&self, key: &BucketKey) -> Option<&Known> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }

    /// An older answer never lowers what a newer one has shown, and of the same instant the fuller one counts.
    fn insert(&mut self, key: BucketKey, known: Known) {
        let is_news = |old: &Known| match old.told_us.cmp(&known.told_us) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => {
                old.full_at.is_some_and(|old| known.full_at.is_none_or(|new| new > old))
            }
            std::cmp::Ordering::Greater => false,
        };
        if !self.known(&key).is_none_or(is_news) {
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

/// The buckets as the memo knows them, and what a request that is being tried changed.
struct View<'a> {
    memo: &'a Memo,
    changed: Vec<(BucketKey, Exact)>,
}

impl Buckets for View<'_> {
    fn full_at(&self, key: &BucketKey) -> Exact {
        let changed = self.changed.iter().rev().find(|(changed, _)| changed == key);
        let known = || self.memo.known(key).and_then(|known| known.full_at).unwrap_or_default();
        changed.map_or_else(known, |(_, full_at)| *full_at)
    }

    fn set_full_at(&mut self, key: &BucketKey, full_at: Exact) {
        self.changed.push((*key, full_at));
    }
}

#[cfg(test)]
mod tests;
