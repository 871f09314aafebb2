//! Decisions, counted by limit, verdict and source.
//!
//! Labels hold what is configured, unless a rule asks for values of the request (`detailed_metric`,
//! `value_to_metric`): then there are [`MOST_PATHS`] paths at most, and the rest is counted under `other`.
//!
//! The counters of a limit belong to the rules in force. New rules take over those of the limits that are still
//! there; the others are shown no more, also where a request that is under way still counts into them. What a limit
//! has counted stays in the sum of its domain, which would otherwise fall and look as if the process had started anew.

mod page;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

use tollgate_core::{
    decision::{Source, Verdict},
    matcher::{Matcher, RuleLimit},
};

/// Paths with values of requests, in the whole process.
pub const MOST_PATHS: usize = 1_000;

/// What a decision is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Allow,
    Deny,
    /// A shadow, which denies nothing.
    WouldDeny,
}

/// Counters for the rules of one matcher.
#[derive(Debug, Default)]
pub struct LimitCounters {
    /// By [`RuleLimit::index`].
    limits: Vec<OfLimit>,
    /// One for each label, which several limits of one rule may have in common.
    labels: Vec<(Arc<RuleLimit>, OfLimit)>,
    domains: HashMap<Box<str>, Arc<OfDomain>, RandomState>,
}

/// All decisions of the process.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    shown: Mutex<Shown>,
    paths: Arc<PathsLeft>,
}

#[derive(Debug, Default)]
struct Shown {
    current: Arc<LimitCounters>,
    /// Of limits that are gone, while a request that began before may still count into them.
    leaving: Vec<OfLimit>,
}

#[derive(Debug, Clone)]
struct OfLimit {
    series: Arc<Series>,
    domain: Arc<OfDomain>,
}

/// What is counted under one label, and under the paths that stand for it.
#[derive(Debug)]
struct Series {
    counts: Counts,
    paths: Mutex<HashMap<Box<str>, Counts, RandomState>>,
    left: Arc<PathsLeft>,
}

#[derive(Debug, Default)]
struct OfDomain {
    /// Under limits that requests brought along.
    overrides: Counts,
    /// Under paths beyond [`MOST_PATHS`].
    other: Counts,
    /// Under limits that are gone.
    gone: Counts,
}

/// How many more paths may get counters.
#[derive(Debug)]
struct PathsLeft(AtomicUsize);

#[derive(Debug, Default)]
struct Counts([AtomicU64; PLACES]);

const VERDICTS: [&str; 3] = ["allow", "deny", "would_deny"];
/// Those that make decisions; [`Source::Error`] comes behind them.
const SOURCES: [Source; 5] = [Source::Store, Source::Cache, Source::Local, Source::Allow, Source::Deny];
/// Where no decision was made there is no verdict, and so one place alone.
const UNDECIDED: usize = VERDICTS.len() * SOURCES.len();
const UNDECIDED_WORD: &str = "error";
const PLACES: usize = UNDECIDED + 1;

/// What was counted at each place.
type Sum = [u64; PLACES];

impl From<Verdict> for Counted {
    fn from(verdict: Verdict) -> Counted {
        match verdict {
            Verdict::Allow => Counted::Allow,
            Verdict::Deny => Counted::Deny,
        }
    }
}

// === impl LimitCounters ===

impl LimitCounters {
    /// Counts one decision under its limit; one that a request brought along has no index, and is counted for its
    /// domain. `path`, if there is one, stands for the path of the limit.
    pub fn count(&self, limit: &RuleLimit, path: Option<&str>, counted: Counted, source: Source) {
        let place = place(counted, source);
        match (limit.index.find(&self.limits), path) {
            (Some(OfLimit { series, .. }), None) => series.counts.add(place, 1),
            (Some(OfLimit { series, domain }), Some(path)) => {
                if !series.count_under(&limit.label_under(path), place) {
                    domain.other.add(place, 1);
                }
            }
            (None, _) => {
                if let Some(domain) = self.domains.get(&*limit.domain) {
                    domain.overrides.add(place, 1);
                }
            }
        }
    }
}

// === impl Decisions ===

