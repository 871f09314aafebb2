//! Decides: takes in, answer out. There is no clock, no lock and no await.
//!
//! [`decide`] is what one request does to its buckets. The script in `lua/` does the same in Redis, with the same
//! names, and a test proves that both answer alike.

mod demand;
pub mod fixed_window;
pub mod lease;
pub mod sliding_log;
pub mod token_bucket;

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::{
    descriptor::BucketKey,
    limit::{AfterStoreLoss, Exact, Kept},
};
use demand::Step;
pub use demand::{Count, Demand, Enforcement, Kind, Measure, Tokens, verdict};
use fixed_window::Window;
use lease::Leased;
pub use lease::{Granted, LeaseCall, lease};
use sliding_log::Log;

/// The answer for one bucket, or for all of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The take fits, or the request passes.
    Allow,
    /// The take does not fit, or the request is refused.
    Deny,
}

/// What made a store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerSource {
    /// The store itself.
    Store,
    /// The denial cache, which knows that the store would deny; so it is always a denial.
    Cache,
    /// A lease: hits that the store has reserved for this runtime.
    Lease,
}

/// What a request asks of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// The bucket. It may occur several times in one request.
    pub key: BucketKey,
    /// How much is asked of it, and by which limit.
    pub demand: Demand,
}

/// The takes of one request, which is a single one for most requests.
pub type Takes = SmallVec<[Take; 1]>;

/// What a bucket remembers. A missing bucket is full, or was used up when its store began ([`AfterStoreLoss`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The instant at which the bucket would be full again.
    TokenBucket(Kept),
    /// The window that is counted at the moment.
    FixedWindow(Window),
    /// The hits that count. They are boxed, since logs are rare and would make the other states larger.
    SlidingLog(Box<Log>),
    /// A token bucket or a window in which hits are reserved.
    Leased(Box<Leased>),
}

/// What one take found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whether the bucket has room for the take.
    pub fits: bool,
    /// The bucket before this take, after earlier takes of the same request. On a denied request, a take that is
    /// charged all the same saw the bucket that it charged.
    pub seen: Seen,
    /// Whether a part of what is seen as spent is only reserved, and may come back at any time.
    pub is_reserved: bool,
}

/// A bucket as a take saw it: what its figures are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A token bucket.
    TokenBucket {
        /// When it would be full again, in fractions of the take's own rate. For a full bucket, any instant up to now.
        full_at: Exact,
    },
    /// The window at the time of the take.
    FixedWindow(Window),
    /// A log of hits.
    SlidingLog {
        /// The number of hits that count at the moment.
        held: u32,
        /// When the oldest of them leaves, in microseconds; 0 if there is none.
        oldest_us: u64,
        /// When the take would fit, in microseconds; 0 if it fits. If it never fits, when the log will be empty.
        fits_at_us: u64,
    },
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The store's clock, in microseconds since the Unix epoch.
    pub now_us: u64,
    /// The verdict on the request.
    pub verdict: Verdict,
    /// What each take found, in their order.
    pub found: SmallVec<[Found; 1]>,
    /// The number of buckets whose stored value made no sense, so that they counted as missing.
    pub malformed: u32,
    /// What made the answer.
    pub source: AnswerSource,
}

/// Where [`decide`] reads and writes buckets.
pub trait Buckets {
    /// What is stored for this bucket; none if it is missing.
    fn state(&self, key: &BucketKey) -> Option<State>;

    /// Stores the state of this bucket, or removes it.
    fn set_state(&mut self, key: &BucketKey, state: Option<State>);

    /// When these buckets began to be kept, in microseconds of their clock. What was before is lost. By default it is
    /// long ago.
    fn epoch_us(&mut self, _now_us: u64) -> u64 {
        0
    }

    /// Keeps this bucket, which was just set, until that instant, though it is full sooner: if it went missing, it
    /// would count as used up. Only stores that forget full buckets need this.
    fn hold(&mut self, _key: &BucketKey, _until_us: u64) {}
}

/// A plain table, for tests and for buckets without a store.
impl Buckets for HashMap<BucketKey, State> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.get(key).cloned()
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        match state {
            Some(state) => self.insert(*key, state),
            None => self.remove(key),
        };
    }
}

