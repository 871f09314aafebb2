//! The counts of each label as numbers, for a reader that follows them by the second.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Counted, Decisions, LimitCounters, Sum, Tally,
    page::{OTHER, OVERRIDE},
    series::{SOURCES, place},
};
use crate::fallback::Source;
use tollgate_core::matcher::RuleLimit;

/// Names the counters of a label. A limit that is still there after a reload keeps its counters, and so this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(u64);

/// A label, as the page of metrics shows it: `domain` and `rule`.
#[derive(Debug, Clone)]
pub struct Row {
    /// Names its counters.
    pub id: RowId,
    /// The label `domain`.
    pub domain: Arc<str>,
    /// The label `rule`.
    pub rule: Arc<str>,
    /// The limits that share it; none for what has no limit of its own, such as limits that requests bring along.
    pub limits: Vec<Arc<RuleLimit>>,
}

/// What a label has counted since it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decisions that allow.
    pub admitted: u64,
    /// Decisions that deny.
    pub denied: u64,
    /// Decisions of limits in shadow mode that would deny.
    pub would_deny: u64,
    /// Decisions that allowed hits near the limit.
    pub near: u64,
    /// All of these, and those without a verdict, by what made them: in the order of [`Counts::SOURCES`].
    pub by_source: [u64; SOURCES.len() + 1],
}

// === impl RowId, Counts ===

impl Default for RowId {
    /// A new one.
    fn default() -> RowId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        RowId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Counts {
    /// The sources, in the order of `by_source`.
    pub const SOURCES: [Source; SOURCES.len() + 1] = {
        let [store, cache, lease, local, allow, deny] = SOURCES;
        [store, cache, lease, local, allow, deny, Source::Error]
    };

    fn new(sum: &Sum) -> Counts {
        let each = |counted| SOURCES.map(|source| sum.decisions[place(counted, source)]);
        let (allow, deny, would) = (each(Counted::Allow), each(Counted::Deny), each(Counted::WouldDeny));
        let mut by_source = [0; SOURCES.len() + 1];
        for at in 0..SOURCES.len() {
            by_source[at] = allow[at] + deny[at] + would[at];
        }
        by_source[SOURCES.len()] = sum.decisions[place(Counted::Deny, Source::Error)];
        let (admitted, denied) = (allow.iter().sum(), deny.iter().sum());
        Counts { admitted, denied, would_deny: would.iter().sum(), near: sum.near, by_source }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let mut by_source = self.by_source;
        by_source.iter_mut().zip(earlier.by_source).for_each(|(now, then)| *now = now.saturating_sub(then));
        Counts {
            admitted: self.admitted.saturating_sub(earlier.admitted),
            denied: self.denied.saturating_sub(earlier.denied),
            would_deny: self.would_deny.saturating_sub(earlier.would_deny),
            near: self.near.saturating_sub(earlier.near),
            by_source,
        }
    }

    /// Adds others.
    pub fn add(&mut self, more: &Counts) {
        self.admitted += more.admitted;
        self.denied += more.denied;
        self.would_deny += more.would_deny;
        self.near += more.near;
        self.by_source.iter_mut().zip(more.by_source).for_each(|(sum, more)| *sum += more);
    }

    /// All decisions with a verdict.
    pub fn decisions(&self) -> u64 {
        self.admitted + self.denied + self.would_deny
    }
}

// === impl LimitCounters, Decisions ===

impl LimitCounters {
    /// A number that only the counters of these rules have.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The row under which decisions on this limit are counted; None if the limit belongs to other rules.
    pub fn row(&self, limit: &RuleLimit) -> Option<RowId> {
        match limit.index.find(&self.limits) {
            Some(counter) => Some(counter.series.id),
            None => Some(self.domains.get(&*limit.domain)?.overrides_id),
        }
    }

    /// All labels, in the order of the limits.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::with_capacity(self.labels.len());
        let mut places = std::collections::HashMap::new();
        for label in &self.labels {
            let (id, limit) = (label.counter.series.id, &label.limit);
            places.insert(id, rows.len());
            let (domain, rule) = (Arc::clone(&limit.domain), limit.label().into());
            rows.push(Row { id, domain, rule, limits: Vec::new() });
        }
        for (limit, counter) in self.rules.iter().zip(&self.limits) {
            if let Some(place) = places.get(&counter.series.id) {
                rows[*place].limits.push(Arc::clone(limit));
            }
        }
        for (name, domain) in &self.domains {
            for (id, rule) in [(domain.overrides_id, OVERRIDE), (domain.other_id, OTHER)] {
                rows.push(Row { id, domain: (**name).into(), rule: rule.into(), limits: Vec::new() });
            }
        }
        rows
    }

    /// What each of [`rows`](Self::rows) has counted, in their order.
    pub fn counts(&self) -> impl Iterator<Item = Counts> {
        let labels = self.labels.iter().map(|label| Counts::new(&label.counter.series.total()));
        let tally = |tally: &Tally| Counts::new(&tally.now());
        let domains = self.domains.values();
        labels.chain(domains.flat_map(move |domain| [tally(&domain.overrides), tally(&domain.other)]))
    }
}

impl Decisions {
    /// The counters of the rules in force.
    pub(in crate::metrics) fn current(&self) -> Arc<LimitCounters> {
        Arc::clone(&self.shown().current)
    }
}
