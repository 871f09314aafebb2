//! Counts decisions by limit, verdict and source, and the hits that they are about.
//!
//! The values of labels are configured, unless a rule asks for values of the request (`detailed_metric`,
//! `value_to_metric`). The process then has at most [`MAX_PATHS`] such paths, and counts further ones as `other`.
//!
//! The counters of a limit belong to the rules in force. New rules take over the counters of limits that are still
//! there. The others are no longer shown, even if a request under way still counts into them. What they counted stays
//! in the sums that they were part of, which would otherwise fall and look like a restart of the process.

mod limits;
mod page;
mod post_paid;
mod reference;
mod rows;
mod series;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::quality::RandomState;

use crate::fallback::Source;
pub use reference::MAX_REFERENCE_RULES;
use reference::{Key, hits_by_key, keys};
pub use rows::{Counts, Row, RowId};
use series::{PathsLeft, Series, Sum, Tally};
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

/// What is counted of one decision.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// The verdict.
    pub counted: Counted,
    /// What made it.
    pub source: Source,
    /// It took hits beyond the border of the limit.
    pub is_near: bool,
    /// The hits of its descriptor, if no other limit of the descriptor counts them.
    pub hits: Option<HitsRecord>,
}

/// The hits of one descriptor. They are counted once, however many limits it has.
#[derive(Debug, Clone, Copy)]
pub struct HitsRecord {
    /// What all its limits amount to.
    pub counted: Counted,
    /// What made the decision that counts.
    pub source: Source,
    /// The hits that are asked for. More than this in one request would let a client bring the counter to its end.
    pub hits: u32,
    /// Those of them that were taken beyond the border of a limit.
    pub near: u32,
}

/// The counters of the rules of one matcher. All runtimes share them.
#[derive(Debug, Default)]
pub struct LimitCounters {
    /// By [`RuleLimit::index`].
    limits: Vec<LimitCounter>,
    /// By the same, the limits themselves.
    rules: Vec<Arc<RuleLimit>>,
    /// One for each label, which several limits of a rule may share.
    labels: Vec<LabelCounter>,
    /// Another number for the counters of each matcher.
    generation: u64,
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
    leaving: Vec<LabelCounter>,
    /// What limits that are gone counted, under the keys that limits of the current rules have too.
    gone: HashMap<Key, Sum, RandomState>,
    /// The keys that have series of envoyproxy/ratelimit's names.
    named: HashSet<Key, RandomState>,
}

/// The counter of a label, and a limit that has the label.
#[derive(Debug, Clone)]
struct LabelCounter {
    limit: Arc<RuleLimit>,
    counter: LimitCounter,
}

/// The counter of one limit, and of its domain.
#[derive(Debug, Clone)]
struct LimitCounter {
    series: Arc<Series>,
    domain: Arc<DomainCounts>,
}

/// What a domain counts beside its limits.
#[derive(Debug, Default)]
struct DomainCounts {
    overrides_id: RowId,
    other_id: RowId,
    /// Under limits that requests brought along.
    overrides: Tally,
    /// Under paths beyond [`MAX_PATHS`].
    other: Tally,
    /// Decisions under limits that are gone.
    gone: Tally,
}

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
    pub fn count(&self, limit: &RuleLimit, path: Option<&str>, record: &Record) {
        match (limit.index.find(&self.limits), path) {
            (Some(LimitCounter { series, .. }), None) => series.own.count(record),
            (Some(LimitCounter { series, domain }), Some(path)) => {
                if !series.count_under(&limit.label_under(path), record) {
                    domain.other.count(record);
                }
            }
            (None, _) => {
                if let Some(domain) = self.domains.get(&*limit.domain) {
                    domain.overrides.count(record);
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
        shown.leaving.retain(|leaving| {
            next.domains.values().any(|domain| Arc::ptr_eq(domain, &leaving.counter.domain))
        });
        shown.current = Arc::new(next);
        shown.forget_keys_without_a_limit();
        Arc::clone(&shown.current)
    }

    /// The counters for the rules of `matcher`, and those of `before` that are not among them.
    fn successor(&self, before: &LimitCounters, matcher: &Matcher) -> (LimitCounters, Vec<LabelCounter>) {
        let label = |limit: &RuleLimit| (Arc::clone(&limit.domain), limit.label().into_owned());
        let old = before.labels.iter().map(|old| (label(&old.limit), old.clone()));
        let mut old: HashMap<_, LabelCounter> = old.collect();
        let mut next = LimitCounters {
            rules: matcher.limits().to_vec(),
            generation: before.generation + 1,
            ..LimitCounters::default()
        };
        for name in matcher.domains() {
            next.domains.insert(name.into(), before.domains.get(name).cloned().unwrap_or_default());
        }
        let mut made: HashMap<_, LimitCounter> = HashMap::new();
        for limit in matcher.limits() {
            let label = label(limit);
            let counter = made.get(&label).cloned().unwrap_or_else(|| {
                let domain = next.domains.get(&*limit.domain).cloned().unwrap_or_default();
                let new = || LimitCounter { series: Arc::new(Series::new(&self.paths)), domain };
                let counter = old.remove(&label).map_or_else(new, |old| old.counter);
                next.labels.push(LabelCounter { limit: Arc::clone(limit), counter: counter.clone() });
                made.insert(label, counter.clone());
                counter
            });
            next.limits.push(counter);
        }
        (next, old.into_values().collect())
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Adds the counts of limits that are gone to what they were part of, once no request counts into them any more.
    fn settle(&mut self) {
        let before = self.leaving.len();
        for LabelCounter { limit, counter: LimitCounter { series, domain } } in
            std::mem::take(&mut self.leaving)
        {
            match Arc::try_unwrap(series) {
                Ok(series) => {
                    domain.gone.add_decisions(&series.total());
                    for (key, sum) in hits_by_key(&limit, &series) {
                        self.gone.entry(key).or_default().add(&sum);
                    }
                }
                Err(series) => {
                    self.leaving.push(LabelCounter { limit, counter: LimitCounter { series, domain } });
                }
            }
        }
        if self.leaving.len() < before {
            self.forget_keys_without_a_limit();
        }
    }

    /// Drops what nothing is added to any more, so that it does not pile up with each reload.
    fn forget_keys_without_a_limit(&mut self) {
        if !self.gone.is_empty() {
            let keys = keys(&self.current.labels);
            self.gone.retain(|key, _| keys.contains(key));
        }
    }
}

#[cfg(test)]
mod tests;
