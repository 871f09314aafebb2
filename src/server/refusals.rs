//! Calls that are refused for what they are: malformed, too large, or of a method that Tollgate does not have.
//!
//! They are counted and logged, because Envoy lets the request of such a call pass unlimited unless
//! `failure_mode_deny` is set. Calls that no service has seen, because their bytes could not be read, are among them.

use std::sync::Arc;

use tonic::{Code, Status};
use tracing::warn;

use crate::{
    logging::{
        short,
        subjects::{Due, Warnings},
    },
    metrics::{Door, Metrics},
};

/// The most characters of a reason that are logged. A reason may contain a word that the client chose.
const MAX_REASON: usize = 200;

/// Counts refusals, and warns of them. A clone shares the counts and what was told.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    metrics: Arc<Metrics>,
    warnings: Arc<RefusalWarnings>,
}

#[derive(Debug, Default)]
struct RefusalWarnings {
    /// By reason; some contain a number that the client chose.
    reasons: Warnings,
    /// By path, which the client chose.
    unknown_methods: Warnings,
}

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Refusals {
        Refusals { metrics, warnings: Arc::default() }
    }

    /// Takes the status of a call that asked for a decision. Does nothing unless the fault is the caller's.
    pub(super) fn note(&self, door: Door, status: &Status) {
        if !is_refusal(status.code()) {
            return;
        }
        self.metrics.count_invalid(door);
        let Some(due) = self.warnings.reasons.occurs(status.message()) else { return };
        let reason: String = status.message().chars().take(MAX_REASON).collect();
        let code = status.code();
        match (due, door) {
            (Due::Subject { times }, Door::Rls) => warn!(?code, reason, times, "{REFUSED}"),
            (Due::Others { times }, Door::Rls) => warn!(?code, reason, times, "{OTHERS_REFUSED}"),
            (Due::Subject { times } | Due::Others { times }, Door::Authz | Door::AuthzHttp) => {
                warn!(?code, reason, times, "{CHECK_REFUSED}");
            }
        }
    }

    /// Takes the path of a call that no service here answers.
    pub(super) fn note_unknown_method(&self, path: &str) {
        self.metrics.count_unknown_method();
        let Some(due) = self.warnings.unknown_methods.occurs(path) else { return };
        let path = short(path.as_bytes());
        match due {
            Due::Subject { times } => warn!(path, times, "{UNKNOWN_METHOD}"),
            Due::Others { times } => warn!(path, times, "{OTHER_UNKNOWN_METHODS}"),
        }
    }
}

const REFUSED: &str = "a request was refused; Envoy lets it pass unlimited unless failure_mode_deny is set";
const OTHERS_REFUSED: &str = "requests were refused for further reasons, and this is one of them; Envoy lets them pass \
    unlimited unless failure_mode_deny is set";
const CHECK_REFUSED: &str = "a check of ext_authz was refused, and its request is denied: by gRPC Envoy answers 403 by default, \
    unless failure_mode_allow is set; by HTTP the client gets this 400";
const UNKNOWN_METHOD: &str = "a call of an unknown gRPC method was answered UNIMPLEMENTED; decisions are made by \
    envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit and envoy.service.auth.v3.Authorization/Check. If the caller is an Envoy, it may let its requests \
    pass unlimited";
const OTHER_UNKNOWN_METHODS: &str = "calls of further unknown gRPC methods were answered UNIMPLEMENTED, and this is one \
    of them. If a caller is an Envoy, it may let its requests pass unlimited";

/// Whether the fault is the caller's. Other codes blame the store, or say that the caller has gone.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted | Code::Unimplemented)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_whichever_runtime_sees_it() {
        let refusals = Refusals::new(Arc::new(Metrics::new()));
        let other_runtime = refusals.clone();
        for reason in ["too many", "too long"] {
            let told = |refusals: &Refusals| refusals.warnings.reasons.occurs(reason);
            assert_eq!(told(&refusals), Some(Due::Subject { times: 1 }), "{reason}");
            assert_eq!(told(&other_runtime), None, "{reason}");
        }
    }

    #[test]
    fn errors_of_the_store_and_of_callers_that_have_gone_are_no_refusals() {
        let metrics = Arc::new(Metrics::new());
        let refusals = Refusals::new(Arc::clone(&metrics));
        for code in [Code::Unavailable, Code::Cancelled, Code::Unknown] {
            refusals.note(Door::Rls, &Status::new(code, ""));
        }
        let count = |times: u64| {
            metrics
                .render()
                .contains(&format!("tollgate_requests_total{{door=\"rls\",outcome=\"invalid\"}} {times}\n"))
        };
        assert!(count(0));
        refusals.note(Door::Rls, &Status::out_of_range("too long"));
        assert!(count(1));
    }
}
