//! Counts requests by their outcome, and descriptors without a limit by the reason.

use prometheus::{IntCounter, Opts, Registry};

use super::counters;
use tollgate_core::applied::WithoutLimit;

const REQUESTS: &str = "ShouldRateLimit requests, by outcome. unknown_domain, unmatched, exempt and unlimited pass \
    because no limit applies to them. invalid and unavailable are errors, and Envoy lets such requests pass unless \
    failure_mode_deny is set; the log says why.";
const WITHOUT_LIMIT: &str = "Descriptors to which no limit applies, by reason: no limits file has their domain \
    (unknown_domain), no rule matches them (unmatched), their rule has no rate_limit (exempt), or says that they are \
    unlimited (unlimited). The log warns of unknown domains and keys.";

/// The reasons why no limit applies to a descriptor.
const KINDS: [&str; 4] = ["unknown_domain", "unmatched", "exempt", "unlimited"];

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It may pass: OK.
    Allow,
    /// A limit denies it: OVER_LIMIT.
    Deny,
    /// No limits file has its domain: OK.
    UnknownDomain,
    /// No rule matches any of its descriptors: OK.
    Unmatched,
    /// Some of its descriptors are exempt, and no rule limits the others: OK.
    Exempt,
    /// A rule says that it is unlimited, and no rule limits it: OK.
    Unlimited,
    /// The request is malformed or too large: INVALID_ARGUMENT, or another code for the caller's fault.
    Invalid,
    /// The store did not answer, and a limit's fallback answer is an error: UNAVAILABLE.
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
