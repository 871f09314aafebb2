//! The contract: what an outcome looks like to Envoy and to its client.
//!
//! Statuses are always filled, one for each descriptor, so that Envoy's own `x-ratelimit-*` and
//! `retry-after` work too. Envoy writes headers as they stand, so nothing that a client sent gets into
//! one: they are made of numbers and of names from the configuration, escaped. `x-ratelimit-*` is never
//! sent from here: Envoy appends its own, and the client would see both.

pub mod dynamic;
mod headers;
mod problem;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    decision::{Source, Verdict},
    limit::Unit,
    limiter::{Decision, Outcome},
    matcher::{Applies, RuleLimit},
    pb::{
        RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit},
    },
};
pub use headers::{Group, Jitter, UnknownGroup};

/// What is sent beside the verdict.
#[derive(Debug, Clone)]
pub struct Contract {
    groups: Vec<Group>,
    jitter: Jitter,
    /// By [`RuleLimit::index`]: the body of a denial by that limit alone, made once.
    bodies: Vec<Bytes>,
}

impl Default for Contract {
    fn default() -> Self {
        Contract::new(Group::DEFAULT.to_vec(), Jitter::default())
    }
}

impl Contract {
    pub fn new(groups: Vec<Group>, jitter: Jitter) -> Contract {
        Contract { groups, jitter, bodies: Vec::new() }
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The same, made ready for the denials by these limits, which are all of one matcher in its order.
    #[must_use]
    pub fn for_limits(mut self, limits: &[Arc<RuleLimit>]) -> Contract {
        self.bodies = limits.iter().map(|limit| problem::of_one(limit).into()).collect();
        self
    }

    /// The answer for an outcome that has a verdict.
    pub fn response(&self, outcome: &Outcome<'_>, verdict: Verdict) -> RateLimitResponse {
        let mut response = RateLimitResponse {
            overall_code: code(verdict).into(),
            statuses: statuses(outcome),
            ..RateLimitResponse::default()
        };
        // A guess that allows knows no figures, so it shows none.
        let Some(speaker) = outcome.speaker().filter(|speaker| speaker.source != Source::Allow) else {
            return response;
        };
        response.response_headers_to_add = headers::headers(self, speaker, verdict);
        if verdict == Verdict::Deny && self.groups.contains(&Group::ProblemBody) {
            response.raw_body = self.body(outcome, speaker);
        }
        response
    }
}

impl Contract {
    fn body(&self, outcome: &Outcome<'_>, speaker: &Decision<'_>) -> Bytes {
        let is_plain =
            speaker.source != Source::Deny && !speaker.never_fits && outcome.denying().count() == 1;
        let made = self.bodies.get(speaker.limit.index).filter(|_| is_plain);
        made.map_or_else(|| problem::body(outcome, speaker).into(), Bytes::clone)
    }
}

/// One for each descriptor, in order; where a descriptor has several limits, the one that would speak.
fn statuses(outcome: &Outcome<'_>) -> Vec<DescriptorStatus> {
    let unmatched = DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    let mut statuses = vec![unmatched; outcome.descriptors];
    for matched in &outcome.rules {
        if matches!(matched.applies, Applies::Unlimited(_)) {
            statuses[matched.descriptor].limit_remaining = u32::MAX;
        }
    }
    // A guess that allows knows no figures.
    for decision in outcome.of_descriptors().filter(|decision| decision.source != Source::Allow) {
        statuses[decision.descriptor] = status(decision);
    }
    statuses
}

fn status(decision: &Decision<'_>) -> DescriptorStatus {
    let limit = &decision.limit.limit;
    DescriptorStatus {
        code: if decision.is_over() { Code::OverLimit } else { Code::Ok }.into(),
        current_limit: Some(RateLimit {
            name: decision.limit.name.clone(),
            requests_per_unit: limit.requests_per_unit(),
            unit: unit(limit.unit()).into(),
            unit_multiplier: (limit.period().multiplier > 1).then_some(limit.period().multiplier),
        }),
        limit_remaining: decision.remaining,
        duration_until_reset: Some(prost_types::Duration {
            seconds: i64::try_from(whole_seconds(decision.reset_us)).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        quota: None,
    }
}

/// Rounded up: whoever comes back after that many seconds does not come too early.
fn whole_seconds(us: u64) -> u64 {
    us.div_ceil(u64::try_from(Duration::from_secs(1).as_micros()).expect("a million"))
}

fn code(verdict: Verdict) -> Code {
    match verdict {
        Verdict::Allow => Code::Ok,
        Verdict::Deny => Code::OverLimit,
    }
}

fn unit(unit: Unit) -> rate_limit::Unit {
    match unit {
        Unit::Second => rate_limit::Unit::Second,
        Unit::Minute => rate_limit::Unit::Minute,
        Unit::Hour => rate_limit::Unit::Hour,
        Unit::Day => rate_limit::Unit::Day,
        Unit::Week => rate_limit::Unit::Week,
        Unit::Month => rate_limit::Unit::Month,
        Unit::Year => rate_limit::Unit::Year,
    }
}

#[cfg(test)]
mod tests;
