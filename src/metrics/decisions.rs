//! Decisions, counted by limit, verdict and source.
//!
//! Labels hold what is configured, unless a rule asks for values of the request (`detailed_metric`,
//! `value_to_metric`): then there are [`MOST_PATHS`] paths at most, and the rest is counted under `other`.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use prometheus::{IntCounter, IntCounterVec};

use crate::{
    decision::{Source, Verdict},
    matcher::RuleLimit,
};

/// Paths with values of requests, in the whole process.
pub const MOST_PATHS: usize = 1_000;
/// Stands for all further ones.
const OTHER: &str = "other";

/// What a decision is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Allow,
    Deny,
    /// A shadow, which denies nothing.
    WouldDeny,
}

/// Counters for the limits of one matcher, by [`RuleLimit::index`].
#[derive(Debug)]
pub struct LimitCounters {
    limits: Vec<OfLimit>,
    decisions: IntCounterVec,
    paths: Arc<Paths>,
}

/// The paths with values of requests that have a counter.
#[derive(Debug, Default)]
pub(super) struct Paths(Mutex<HashSet<String>>);

/// Decisions of the store are there from the start, so that a rate can be taken of the first of them. Others
/// appear with the first one: most limits never see any, and each would be one more line to scrape.
#[derive(Debug)]
struct OfLimit {
    limit: Arc<RuleLimit>,
    counters: [OnceLock<IntCounter>; COUNTERS],
}

const COUNTERS: usize = 3 * 6;

// === impl Counted ===

impl Counted {
    const fn word(self) -> &'static str {
        match self {
            Counted::Allow => "allow",
            Counted::Deny => "deny",
            Counted::WouldDeny => "would_deny",
        }
    }
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
    pub(super) fn new(
        limits: &[Arc<RuleLimit>],
        decisions: IntCounterVec,
        paths: Arc<Paths>,
    ) -> LimitCounters {
        let limits = limits.iter().map(|limit| OfLimit {
            limit: Arc::clone(limit),
            counters: [const { OnceLock::new() }; COUNTERS],
        });
        let counters = LimitCounters { limits: limits.collect(), decisions, paths };
        for of in &counters.limits {
            let at_once = [
                (Counted::Allow, Source::Store),
                (Counted::Deny, Source::Store),
                (Counted::Deny, Source::Memo),
            ];
            for (counted, source) in at_once {
                counters.counter(of, counted, source);
            }
        }
        counters
    }

    /// Counts one decision under its limit; one that a request brought along has no index, and is counted under
    /// its label. `path`, if there is one, stands for the path of the limit.
    pub fn count(&self, limit: &RuleLimit, path: Option<&str>, counted: Counted, source: Source) {
        match (path, self.limits.get(limit.index)) {
            (None, Some(of)) => self.counter(of, counted, source).inc(),
            (path, _) => {
                let label = path.map_or(limit.label(), |path| limit.label_under(path));
                let label = self.paths.admit(&label);
                self.make(&limit.domain, label, counted, source).inc();
            }
        }
    }

    fn counter<'a>(&self, of: &'a OfLimit, counted: Counted, source: Source) -> &'a IntCounter {
        let counter = &of.counters[counted as usize * 6 + source as usize];
        counter.get_or_init(|| self.make(&of.limit.domain, &of.limit.label(), counted, source))
    }

    fn make(&self, domain: &str, label: &str, counted: Counted, source: Source) -> IntCounter {
        // No decision was made where none could be.
        let verdict = if source == Source::Error { "error" } else { counted.word() };
        self.decisions.with_label_values(&[domain, label, verdict, source.word()])
    }
}

// === impl Paths ===

impl Paths {
    /// The label itself, if it has a counter or may still get one.
    fn admit<'a>(&self, label: &'a str) -> &'a str {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !paths.contains(label) {
            if paths.len() >= MOST_PATHS {
                return OTHER;
            }
            paths.insert(label.to_owned());
        }
        label
    }
}
