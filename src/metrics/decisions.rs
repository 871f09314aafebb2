//! Counts decisions by limit, verdict and source.
//!
//! The values of labels are configured, unless a rule asks for values of the request (`detailed_metric`,
//! `value_to_metric`). The process then has at most [`MAX_PATHS`] such paths, and counts further ones as `other`.
//!
//! The counters of a limit belong to the rules in force. New rules take over the counters of limits that are still
//! there. The others are no longer shown, even if a request under way still counts into them. What they counted stays
//! in the sum of their domain, which would otherwise fall and look like a restart of the process.

mod page;
mod post_paid;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

use crate::fallback::Source;
use tollgate_core::{
    decision::Verdict,
    matcher::{Matcher, RuleLimit},
};

/// The maximum number of paths with values of requests, in the whole process.
pub const MAX_PATHS: usize = 1_000;

/// The verdict under which a decision is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It fits.
    Allow,
    /// It does not fit.
    Deny,
    /// It does not fit, but the limit is in shadow mode and denies nothing.
    WouldDeny,
}

/// The counters of the rules of one matcher. All runtimes share them.
#[derive(Debug, Default)]
pub struct LimitCounters {
    /// By [`RuleLimit::index`].
    limits: Vec<LimitCounter>,
    /// One for each label, which several limits of a rule may share.
    labels: Vec<(Arc<RuleLimit>, LimitCounter)>,
    domains: HashMap<Box<str>, Arc<DomainCounts>, RandomState>,
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
    /// The counters of limits that are gone, while a request that began before may still count into them.
    leaving: Vec<LimitCounter>,
}

/// The counter of one limit, and of its domain.
#[derive(Debug, Clone)]
struct LimitCounter {
    series: Arc<Series>,
    domain: Arc<DomainCounts>,
}

/// The counts under one label, and under the paths that replace it.
#[derive(Debug)]
struct Series {
    counts: Counts,
    paths: Mutex<HashMap<Box<str>, Counts, RandomState>>,
    left: Arc<PathsLeft>,
}

/// What a domain counts beside its limits.
#[derive(Debug, Default)]
struct DomainCounts {
    /// Under limits that requests brought along.
    overrides: Counts,
    /// Under paths beyond [`MAX_PATHS`].
    other: Counts,
    /// Under limits that are gone.
    gone: Counts,
}

/// The number of paths that may still get counters.
#[derive(Debug)]
struct PathsLeft(AtomicUsize);

#[derive(Debug, Default)]
struct Counts([AtomicU64; PLACES]);

const VERDICTS: [&str; 3] = ["allow", "deny", "would_deny"];
/// The sources that make decisions. [`Source::Error`] follows them in the enum.
const SOURCES: [Source; 5] = [Source::Store, Source::Cache, Source::Local, Source::Allow, Source::Deny];
/// The place of requests without a decision, and so without a verdict.
const UNDECIDED: usize = VERDICTS.len() * SOURCES.len();
const UNDECIDED_WORD: &str = "error";
const PLACES: usize = UNDECIDED + 1;

/// The count at each place.
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
    /// Counts one decision under its limit, or under `path` in its stead. A limit that a request brought along has no
    /// index, and is counted under its domain.
    pub fn count(&self, limit: &RuleLimit, path: Option<&str>, counted: Counted, source: Source) {
        let place = place(counted, source);
        match (limit.index.find(&self.limits), path) {
            (Some(LimitCounter { series, .. }), None) => series.counts.add(place, 1),
            (Some(LimitCounter { series, domain }), Some(path)) => {
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
    /// Counters for these rules, which replace the rules before. A limit whose domain and label existed before keeps
    /// its counts.
    pub(super) fn counters_for_rules(&self, matcher: &Matcher) -> Arc<LimitCounters> {
        let mut shown = self.shown();
        // Otherwise the limits that are gone would pile up with each reload if nobody scrapes the page.
        shown.settle();
        let (next, gone) = self.successor(&shown.current, matcher);
        shown.leaving.extend(gone);
        shown
            .leaving
            .retain(|counter| next.domains.values().any(|domain| Arc::ptr_eq(domain, &counter.domain)));
        shown.current = Arc::new(next);
        Arc::clone(&shown.current)
    }

    /// The counters for the rules of `matcher`, and those of `before` that are not among them.
    fn successor(&self, before: &LimitCounters, matcher: &Matcher) -> (LimitCounters, Vec<LimitCounter>) {
        let label = |limit: &RuleLimit| (Arc::clone(&limit.domain), limit.label().into_owned());
        let old = before.labels.iter().map(|(limit, counter)| (label(limit), counter.clone()));
        let mut old: HashMap<_, LimitCounter> = old.collect();
        let mut next = LimitCounters::default();
        for name in matcher.domains() {
            next.domains.insert(name.into(), before.domains.get(name).cloned().unwrap_or_default());
        }
        let mut made: HashMap<_, LimitCounter> = HashMap::new();
        for limit in matcher.limits() {
            let label = label(limit);
            let counter = made.get(&label).cloned().unwrap_or_else(|| {
                let domain = next.domains.get(&*limit.domain).cloned().unwrap_or_default();
                let new = || LimitCounter { series: self.series(), domain };
                let counter = old.remove(&label).unwrap_or_else(new);
                next.labels.push((Arc::clone(limit), counter.clone()));
                made.insert(label, counter.clone());
                counter
            });
            next.limits.push(counter);
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
    /// Adds the counts of limits that are gone to their domains, once no request counts into them any more.
    fn settle(&mut self) {
        for LimitCounter { series, domain } in std::mem::take(&mut self.leaving) {
            match Arc::try_unwrap(series) {
                Ok(series) => {
                    series
                        .total()
                        .into_iter()
                        .enumerate()
                        .for_each(|(place, more)| domain.gone.add(place, more));
                }
                Err(series) => self.leaving.push(LimitCounter { series, domain }),
            }
        }
    }
}

// === impl Series, PathsLeft ===

impl Series {
    /// Counts under this label. False, without counting, if no more paths may get counters.
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
        PathsLeft(MAX_PATHS.into())
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
        Source::Error => UNDECIDED,
        _ => counted as usize * SOURCES.len() + source as usize,
    }
}

/// The verdict and the source of that place.
fn words(place: usize) -> (&'static str, &'static str) {
    match VERDICTS.get(place / SOURCES.len()) {
        Some(verdict) => (verdict, SOURCES[place % SOURCES.len()].word()),
        None => (UNDECIDED_WORD, Source::Error.word()),
    }
}

#[cfg(test)]
mod tests;
