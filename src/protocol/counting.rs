//! Counts the outcome of a request.

use crate::{
    fallback::Source,
    limiter::Outcome,
    metrics::{Counted, LimitCounters, Metrics, RequestOutcome},
};
use tollgate_core::{applied::WithoutLimit, decision::Verdict, descriptor::Request};

pub(super) fn count(
    metrics: &Metrics,
    counters: &LimitCounters,
    request: &Request<'_>,
    outcome: &Outcome<'_>,
) {
    metrics.count_request(match outcome.verdict {
        Some(_) if outcome.decisions.is_empty() => outcome_without_limit(outcome),
        Some(Verdict::Allow) => RequestOutcome::Allow,
        Some(Verdict::Deny) => RequestOutcome::Deny,
        None => RequestOutcome::Unavailable,
    });
    metrics.count_without_limit(outcome.without_limit);
    for decision in &outcome.decisions {
        let counted = match decision.is_over() {
            false if decision.verdict == Verdict::Deny => Counted::WouldDeny,
            _ => decision.verdict.into(),
        };
        let matched = outcome.rules.iter().find(|matched| matched.descriptor == decision.descriptor);
        let path = matched
            .filter(|matched| matched.rule.shows_values())
            .map(|matched| matched.rule.metric_path(request.descriptors[decision.descriptor].entries()));
        counters.count(&decision.limit, path.as_deref(), counted, decision.source);
    }
    let Some(call) = &outcome.store_call else { return };
    if outcome.source != Source::Cache {
        metrics.observe_store(call.elapsed);
    }
    if let Some(error) = &call.error {
        metrics.count_store_error(error.kind());
    }
    if call.malformed > 0 {
        metrics.count_malformed(call.malformed);
    }
}

/// The outcome of a request that no limit applies to, after the descriptor that comes nearest to having one.
fn outcome_without_limit(outcome: &Outcome<'_>) -> RequestOutcome {
    match outcome.without_limit {
        WithoutLimit { unknown_domain: 1.., .. } => RequestOutcome::UnknownDomain,
        // A rule is unlimited, or its limits are all replaced.
        _ if !outcome.rules.is_empty() => RequestOutcome::Unlimited,
        WithoutLimit { exempt: 1.., .. } => RequestOutcome::Exempt,
        _ => RequestOutcome::Unmatched,
    }
}
