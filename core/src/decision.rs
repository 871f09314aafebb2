//! The pure core: takes in, answer out. No clock, no lock, no await.
//!
//! [`decide`] is what one request does to its buckets; the script in `lua/` does the same in Redis, in the
//! same words, and a test holds that both answer alike.

mod demand;
pub mod fixed_window;
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
use sliding_log::Log;

/// The answer for one bucket, or for all of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

/// What made a store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerSource {
    /// The store itself.
    Store,
    /// The denial cache, which knows that the store would deny; so it is always a denial.
    Cache,
}

/// One bucket that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    pub key: BucketKey,
    pub demand: Demand,
}

/// The takes of one request; most have one.
pub type Takes = SmallVec<[Take; 1]>;

/// What a bucket remembers. One that is missing remembers nothing: it is full, or was used up when its store began
/// ([`AfterStoreLoss`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// When it would be full again.
    TokenBucket(Kept),
    FixedWindow(Window),
    /// Apart, since it is rare and would make each of the others larger.
    SlidingLog(Box<Log>),
}

/// What one take found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub fits: bool,
    /// The bucket before this take; what earlier takes of the same request did to it is seen. On a denied
    /// request a member that is charged though denied found what it charged.
    pub seen: Seen,
}

/// A bucket as a take saw it, in as many words as its figures need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    TokenBucket {
        /// When it would be full again, as the take's own rate has it; any instant up to now for one that is.
        full_at: Exact,
    },
    FixedWindow(Window),
    SlidingLog {
        /// Hits that count at the moment.
        held: u32,
        /// When the oldest of them leaves; 0 if there is none.
        oldest_us: u64,
        /// When the take would fit; 0 if it does. For one that never fits, when the log will be empty.
        fits_at_us: u64,
    },
}

/// The answer to one request: its verdict, and what each take found, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The store's clock, in microseconds since the Unix epoch.
    pub now_us: u64,
    pub verdict: Verdict,
    pub found: SmallVec<[Found; 1]>,
    /// Buckets whose stored value made no sense and counted as missing.
    pub malformed: u32,
    /// What made the answer.
    pub source: AnswerSource,
}

/// Where [`decide`] reads and writes buckets.
pub trait Buckets {
    fn state(&self, key: &BucketKey) -> Option<State>;
    fn set_state(&mut self, key: &BucketKey, state: Option<State>);

    /// When these buckets began to be kept, in microseconds of their clock; what was before is lost. By default
    /// long ago.
    fn epoch_us(&mut self, _now_us: u64) -> u64 {
        0
    }

    /// This bucket, just set, must not go missing before that instant, though it is full sooner: it would count as
    /// used up. For those that forget what is full.
    fn hold(&mut self, _key: &BucketKey, _until_us: u64) {}
}

/// A plain table: for tests, and for whoever keeps buckets without a store.
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

/// Takes all or none. The verdict comes first: Deny if an enforced take does not fit, or if there are quota
/// takes and none of them fits. On Allow each take that fits is charged. On Deny every bucket is as it was,
/// except those of [`Overdraft::Charge`](crate::limit::Overdraft::Charge), which are charged either way.
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
    let mut found: SmallVec<[Found; 1]> = SmallVec::with_capacity(takes.len());
    // What the takes changed: whose bucket, and its state before.
    let mut undo: SmallVec<[(usize, Option<State>); 2]> = SmallVec::new();
    for (index, take) in takes.iter().enumerate() {
        let before = buckets.state(&take.key);
        let step = step(&take.demand, before.as_ref(), now_us, buckets);
        found.push(Found { fits: step.fits, seen: step.seen });
        if let Some(after) = step.charged {
            put(&take.key, after, step.missed_until_us, buckets);
            undo.push((index, before));
        }
    }
    let verdict =
        verdict(takes.iter().zip(&found).map(|(take, found)| (take.demand.enforcement, found.fits)));
    if verdict == Verdict::Deny {
        // In reverse, so that a bucket that stands twice ends at what its first take found.
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
    /// When a token bucket would be full again, as a rate of `per_us` (R) has it; an instant long past for one that
    /// is missing.
    pub fn full_at(state: Option<&State>, per_us: u32) -> Exact {
        match state {
            Some(State::TokenBucket(full_at)) => full_at.under(per_us),
            _ => Exact::default(),
        }
    }

    /// From this instant on the bucket is as good as missing.
    pub fn spent_us(&self) -> u64 {
        match self {
            State::TokenBucket(full_at) => full_at.ceil_us(),
            State::FixedWindow(window) => window.ends_us,
            State::SlidingLog(log) => log.empty_us(),
        }
    }
}

// === impl Found ===

impl Found {
    /// Of a token bucket; for others, as if it were full.
    pub fn full_at(&self) -> Exact {
        match self.seen {
            Seen::TokenBucket { full_at } => full_at,
            Seen::FixedWindow(_) | Seen::SlidingLog { .. } => Exact::default(),
        }
    }
}

#[cfg(test)]
mod tests;
