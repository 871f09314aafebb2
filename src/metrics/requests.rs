//! Counts what became of a request: its outcome, the decision on each limit, the descriptors without one, and how the
//! store did.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntCounter, Opts, Registry};

use super::{
    LimitCounters, Metrics,
    open::{Exemplar, Exemplars, TraceIds},
    registry::counters,
};
use crate::{fallback::Source, limiter::Outcome};
use tollgate_core::{
    applied::WithoutLimit, authz::WithoutDescriptor, decision::Verdict, descriptor::Request,
};

const NAME: &str = "tollgate_requests_total";
const REQUESTS: &str = "Requests by outcome, and by the door through which they came: rls for ShouldRateLimit, authz and \
    authz_http for ext_authz. settled are charges after the response, which are charged whether or not they fit. \
    unknown_domain, unmatched, exempt, unlimited and no_descriptor pass because no limit applies to them; \
    no_descriptor_denied is answered 403. invalid and unavailable are errors: Envoy's ratelimit filter lets such \
    requests pass unless failure_mode_deny is set, and its ext_authz filter denies them unless failure_mode_allow is \
    set; the log says why.";
const WITHOUT_LIMIT: &str = "Descriptors to which no limit applies, by reason: no limits file has their domain \
    (unknown_domain), no rule matches them (unmatched), their rule has no rate_limit (exempt), or says that they are \
    unlimited (unlimited). The log warns of unknown domains and keys.";

/// The reasons why no limit applies to a descriptor.
const KINDS: [&str; 4] = ["unknown_domain", "unmatched", "exempt", "unlimited"];

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// It may pass: OK.
    Allow,
    /// A limit denies it: OVER_LIMIT.
    Deny,
    /// It is a charge after the response, on limits that may owe: OK or OVER_LIMIT, and charged in any case.
    Settled,
    /// No limits file has its domain: OK.
    UnknownDomain,
    /// No rule matches any of its descriptors: OK.
    Unmatched,
    /// No list of `authz` makes a descriptor of it: it passes.
    NoDescriptor,
    /// The same, and its entry says `without_descriptor: deny`: 403.
    NoDescriptorDenied,
    /// Some of its descriptors are exempt, and no rule limits the others: OK.
    Exempt,
    /// A rule says that it is unlimited, and no rule limits it: OK.
    Unlimited,
    /// The request is malformed or too large: INVALID_ARGUMENT, or another code for the caller's fault.
    Invalid,
    /// The store did not answer, and a limit's fallback answer is an error: UNAVAILABLE.
    Unavailable,
}

/// The protocol by which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Envoy's rate-limit service.
    Rls,
    /// ext_authz by gRPC.
    Authz,
    /// ext_authz by HTTP.
    AuthzHttp,
}

#[derive(Debug)]
pub(super) struct Requests {
    /// In the order of [`Door::ALL`], and then of [`RequestOutcome::ALL`].
    outcomes: [[IntCounter; RequestOutcome::ALL.len()]; Door::ALL.len()],
    /// In the same order.
    exemplars: [[Exemplar; RequestOutcome::ALL.len()]; Door::ALL.len()],
    /// In the order of [`KINDS`].
    without_limit: [IntCounter; KINDS.len()],
    /// Requests that the store did not answer, in the order of [`Door::ALL`].
    store_failures: [AtomicU64; Door::ALL.len()],
}

// === impl Metrics ===

impl Metrics {
    /// Counts one request that was decided, and each of its decisions. `counters` belongs to the rules that decided it.
    pub fn count_outcome(
        &self,
        door: Door,
        counters: &LimitCounters,
        request: &Request<'_>,
        outcome: &Outcome<'_>,
    ) {
        self.requests.count(door, outcome_of(outcome));
        self.requests.count_without_limit(outcome.without_limit);
        self.durations.observe(door, outcome.elapsed);
        self.count_decisions(counters, request, outcome);
        let Some(call) = &outcome.store_call else { return };
        if !matches!(outcome.source, Source::Cache | Source::Lease) {
            self.store_seconds.observe(call.elapsed.as_secs_f64());
        }
        if let Some(error) = &call.error {
            // Looked up by the label, which is too slow for requests that are answered.
            self.store_errors.with_label_values(&[error.kind()]).inc();
            self.requests.store_failures[door as usize].fetch_add(1, Ordering::Relaxed);
        }
        if call.malformed > 0 {
            self.malformed.inc_by(call.malformed.into());
        }
    }

    /// Counts a request that was refused before it could be decided.
    pub fn count_invalid(&self, door: Door) {
        self.requests.count(door, RequestOutcome::Invalid);
    }

    /// Counts a request of which `authz` makes no descriptor.
    pub fn count_without_descriptor(&self, door: Door, without: WithoutDescriptor) {
        self.requests.count(
            door,
            match without {
                WithoutDescriptor::Allow => RequestOutcome::NoDescriptor,
                WithoutDescriptor::Deny => RequestOutcome::NoDescriptorDenied,
            },
        );
    }
}

