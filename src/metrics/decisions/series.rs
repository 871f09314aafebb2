//! What is counted under one label, or one path.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

use super::{Counted, MAX_PATHS, Record, RowId};
use crate::fallback::Source;

pub(super) const VERDICTS: [&str; 3] = ["allow", "deny", "would_deny"];
/// The sources that make decisions. [`Source::Error`] follows them in the enum.
pub(super) const SOURCES: [Source; 6] =
    [Source::Store, Source::Cache, Source::Lease, Source::Local, Source::Allow, Source::Deny];
/// The place of requests without a decision, and so without a verdict.
const UNDECIDED: usize = VERDICTS.len() * SOURCES.len();
pub(super) const UNDECIDED_WORD: &str = "error";
const PLACES: usize = UNDECIDED + 1;

/// The counts under one label, and under the paths that replace it.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) id: RowId,
    pub(super) own: Tally,
    paths: Mutex<HashMap<Box<str>, Tally, RandomState>>,
    left: Arc<PathsLeft>,
}

/// The number of paths that may still get counters.
#[derive(Debug)]
pub(super) struct PathsLeft(AtomicUsize);

/// What is counted of decisions, and of the hits that they were about.
#[derive(Debug, Default)]
pub(super) struct Tally {
    decisions: [AtomicU64; PLACES],
    near: AtomicU64,
    hits: [AtomicU64; PLACES],
    near_hits: AtomicU64,
}

/// The values of a [`Tally`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) decisions: [u64; PLACES],
    pub(super) near: u64,
    pub(super) hits: [u64; PLACES],
    pub(super) near_hits: u64,
}

// === impl Series, PathsLeft ===

impl Series {
    pub(super) fn new(left: &Arc<PathsLeft>) -> Series {
        Series {
            id: RowId::default(),
            own: Tally::default(),
            paths: Mutex::default(),
            left: Arc::clone(left),
        }
    }

    /// Counts under this label. False, without counting, if no more paths may get counters.
    pub(super) fn count_under(&self, label: &str, record: &Record) -> bool {
        let mut paths = self.paths();
        if !paths.contains_key(label) {
            if !self.left.take_one() {
                return false;
            }
            paths.insert(label.into(), Tally::default());
        }
        paths[label].count(record);
        true
    }

    pub(super) fn total(&self) -> Sum {
        let mut sum = self.own.now();
        self.paths().values().for_each(|tally| sum.add(&tally.now()));
        sum
    }

    pub(super) fn paths(&self) -> MutexGuard<'_, HashMap<Box<str>, Tally, RandomState>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let paths = self.paths().len();
        self.left.0.fetch_add(paths, Ordering::Relaxed);
    }
}

impl PathsLeft {
    fn take_one(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Default for PathsLeft {
    fn default() -> PathsLeft {
        PathsLeft(MAX_PATHS.into())
    }
}

// === impl Tally, Sum ===

impl Tally {
    pub(super) fn count(&self, record: &Record) {
        let add = |count: &AtomicU64, more: u64| {
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        };
        add(&self.decisions[place(record.counted, record.source)], 1);
        add(&self.near, record.is_near.into());
        if let Some(hits) = &record.hits {
            add(&self.hits[place(hits.counted, hits.source)], hits.hits.into());
            add(&self.near_hits, hits.near.into());
        }
    }

    /// Adds to the decisions alone.
    pub(super) fn add_decisions(&self, sum: &Sum) {
        let counts = self.decisions.iter().zip(sum.decisions);
        counts.for_each(|(count, more)| {
            count.fetch_add(more, Ordering::Relaxed);
        });
    }

    pub(super) fn now(&self) -> Sum {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Sum {
            decisions: std::array::from_fn(|place| load(&self.decisions[place])),
            near: load(&self.near),
            hits: std::array::from_fn(|place| load(&self.hits[place])),
            near_hits: load(&self.near_hits),
        }
    }
}

impl Sum {
    pub(super) fn add(&mut self, more: &Sum) {
        self.decisions.iter_mut().zip(more.decisions).for_each(|(sum, more)| *sum += more);
        self.near += more.near;
        // What clients ask for can come near the end of a u64; a sum that fell would look like a restart.
        self.hits.iter_mut().zip(more.hits).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.near_hits = self.near_hits.saturating_add(more.near_hits);
    }

    /// The hits whose decisions these are.
    pub(super) fn hits_where(&self, is_meant: impl Fn(Counted) -> bool) -> u64 {
        self.hits_from(&SOURCES, is_meant)
    }

    /// The same, for decisions from these sources.
    pub(super) fn hits_from(&self, sources: &[Source], is_meant: impl Fn(Counted) -> bool) -> u64 {
        let verdicts = [Counted::Allow, Counted::Deny, Counted::WouldDeny];
        let places = verdicts.into_iter().filter(|counted| is_meant(*counted));
        let places = places.flat_map(|counted| sources.iter().map(move |source| place(counted, *source)));
        places.fold(0, |sum: u64, place| sum.saturating_add(self.hits[place]))
    }

    /// All hits, also those without a decision.
    pub(super) fn all_hits(&self) -> u64 {
        self.hits.iter().fold(0, |sum: u64, hits| sum.saturating_add(*hits))
    }
}

pub(super) fn place(counted: Counted, source: Source) -> usize {
    match source {
        Source::Error => UNDECIDED,
        _ => counted as usize * SOURCES.len() + source as usize,
    }
}

/// The verdict and the source of that place.
pub(super) fn words(place: usize) -> (&'static str, &'static str) {
    match VERDICTS.get(place / SOURCES.len()) {
        Some(verdict) => (verdict, SOURCES[place % SOURCES.len()].word()),
        None => (UNDECIDED_WORD, Source::Error.word()),
    }
}
