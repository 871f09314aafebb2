//! The protocols by which requests come in and answers go out.
//!
//! Each protocol parses its messages once into a [`Request`], asks the limiter, and encodes the outcome. What is common
//! to all stands here and beside: counting outcomes, warning about requests that no rule is for (`unmatched`),
//! explaining decisions in the log (`explain`), and the gRPC status of each error (`status`).

mod explain;
pub mod rls;
pub(crate) mod status;
mod unmatched;

use tracing::{Level, enabled};

use crate::{
    fallback::Source,
    limiter::Outcome,
    logging::REQUESTS,
    metrics::{Counted, LimitCounters, Metrics, RequestOutcome},
    rules::CompiledRules,
};
use tollgate_core::{applied::WithoutLimit, decision::Verdict, descriptor::Request};

/// Switches for all rules at once. Each is off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Every request is answered with OK. What is charged, counted and reported for each limit stays the same.
    pub shadow: bool,
    /// Answers carry dynamic metadata for Envoy.
    pub dynamic_metadata: bool,
    /// Log lines at debug level show the values of descriptors, which may be secrets.
    pub show_values: bool,
}

/// Counts the outcome of a request, and logs what operators should know about it.
fn observe(
    metrics: &Metrics,
    rules: &CompiledRules,
    request: &Request<'_>,
    outcome: &Outcome<'_>,
    modes: Modes,
) {
    count(metrics, rules.counters(), request, outcome);
    let WithoutLimit { unknown_domain, unmatched, .. } = outcome.without_limit;
    if unknown_domain > 0 || unmatched > 0 {
        unmatched::warn(rules.warnings(), request, rules.matcher(), outcome);
    }
    if enabled!(target: REQUESTS, Level::DEBUG) {
        explain::answer(request, rules.matcher(), outcome, modes);
    }
}

fn count(metrics: &Metrics, counters: &LimitCounters, request: &Request<'_>, outcome: &Outcome<'_>) {
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
