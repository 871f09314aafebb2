//! Requests, by how they were answered, and the descriptors that no limit holds, by why.

use prometheus::{IntCounter, Opts, Registry};

use super::counters;
use crate::limiter::WithoutLimit;

const REQUESTS: &str = "ShouldRateLimit requests, by outcome. unknown_domain, unmatched, exempt and unlimited pass since \
    no limit holds them; invalid and unavailable are errors, by which Envoy's failure_mode_deny decides.";
const WITHOUT_LIMIT: &str = "Descriptors that no limit holds, by why: their domain is not configured (unknown_domain), \
    no rule is for them (unmatched), they end at an entry without a rate_limit (exempt), or at one that says so \
    (unlimited). Log lines say more of the first two.";

/// Why no limit holds a descriptor.
const KINDS: [&str; 4] = ["unknown_domain", "unmatched", "exempt", "unlimited"];

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    Allow,
    Deny,
    /// Its domain is not configured: OK.
    UnknownDomain,
    /// No rule is for any of its descriptors: OK.
    Unmatched,
    /// Of its descriptors some are exempt, and none more than that: OK.
    Exempt,
    /// Rules say that it is unlimited: OK.
    Unlimited,
    /// The request is malformed, or too much: INVALID_ARGUMENT, or another code that says so.
    Invalid,
    /// The store had no answer and the answer for that is an error: UNAVAILABLE.
    Unavailable,
}

#[derive(Debug)]
pub(super) struct Requests {
    outcomes: [IntCounter; RequestOutcome::ALL.len()],
    /// In the order of [`KINDS`].
    without_limit: [IntCounter; KINDS.len()],
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(registry: &Registry) -> Requests {
        let outcomes = counters(registry, Opts::new("tollgate_requests_total", REQUESTS), &["outcome"]);
        let name = "tollgate_descriptors_without_limit_total";
        let without_limit = counters(registry, Opts::new(name, WITHOUT_LIMIT), &["kind"]);
        Requests {
            outcomes: RequestOutcome::ALL.map(|outcome| outcomes.with_label_values(&[outcome.word()])),
            without_limit: KINDS.map(|kind| without_limit.with_label_values(&[kind])),
        }
    }

    pub(super) fn count(&self, outcome: RequestOutcome) {
        // The discriminant is the position in `ALL`; a test holds it.
        self.outcomes[outcome as usize].inc();
    }

    pub(super) fn count_without_limit(&self, descriptors: WithoutLimit) {
        let WithoutLimit { unknown_domain, unmatched, exempt, unlimited } = descriptors;
        let counted = self.without_limit.iter().zip([unknown_domain, unmatched, exempt, unlimited]);
        for (counter, descriptors) in counted.filter(|(_, descriptors)| *descriptors > 0) {
            counter.inc_by(descriptors.into());
        }
    }
}

// === impl RequestOutcome ===

impl RequestOutcome {
    pub(super) const ALL: [RequestOutcome; 8] = [
        RequestOutcome::Allow,
        RequestOutcome::Deny,
        RequestOutcome::UnknownDomain,
        RequestOutcome::Unmatched,
        RequestOutcome::Exempt,
        RequestOutcome::Unlimited,
        RequestOutcome::Invalid,
        RequestOutcome::Unavailable,
    ];

    const fn word(self) -> &'static str {
        match self {
            RequestOutcome::Allow => "allow",
            RequestOutcome::Deny => "deny",
            RequestOutcome::UnknownDomain => "unknown_domain",
            RequestOutcome::Unmatched => "unmatched",
            RequestOutcome::Exempt => "exempt",
            RequestOutcome::Unlimited => "unlimited",
            RequestOutcome::Invalid => "invalid",
            RequestOutcome::Unavailable => "unavailable",
        }
    }
}
