//! The answer of the rate-limit service.
//!
//! There is always one status for each descriptor, so that Envoy's own `x-ratelimit-*` and `retry-after` work too.

use prost::Message as _;
use prost_types::Struct;

use super::{
    Contract, Response, whole_seconds,
    writer::{Field, Writer},
};
use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
    pb::rate_limit_response::{Code, rate_limit},
};
use tollgate_core::{decision::Verdict, limit::Unit, matcher::Applies};

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

/// The headers and the body of a `RateLimitResponse`.
struct Told<'r, 'w>(&'r mut Writer<'w>);

impl Response for Told<'_, '_> {
    fn header(&mut self, name: &'static str, value: &str) {
        self.0.message(RESPONSE_HEADERS, |header| {
            header.bytes(HEADER_KEY, name.as_bytes());
            header.bytes(HEADER_VALUE, value.as_bytes());
        });
    }

    fn body(&mut self, body: &[u8]) {
        self.0.bytes(RESPONSE_RAW_BODY, body);
    }
}

impl Contract {
    /// The answer to a request: a `RateLimitResponse`, encoded. `verdict` is the one that the client is told.
    pub fn response(&self, outcome: &Outcome<'_>, verdict: Verdict, metadata: Option<&Struct>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usual_length(outcome));
        let mut response = Writer::new(&mut bytes);
        response.number(RESPONSE_OVERALL_CODE, code(verdict));
        statuses(outcome, &mut response);
        self.write(outcome, verdict, &mut Told(&mut response));
        if let Some(metadata) = metadata {
            response.bytes(RESPONSE_DYNAMIC_METADATA, &metadata.encode_to_vec());
        }
        bytes
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
