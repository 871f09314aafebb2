//! The contract: how an outcome is presented to Envoy and to its client. The headers of a 429 are made here.
//!
//! There is always one status for each descriptor, so that Envoy's own `x-ratelimit-*` and `retry-after` work too.
//! Envoy forwards headers as they are, so nothing that a client sent gets into one: they consist of numbers and of
//! names from the configuration, escaped. Tollgate sends no `x-ratelimit-*`: Envoy appends its own, and clients would
//! see both.

pub mod dynamic;
mod groups;
mod problem;
mod writer;

use std::{borrow::Cow, sync::Arc};

use prost::Message as _;
use prost_types::Struct;

use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
    pb::rate_limit_response::{Code, rate_limit},
};
pub use groups::{Group, Jitter, UnknownGroup};
use tollgate_core::{
    decision::Verdict,
    limit::Unit,
    matcher::{Applies, RuleLimit},
};
use writer::{Field, Writer};

// Numbers of fields in `proto/`, by message.
const RESPONSE_OVERALL_CODE: Field = 1;
const RESPONSE_STATUSES: Field = 2;
const RESPONSE_HEADERS: Field = 3;
const RESPONSE_RAW_BODY: Field = 5;
const RESPONSE_DYNAMIC_METADATA: Field = 6;
const STATUS_CODE: Field = 1;
const STATUS_CURRENT_LIMIT: Field = 2;
const STATUS_LIMIT_REMAINING: Field = 3;
const STATUS_DURATION_UNTIL_RESET: Field = 4;
const LIMIT_REQUESTS_PER_UNIT: Field = 1;
const LIMIT_UNIT: Field = 2;
const LIMIT_NAME: Field = 3;
const LIMIT_UNIT_MULTIPLIER: Field = 4;
const DURATION_SECONDS: Field = 1;
const WRAPPED_VALUE: Field = 1;
const HEADER_KEY: Field = 1;
const HEADER_VALUE: Field = 2;

/// The parts of an answer that operators choose, and what was made for them in advance.
#[derive(Debug, Clone)]
pub struct Contract {
    groups: Vec<Group>,
    jitter: Jitter,
    /// The body of a denial by one limit alone, made once for each. [`RuleLimit::index`] finds it.
    bodies: Vec<Box<str>>,
}

impl Default for Contract {
    fn default() -> Self {
        Contract::new(Group::DEFAULT.to_vec(), Jitter::default())
    }
}

impl Contract {
    /// A contract that is not yet [made ready](Self::for_limits) for any limits.
    pub fn new(groups: Vec<Group>, jitter: Jitter) -> Contract {
        Contract { groups, jitter, bodies: Vec::new() }
    }

    /// The groups that are sent.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The random part of `retry-after`.
    pub fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The same contract with the bodies of denials by these limits, which must be all limits of one matcher in order.
    #[must_use]
    pub fn for_limits(mut self, limits: &[Arc<RuleLimit>]) -> Contract {
        self.bodies = limits.iter().map(|limit| problem::body_for(limit).into()).collect();
        self
    }

    /// The answer to a request: a `RateLimitResponse`, encoded. `verdict` is the one that the client is told.
    pub fn response(&self, outcome: &Outcome<'_>, verdict: Verdict, metadata: Option<&Struct>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usual_length(outcome));
        let mut response = Writer::new(&mut bytes);
        response.number(RESPONSE_OVERALL_CODE, code(verdict));
        statuses(outcome, &mut response);
        // A fallback answer that allows has no figures to show.
        if let Some(speaker) = outcome.speaker().filter(|speaker| speaker.source != Source::Allow) {
            headers(self, speaker, verdict, &mut response);
            if verdict == Verdict::Deny && self.groups.contains(&Group::ProblemBody) {
                response.bytes(RESPONSE_RAW_BODY, self.body(outcome, speaker).as_bytes());
            }
        }
        if let Some(metadata) = metadata {
            response.bytes(RESPONSE_DYNAMIC_METADATA, &metadata.encode_to_vec());
        }
        bytes
    }

    fn body(&self, outcome: &Outcome<'_>, speaker: &Decision<'_>) -> Cow<'_, str> {
        let is_plain =
            speaker.source != Source::Deny && !speaker.never_fits && outcome.denying().count() == 1;
        let made = speaker.limit.index.find(&self.bodies).filter(|_| is_plain);
        made.map_or_else(|| problem::body(outcome, speaker).into(), |body| Cow::Borrowed(&**body))
    }
}

/// The bytes that are allocated in advance; a longer answer grows. Headers and body do not depend on the number of
/// descriptors.
fn usual_length(outcome: &Outcome<'_>) -> usize {
    512 + 32 * outcome.descriptors
}

