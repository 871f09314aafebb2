//! Calls that are refused for what they are: too long, too much in them, without meaning. Counted and told, since
//! Envoy lets the request of such a call pass unlimited unless `failure_mode_deny` is set.
//!
//! All of them come by here, also those that no service has seen, because their bytes could not be read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tonic::{Code, Status};
use tracing::warn;

use crate::{
    clock::Clock,
    logging::hourly::Hourly,
    metrics::{Metrics, RequestOutcome},
};

/// Reasons that are told each by itself; some hold a number that the client chose.
const MOST_REASONS: usize = 32;
/// Of a reason, which may hold a word of the client's.
const MOST_LETTERS: usize = 200;

/// Refusals as one runtime sees them.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    metrics: Arc<Metrics>,
    told: Arc<Told>,
}

/// What was told of all runtimes.
#[derive(Debug)]
struct Told {
    clock: Clock,
    reasons: Mutex<HashMap<String, Hourly>>,
    /// For reasons beyond the most.
    others: Hourly,
}

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Refusals {
        let told = Told { clock: Clock::start(), reasons: Mutex::default(), others: Hourly::new() };
        Refusals { metrics, told: Arc::new(told) }
    }

    /// A decision was asked for, and this came out.
    pub(super) fn note(&self, status: &Status) {
        if !is_refusal(status.code()) {
            return;
        }
        self.metrics.count_request(RequestOutcome::Invalid);
        let reason: String = status.message().chars().take(MOST_LETTERS).collect();
        if let Some(times) = self.told.occurs(&reason) {
            warn!(
                code = ?status.code(),
                reason,
                times,
                "a request was refused; Envoy lets it pass unlimited unless failure_mode_deny is set"
            );
        }
    }
}

impl Told {
    /// How often, if it is to be told now.
    fn occurs(&self, reason: &str) -> Option<u64> {
        let now_us = self.clock.now_us();
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hourly) = reasons.get(reason) {
            return hourly.occurs(now_us);
        }
        if reasons.len() >= MOST_REASONS {
            return self.others.occurs(now_us);
        }
        reasons.entry(reason.to_owned()).or_default().occurs(now_us)
    }
}

/// The fault is the caller's. Others are the store's, or say that the caller has gone.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted | Code::Unimplemented)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_and_a_flood_of_them_is_told_as_one() {
        let refusals = Refusals::new(Arc::new(Metrics::new()));
        let told = |reason: &str| refusals.told.occurs(reason).is_some();
        assert!(told("too many") && told("too long"));
        assert!(!told("too many") && !told("too long"));
        let flood = (0..1_000).filter(|number| told(&format!("the unit {number}"))).count();
        assert_eq!(flood, MOST_REASONS - 2 + 1);
        assert!(!told("too many"));
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