fn outcome_of(outcome: &Outcome<'_>) -> RequestOutcome {
    match outcome.verdict {
        Some(_) if outcome.decisions.is_empty() => outcome_without_limit(outcome),
        Some(_) if outcome.settles() => RequestOutcome::Settled,
        Some(Verdict::Allow) => RequestOutcome::Allow,
        Some(Verdict::Deny) => RequestOutcome::Deny,
        None => RequestOutcome::Unavailable,
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

// === impl Requests ===

impl Requests {
    pub(super) fn new(registry: &Registry) -> Requests {
        let outcomes = counters(registry, Opts::new(NAME, REQUESTS), &["door", "outcome"]);
        let name = "tollgate_descriptors_without_limit_total";
        let without_limit = counters(registry, Opts::new(name, WITHOUT_LIMIT), &["kind"]);
        Requests {
            outcomes: Door::ALL.map(|door| {
                RequestOutcome::ALL.map(|outcome| outcomes.with_label_values(&[door.word(), outcome.word()]))
            }),
            exemplars: Default::default(),
            without_limit: KINDS.map(|kind| without_limit.with_label_values(&[kind])),
            store_failures: Default::default(),
        }
    }

    /// The requests that came through this door.
    pub(super) fn all(&self, door: Door) -> u64 {
        self.outcomes[door as usize].iter().map(IntCounter::get).sum()
    }

    /// Those of them that could not be decided because of what they are.
    pub(super) fn invalid(&self, door: Door) -> u64 {
        self.outcomes[door as usize][RequestOutcome::Invalid as usize].get()
    }

    /// Those of them that the store did not answer.
    pub(super) fn store_failures(&self, door: Door) -> u64 {
        self.store_failures[door as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, door: Door, outcome: RequestOutcome) {
        // The discriminants are the positions in `ALL`; a test holds it.
        self.outcomes[door as usize][outcome as usize].inc();
    }

    /// Keeps a request as the exemplar of its outcome.
    pub(super) fn exemplify(&self, door: Door, outcome: &Outcome<'_>, ids: TraceIds) {
        self.exemplars[door as usize][outcome_of(outcome) as usize].keep(ids, 1.0);
    }

    pub(super) fn show_exemplars(&self, exemplars: &mut Exemplars) {
        for door in Door::ALL {
            for outcome in RequestOutcome::ALL {
                let sample = || format!("{NAME}{{door=\"{}\",outcome=\"{}\"}}", door.word(), outcome.word());
                self.exemplars[door as usize][outcome as usize].show(sample, exemplars);
            }
        }
    }

    pub(super) fn count_without_limit(&self, descriptors: WithoutLimit) {
        let WithoutLimit { unknown_domain, unmatched, exempt, unlimited } = descriptors;
        let counted = self.without_limit.iter().zip([unknown_domain, unmatched, exempt, unlimited]);
        for (counter, descriptors) in counted.filter(|(_, descriptors)| *descriptors > 0) {
            counter.inc_by(descriptors.into());
        }
    }
}

// === impl Door ===

impl Door {
    pub(super) const ALL: [Door; 3] = [Door::Rls, Door::Authz, Door::AuthzHttp];

    /// The label of metrics, and the word in the decision log.
    pub const fn word(self) -> &'static str {
        match self {
            Door::Rls => "rls",
            Door::Authz => "authz",
            Door::AuthzHttp => "authz_http",
        }
    }
}

// === impl RequestOutcome ===

impl RequestOutcome {
    pub(super) const ALL: [RequestOutcome; 11] = [
        RequestOutcome::Allow,
        RequestOutcome::Deny,
        RequestOutcome::Settled,
        RequestOutcome::UnknownDomain,
        RequestOutcome::Unmatched,
        RequestOutcome::NoDescriptor,
        RequestOutcome::NoDescriptorDenied,
        RequestOutcome::Exempt,
        RequestOutcome::Unlimited,
        RequestOutcome::Invalid,
        RequestOutcome::Unavailable,
    ];

    const fn word(self) -> &'static str {
        match self {
            RequestOutcome::Allow => "allow",
            RequestOutcome::Deny => "deny",
            RequestOutcome::Settled => "settled",
            RequestOutcome::UnknownDomain => "unknown_domain",
            RequestOutcome::Unmatched => "unmatched",
            RequestOutcome::NoDescriptor => "no_descriptor",
            RequestOutcome::NoDescriptorDenied => "no_descriptor_denied",
            RequestOutcome::Exempt => "exempt",
            RequestOutcome::Unlimited => "unlimited",
            RequestOutcome::Invalid => "invalid",
            RequestOutcome::Unavailable => "unavailable",
        }
    }
}