/// Writes one status for each descriptor, in order. If a descriptor has several limits, it is that of the one that
/// would speak in the headers.
fn statuses(outcome: &Outcome<'_>, response: &mut Writer<'_>) {
    let mut rules = outcome.rules.iter().peekable();
    let mut decisions = outcome.speakers_of_descriptors().peekable();
    for descriptor in 0..outcome.descriptors {
        let matched = rules.next_if(|matched| matched.descriptor == descriptor);
        let is_unlimited = matched.is_some_and(|matched| matches!(matched.applies, Applies::Unlimited(_)));
        // A fallback answer that allows has no figures.
        let decision = decisions.next_if(|decision| decision.descriptor == descriptor);
        response.message(RESPONSE_STATUSES, |status| {
            match decision.filter(|decision| decision.source != Source::Allow) {
                Some(decision) => write_status(decision, status),
                None => {
                    status.number(STATUS_CODE, code(Verdict::Allow));
                    status.number(STATUS_LIMIT_REMAINING, if is_unlimited { u32::MAX.into() } else { 0 });
                }
            }
        });
    }
}

fn write_status(decision: &Decision<'_>, status: &mut Writer<'_>) {
    let limit = &decision.limit.limit;
    let period = limit.period();
    status.number(STATUS_CODE, code(if decision.is_over() { Verdict::Deny } else { Verdict::Allow }));
    status.message(STATUS_CURRENT_LIMIT, |current| {
        current.number(LIMIT_REQUESTS_PER_UNIT, limit.requests_per_unit().into());
        current.number(LIMIT_UNIT, unit(period.unit));
        current.bytes(LIMIT_NAME, decision.limit.name.as_bytes());
        if period.multiplier > 1 {
            current.message(LIMIT_UNIT_MULTIPLIER, |wrapper| {
                wrapper.number(WRAPPED_VALUE, period.multiplier.into());
            });
        }
    });
    status.number(STATUS_LIMIT_REMAINING, decision.remaining.into());
    status.message(STATUS_DURATION_UNTIL_RESET, |duration| {
        // A u64 of microseconds has far fewer seconds than an int64 holds.
        duration.number(DURATION_SECONDS, whole_seconds(decision.reset_us));
    });
}

/// Rounded up, so that a client that waits that many seconds does not come too early.
fn whole_seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

fn code(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Allow => Code::Ok as u64,
        Verdict::Deny => Code::OverLimit as u64,
    }
}

fn unit(unit: Unit) -> u64 {
    let unit = match unit {
        Unit::Second => rate_limit::Unit::Second,
        Unit::Minute => rate_limit::Unit::Minute,
        Unit::Hour => rate_limit::Unit::Hour,
        Unit::Day => rate_limit::Unit::Day,
        Unit::Week => rate_limit::Unit::Week,
        Unit::Month => rate_limit::Unit::Month,
        Unit::Year => rate_limit::Unit::Year,
    };
    unit as u64
}

// === headers ===

fn headers(contract: &Contract, speaker: &Decision<'_>, verdict: Verdict, response: &mut Writer<'_>) {
    let reset_s = whole_seconds(speaker.reset_us);
    for group in &contract.groups {
        match group {
            Group::RetryAfter if verdict == Verdict::Deny => {
                number(response, "retry-after", reset_s.saturating_add(contract.jitter.seconds(reset_s)));
            }
            Group::RateLimit => {
                number(response, "ratelimit-limit", speaker.limit.limit.burst().into());
                number(response, "ratelimit-remaining", speaker.remaining.into());
                number(response, "ratelimit-reset", reset_s);
            }
            Group::Structured => structured(response, speaker, reset_s),
            Group::ProblemBody if verdict == Verdict::Deny => {
                header(response, "content-type", "application/problem+json");
            }
            Group::RetryAfter | Group::ProblemBody => {}
        }
    }
}

/// `q` hits come back in the window of `w` seconds. The burst is a parameter of our own.
fn structured(response: &mut Writer<'_>, speaker: &Decision<'_>, reset_s: u64) {
    let limit = &speaker.limit.limit;
    let name = quoted_name(&speaker.limit);
    let policy = format!(
        "{name};q={};w={};tollgate-burst={}",
        limit.requests_per_unit(),
        limit.period().seconds(),
        limit.burst()
    );
    header(response, "ratelimit-policy", &policy);
    header(response, "ratelimit", &format!("{name};r={};t={reset_s}", speaker.remaining));
}

/// A String of RFC 9651: printable ASCII in quotes. Other characters of a name become `?`.
fn quoted_name(limit: &RuleLimit) -> String {
    let label = limit.label();
    let mut quoted = String::with_capacity(label.len() + 2);
    quoted.push('"');
    for letter in label.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

fn header(response: &mut Writer<'_>, name: &str, value: &str) {
    response.message(RESPONSE_HEADERS, |header| {
        header.bytes(HEADER_KEY, name.as_bytes());
        header.bytes(HEADER_VALUE, value.as_bytes());
    });
}

fn number(response: &mut Writer<'_>, name: &str, value: u64) {
    header(response, name, itoa::Buffer::new().format(value));
}

#[cfg(test)]
mod tests;