/// Takes all or none, by the [`verdict`]. On Allow, each take that fits is charged. On Deny, every bucket stays as it
/// was, except those of [`Overdraft::Charge`](crate::limit::Overdraft::Charge), which are charged in any case.
///
/// A bucket that occurs twice is charged twice: the second take sees what the first one left.
///
/// ```
/// use std::collections::HashMap;
/// use tollgate_core::{decision::*, descriptor::*, limit::*};
///
/// let limit = Limit::new(10, Unit::Second, Some(2))?;
/// let take = Take { key: BucketKey::from_bytes([0; 16]), demand: Demand::new(Hits::Take(1), &limit) };
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
    let mut found: SmallVec<[Found; 1]> = SmallVec::with_capacity(takes.len());
    // The index of each take that changed its bucket, and the state before.
    let mut undo: SmallVec<[(usize, Option<State>); 2]> = SmallVec::new();
    for (index, take) in takes.iter().enumerate() {
        let before = buckets.state(&take.key);
        let step = step(&take.demand, before.as_ref(), now_us, buckets);
        found.push(Found { fits: step.fits, seen: step.seen, is_reserved: step.is_reserved });
        if let Some(after) = step.charged {
            put(&take.key, after, step.missed_until_us, buckets);
            undo.push((index, before));
        }
    }
    let verdict =
        verdict(takes.iter().zip(&found).map(|(take, found)| (take.demand.enforcement, found.fits)));
    if verdict == Verdict::Deny {
        // In reverse order, so that a bucket that occurs twice ends at what its first take found.
        for (index, before) in undo.into_iter().rev() {
            buckets.set_state(&takes[index].key, before);
        }
        charge_what_meters(takes, now_us, buckets, &mut found);
    }
    Answer { now_us, verdict, found, malformed: 0, source: AnswerSource::Store }
}

fn step(demand: &Demand, state: Option<&State>, now_us: u64, buckets: &mut impl Buckets) -> Step {
    match demand.after_store_loss {
        AfterStoreLoss::Full => demand.step(state, now_us),
        AfterStoreLoss::Empty => demand.step_since(buckets.epoch_us(now_us), state, now_us),
    }
}

fn charge_what_meters(takes: &[Take], now_us: u64, buckets: &mut impl Buckets, found: &mut [Found]) {
    for (take, found) in takes.iter().zip(found).filter(|(take, _)| take.demand.meters()) {
        let before = buckets.state(&take.key);
        let step = step(&take.demand, before.as_ref(), now_us, buckets);
        found.seen = step.seen;
        if let Some(after) = step.charged {
            put(&take.key, after, step.missed_until_us, buckets);
        }
    }
}

fn put(key: &BucketKey, state: Option<State>, missed_until_us: u64, buckets: &mut impl Buckets) {
    let is_full_sooner = state.as_ref().is_some_and(|state| state.spent_us() < missed_until_us);
    buckets.set_state(key, state);
    if is_full_sooner {
        buckets.hold(key, missed_until_us);
    }
}

// === impl Take ===

impl Take {
    /// Whether its bucket was charged, given the verdict on its request.
    pub fn is_charged(&self, found: &Found, verdict: Verdict) -> bool {
        !self.demand.changes_nothing() && (self.demand.meters() || (found.fits && verdict == Verdict::Allow))
    }
}

// === impl State ===

impl State {
    /// When a token bucket would be full again, in fractions of a rate of `per_us` (R). For a missing bucket it is an
    /// instant in the distant past.
    pub fn full_at(state: Option<&State>, per_us: u32) -> Exact {
        match state {
            Some(State::TokenBucket(full_at)) => full_at.under(per_us),
            Some(State::Leased(leased)) => leased.full_at(per_us),
            _ => Exact::default(),
        }
    }

    /// How many hits of the bucket leases hold at this instant, under the limit of this demand for one. These count as spent
    /// though they may come back.
    pub fn reserved(&self, one: &Demand, now_us: u64) -> u64 {
        lease::reserved_hits(one, self, now_us)
    }

    /// The instant, in microseconds, from which on the bucket is the same as a missing one.
    pub fn spent_us(&self) -> u64 {
        match self {
            State::TokenBucket(full_at) => full_at.ceil_us(),
            State::FixedWindow(window) => window.ends_us,
            State::SlidingLog(log) => log.empty_us(),
            State::Leased(leased) => leased.spent_us(),
        }
    }
}

// === impl Found ===

impl Found {
    /// When a token bucket would be full again; for the other algorithms, an instant in the distant past.
    pub fn full_at(&self) -> Exact {
        match self.seen {
            Seen::TokenBucket { full_at } => full_at,
            Seen::FixedWindow(_) | Seen::SlidingLog { .. } => Exact::default(),
        }
    }
}

#[cfg(test)]
mod tests;
