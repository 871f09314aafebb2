//! What is counted of a request, once it is decided.

use super::{Rls, entries};
use crate::{
    limiter::{Outcome, WithoutLimit},
    metrics::{Counted, LimitCounters, RequestOutcome},
    pb::RateLimitRequest,
};
use tollgate_core::decision::{Source, Verdict};

impl Rls {
    pub(super) fn count(&self, counters: &LimitCounters, request: &RateLimitRequest, outcome: &Outcome<'_>) {
        self.metrics.count_request(match outcome.verdict {
            Some(_) if outcome.decisions.is_empty() => passing(outcome),
            Some(Verdict::Allow) => RequestOutcome::Allow,
            Some(Verdict::Deny) => RequestOutcome::Deny,
            None => RequestOutcome::Unavailable,
        });
        self.metrics.count_without_limit(outcome.without_limit);
        for decision in &outcome.decisions {
            let counted = match decision.is_over() {
                false if decision.verdict == Verdict::Deny => Counted::WouldDeny,
                _ => decision.verdict.into(),
            };
            let path = outcome.rules.iter().find(|matched| matched.descriptor == decision.descriptor);
            let path = path
                .filter(|matched| matched.rule.shows_values())
                .map(|matched| matched.rule.metric_path(entries(&request.descriptors[decision.descriptor])));
            counters.count(&decision.limit, path.as_deref(), counted, decision.source);
        }
        let Some(asked) = &outcome.asked else { return };
        if outcome.source != Source::Cache {
            self.metrics.observe_store(asked.elapsed);
        }
        if let Some(error) = &asked.error {
            self.metrics.count_store_error(error.kind());
        }
        if asked.malformed > 0 {
            self.metrics.count_malformed(asked.malformed);
        }
    }
}

/// Of a request that no limit holds, what comes nearest to a rule.
fn passing(outcome: &Outcome<'_>) -> RequestOutcome {
    match outcome.without_limit {
        WithoutLimit { unknown_domain: 1.., .. } => RequestOutcome::UnknownDomain,
        // It is, or its limits replace one another.
        _ if !outcome.rules.is_empty() => RequestOutcome::Unlimited,
        WithoutLimit { exempt: 1.., .. } => RequestOutcome::Exempt,
        _ => RequestOutcome::Unmatched,
    }
}