impl Decisions {
    /// Counters for these rules, which take the place of those before. They go on where they stood if a limit of
    /// that domain and label was there before.
    pub(super) fn counters_for_rules(&self, matcher: &Matcher) -> Arc<LimitCounters> {
        let mut shown = self.shown();
        // Or where nobody asks for the page, what is gone would pile up with each reload.
        shown.settle();
        let (next, gone) = self.successor(&shown.current, matcher);
        shown.leaving.extend(gone);
        shown.leaving.retain(|of| next.domains.values().any(|domain| Arc::ptr_eq(domain, &of.domain)));
        shown.current = Arc::new(next);
        Arc::clone(&shown.current)
    }

    /// The counters for the rules of `matcher`, and what of `before` is not among them.
    fn successor(&self, before: &LimitCounters, matcher: &Matcher) -> (LimitCounters, Vec<OfLimit>) {
        let label_of = |limit: &RuleLimit| (Arc::clone(&limit.domain), limit.label().into_owned());
        let old = before.labels.iter().map(|(limit, of)| (label_of(limit), of.clone()));
        let mut old: HashMap<_, OfLimit> = old.collect();
        let mut next = LimitCounters::default();
        for name in matcher.domains() {
            next.domains.insert(name.into(), before.domains.get(name).cloned().unwrap_or_default());
        }
        let mut made: HashMap<_, OfLimit> = HashMap::new();
        for limit in matcher.limits() {
            let label = label_of(limit);
            let of = made.get(&label).cloned().unwrap_or_else(|| {
                let domain = next.domains.get(&*limit.domain).cloned().unwrap_or_default();
                let of = old.remove(&label).unwrap_or_else(|| OfLimit { series: self.series(), domain });
                next.labels.push((Arc::clone(limit), of.clone()));
                made.insert(label, of.clone());
                of
            });
            next.limits.push(of);
        }
        (next, old.into_values().collect())
    }

    fn series(&self) -> Arc<Series> {
        let (counts, paths, left) = (Counts::default(), Mutex::default(), Arc::clone(&self.paths));
        Arc::new(Series { counts, paths, left })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Adds to its domain what was counted under each limit that is gone, once nobody counts there any more.
    fn settle(&mut self) {
        for OfLimit { series, domain } in std::mem::take(&mut self.leaving) {
            match Arc::try_unwrap(series) {
                Ok(series) => {
                    series
                        .total()
                        .into_iter()
                        .enumerate()
                        .for_each(|(place, more)| domain.gone.add(place, more));
                }
                Err(series) => self.leaving.push(OfLimit { series, domain }),
            }
        }
    }
}

// === impl Series, PathsLeft ===

impl Series {
    /// False, and nothing is counted, where there are no more paths to be had.
    fn count_under(&self, label: &str, place: usize) -> bool {
        let mut paths = self.paths();
        if !paths.contains_key(label) {
            if !self.left.take_one() {
                return false;
            }
            paths.insert(label.into(), Counts::default());
        }
        paths[label].add(place, 1);
        true
    }

    fn total(&self) -> Sum {
        let mut sum = self.counts.now();
        self.paths().values().for_each(|counts| add_all(&mut sum, &counts.now()));
        sum
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<Box<str>, Counts, RandomState>> {
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
        PathsLeft(MOST_PATHS.into())
    }
}

// === impl Counts ===

impl Counts {
    fn add(&self, place: usize, more: u64) {
        self.0[place].fetch_add(more, Ordering::Relaxed);
    }

    fn now(&self) -> Sum {
        std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed))
    }
}

fn add_all(sum: &mut Sum, more: &Sum) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn place(counted: Counted, source: Source) -> usize {
    match source {
        // No decision was made where none could be.
        Source::Error => UNDECIDED,
        _ => counted as usize * SOURCES.len() + source as usize,
    }
}

/// The verdict and the source that are counted at that place.
fn words(place: usize) -> (&'static str, &'static str) {
    match VERDICTS.get(place / SOURCES.len()) {
        Some(verdict) => (verdict, SOURCES[place % SOURCES.len()].word()),
        None => (UNDECIDED_WORD, Source::Error.word()),
    }
}

#[cfg(test)]
mod tests;
