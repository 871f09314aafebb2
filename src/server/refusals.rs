//! Calls that are refused for what they are: too long, too much in them, without meaning. Counted and told, since
//! Envoy lets the request of such a call pass unlimited unless `failure_mode_deny` is set.
//!
//! All of them come by here, also those that no service has seen, because their bytes could not be read.

use std::sync::Arc;

use tonic::{Code, Status};
use tracing::warn;

use crate::{
    logging::subjects::{Due, Warnings},
    metrics::{Metrics, RequestOutcome},
};

/// Of a reason, which may hold a word of the client's.
const MOST_LETTERS: usize = 200;

/// Refusals as one runtime sees them.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    metrics: Arc<Metrics>,
    /// By reason. Shared by all runtimes.
    warnings: Arc<Warnings>,
}

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Refusals {
        Refusals { metrics, warnings: Arc::default() }
    }

    /// A decision was asked for, and this came out.
    pub(super) fn note(&self, status: &Status) {
        if !is_refusal(status.code()) {
            return;
        }
        self.metrics.count_request(RequestOutcome::Invalid);
        let Some(due) = self.warnings.occurs(status.message()) else { return };
        let reason: String = status.message().chars().take(MOST_LETTERS).collect();
        let code = status.code();
        match due {
            Due::Subject { times } => warn!(?code, reason, times, "{REFUSED}"),
            Due::Others { times } => warn!(?code, reason, times, "{OTHERS}"),
        }
    }
}

const REFUSED: &str = "a request was refused; Envoy lets it pass unlimited unless failure_mode_deny is set";
const OTHERS: &str = "requests were refused for further reasons, and this is one of them; Envoy lets them pass \
    unlimited unless failure_mode_deny is set";

/// The fault is the caller's. Others are the store's, or say that the caller has gone.
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
            assert_eq!(refusals.warnings.occurs(reason), Some(Due::Subject { times: 1 }), "{reason}");
            assert_eq!(other_runtime.warnings.occurs(reason), None, "{reason}");
        }
    }

    #[test]
    fn what_the_store_or_a_caller_who_has_gone_brings_about_is_no_refusal() {
        let metrics = Arc::new(Metrics::new());
        let refusals = Refusals::new(Arc::clone(&metrics));
        for code in [Code::Unavailable, Code::Cancelled, Code::Unknown] {
            refusals.note(&Status::new(code, ""));
        }
        let count = |times: u64| {
            metrics.render().contains(&format!("tollgate_requests_total{{outcome=\"invalid\"}} {times}\n"))
        };
        assert!(count(0));
        refusals.note(&Status::out_of_range("too long"));
        assert!(count(1));
    }
}
