//! What each decision of a request adds to the counters.

use super::{
    Counted, LimitCounters, Metrics,
    decisions::{HitsRecord, Record},
};
use crate::limiter::{Decision, Outcome};
use tollgate_core::{
    decision::Verdict,
    descriptor::{Hits, Request},
};

impl Metrics {
    /// Counts the decisions of a request.
    pub(super) fn count_decisions(
        &self,
        counters: &LimitCounters,
        request: &Request<'_>,
        outcome: &Outcome<'_>,
    ) {
        for limits in outcome.decisions.chunk_by(|one, next| one.descriptor == next.descriptor) {
            let descriptor = &request.descriptors[limits[0].descriptor];
            let matched = outcome.rules.iter().find(|matched| matched.descriptor == limits[0].descriptor);
            let path = matched
                .filter(|matched| matched.rule.shows_values())
                .map(|matched| matched.rule.metric_path(descriptor.entries()));
            let taken = taken(descriptor.hits, outcome);
            let near = |decision: &Decision<'_>| self.near_hits(decision, taken);
            let mut hits = None;
            if self.has_reference_names {
                let near = limits.iter().map(near).max().unwrap_or_default();
                hits = self::hits(limits, descriptor.hits, near);
            }
            for decision in limits {
                let record = Record {
                    counted: counted(decision),
                    source: decision.source,
                    is_near: near(decision) > 0,
                    hits: hits.take(),
                };
                counters.count(&decision.limit, path.as_deref(), &record);
            }
        }
    }

    /// How many of the hits that were taken lie near the limit.
    fn near_hits(&self, decision: &Decision<'_>, taken: u64) -> u32 {
        // A fallback answer knows the level of a share of the limit, or none.
        if decision.verdict == Verdict::Deny || decision.source.is_fallback_answer() {
            return 0;
        }
        self.near_limit.hits_beyond(decision.limit.limit.burst(), decision.remaining, taken)
    }
}

/// The hits that a descriptor took from each limit that they fit.
fn taken(hits: Hits, outcome: &Outcome<'_>) -> u64 {
    match hits {
        _ if outcome.verdict != Some(Verdict::Allow) => 0,
        Hits::One => 1,
        Hits::Take(hits) => hits,
        Hits::Peek | Hits::GiveBack(_) => 0,
    }
}

fn counted(decision: &Decision<'_>) -> Counted {
    match decision.is_over() {
        false if decision.verdict == Verdict::Deny => Counted::WouldDeny,
        _ => decision.verdict.into(),
    }
}

/// The hits of a descriptor that has these limits.
fn hits(limits: &[Decision<'_>], asked: Hits, near: u32) -> Option<HitsRecord> {
    let severity = |decision: &&Decision<'_>| match counted(decision) {
        Counted::Allow => 0,
        Counted::WouldDeny => 1,
        Counted::Deny => 2,
    };
    // `max_by_key` takes the last on a tie, so the search runs from the end.
    let worst = limits.iter().rev().max_by_key(severity)?;
    let counted = counted(worst);
    let hits = match asked {
        Hits::One => 1,
        Hits::Take(hits) => u32::try_from(hits).unwrap_or(u32::MAX),
        Hits::Peek | Hits::GiveBack(_) => 0,
    };
    let near = if counted == Counted::Allow { near } else { 0 };
    Some(HitsRecord { counted, source: worst.source, hits, near })
}
