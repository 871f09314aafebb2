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

use crate::{limiter::Outcome, logging::REQUESTS, metrics::Metrics, rules::CompiledRules};
use tollgate_core::{applied::WithoutLimit, descriptor::Request};

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
    metrics.count_outcome(rules.counters(), request, outcome);
    let WithoutLimit { unknown_domain, unmatched, .. } = outcome.without_limit;
    if unknown_domain > 0 || unmatched > 0 {
        unmatched::warn(rules.warnings(), request, rules.matcher(), outcome);
    }
    if enabled!(target: REQUESTS, Level::DEBUG) {
        explain::answer(request, rules.matcher(), outcome, modes);
    }
}
