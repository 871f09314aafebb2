//! The pure core: takes in, answer out. No clock, no lock, no await.
//!
//! [`decide`] is what one request does to its buckets; `lua/token_bucket.lua` does the same in Redis, in
//! the same words, and a test holds that both answer alike.

pub mod token_bucket;

use std::collections::HashMap;

use crate::{descriptor::BucketKey, limit::Exact};
pub use token_bucket::{Ask, Kind};

/// The answer for one bucket, or for all of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Who made a decision: the store, memory on its behalf, or a guess because the store had no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Store,
    /// Memory, which knows what the store would say; only ever a denial.
    Memo,
    /// A guess that lets the request pass.
    Allow,
    /// A guess that denies it.
    Deny,
    /// No decision: the caller gets UNAVAILABLE.
    Error,
}

/// One bucket that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    pub key: BucketKey,
    pub ask: Ask,
}

/// What one take found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The bucket's state before this take; what earlier takes of the same request did to it is seen.
    pub full_at: Exact,
    pub fits: bool,
}

/// The answer to one request: its verdict, and what each take found, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The store's clock, in microseconds since the Unix epoch.
    pub now_us: u64,
    pub verdict: Verdict,
    pub found: Vec<Found>,
    /// Buckets whose stored value made no sense and counted as missing.
    pub malformed: u32,
    /// [`Source::Store`] or [`Source::Memo`].
    pub source: Source,
}

/// Where [`decide`] reads and writes buckets.
pub trait Buckets {
    /// The instant at which the bucket is full; any instant up to now for one that is.
    fn full_at(&self, key: &BucketKey) -> Exact;
    fn set_full_at(&mut self, key: &BucketKey, full_at: Exact);
}

/// A plain table: for tests, and for whoever keeps buckets without a store.
impl Buckets for HashMap<BucketKey, Exact> {
    fn full_at(&self, key: &BucketKey) -> Exact {
        self.get(key).copied().unwrap_or_default()
    }

    fn set_full_at(&mut self, key: &BucketKey, full_at: Exact) {
        self.insert(*key, full_at);
    }
}

/// Takes all or none: if one take does not fit, every bucket is as it was.
///
/// A bucket that stands twice is charged twice, so the second take sees what the first one left.
///
/// ```
/// use std::collections::HashMap;
/// use tollgate::{decision::*, descriptor::*, limit::*};
///
/// let limit = Limit::new(10, Unit::Second, Some(2))?;
/// let take = Take { key: BucketKey::from_bytes([0; 16]), ask: Ask::new(Hits::Take(1), &limit) };
/// let mut table = HashMap::new();
/// let mut verdict = |now_us| decide(&[take], now_us, &mut table).verdict;
///
/// let noon_us = 1_800_000_000_000_000;
/// assert_eq!([noon_us; 3].map(&mut verdict), [Verdict::Allow, Verdict::Allow, Verdict::Deny]);
/// assert_eq!(verdict(noon_us + 99_999), Verdict::Deny);
/// assert_eq!(verdict(noon_us + 100_000), Verdict::Allow, "a tenth of a second brings one token");
/// # Ok::<(), LimitError>(())
/// ```
pub fn decide(takes: &[Take], now_us: u64, buckets: &mut impl Buckets) -> Answer {
    let mut found = Vec::with_capacity(takes.len());
    let mut verdict = Verdict::Allow;
    for take in takes {
        let full_at = buckets.full_at(&take.key);
        let after = take.ask.of(full_at, now_us);
        if let Some(after) = after {
            buckets.set_full_at(&take.key, after);
        } else {
            verdict = Verdict::Deny;
        }
        found.push(Found { full_at, fits: after.is_some() });
    }
    if verdict == Verdict::Deny {
        // In reverse, so that a bucket that stands twice ends at what its first take found.
        for (take, found) in takes.iter().zip(&found).rev().filter(|(_, found)| found.fits) {
            buckets.set_full_at(&take.key, found.full_at);
        }
    }
    Answer { now_us, verdict, found, malformed: 0, source: Source::Store }
}

#[cfg(test)]
mod tests;
