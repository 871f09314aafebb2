//! Envoy's rate-limit service: parses `ShouldRateLimit`, asks the limiter, counts, and encodes the outcome.
//!
//! A denial is an answer. A gRPC error means that there is no decision: INVALID_ARGUMENT if the request has no meaning,
//! UNAVAILABLE if the store has no answer and the limits say `error`.

mod bounds;
pub mod codec;
pub(crate) mod json;

use smallvec::SmallVec;
use tonic::{Request as Asked, Response, Status};

use super::{Doors, explain, reply::Reply, status::Failure, traced::Call};
use crate::{
    metrics::Door,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::RateLimitOverride,
        rate_limit_service_server::RateLimitService,
    },
    response::dynamic,
    rules::CompiledRules,
};
pub(crate) use bounds::TooMany;
pub use bounds::{MAX_DESCRIPTORS, MAX_FIELDS};
use tollgate_core::{
    decision::Verdict,
    descriptor::{BadRequest, Descriptor, Entry, Hits, Request},
    limit::{Defaults, Limit, Period, Unit},
    matcher::Matcher,
};

impl Doors {
    async fn rate_limit(
        &self,
        call: &mut Call<'_>,
        rules: &CompiledRules,
        message: &RateLimitRequest,
    ) -> Result<Reply, Failure> {
        let matcher = rules.matcher();
        let request = parse(message, matcher)?;
        let outcome = self.limiter.decide_in(call.recorded(), matcher, &request).await?;
        self.observe(call, rules, &request, &outcome);
        let shadow = self.modes.shadow.then_some(Verdict::Allow);
        let told = shadow.or(outcome.verdict).ok_or(Failure::NoAnswer)?;
        let metadata = if self.modes.dynamic_metadata {
            Some(dynamic::metadata(message, &outcome))
        } else if outcome.has_store_error() {
            dynamic::fallback_metadata(&outcome)
        } else {
            None
        };
        Ok(Reply::from_bytes(rules.contract().response(&outcome, told, metadata.as_ref())))
    }
}

#[tonic::async_trait]
impl RateLimitService for Doors {
    async fn should_rate_limit(&self, request: Asked<RateLimitRequest>) -> Result<Response<Reply>, Status> {
        let (headers, message) = (request.metadata().as_ref(), request.get_ref());
        let mut call = self.begin(Door::Rls, headers);
        let answer = match self.rate_limit(&mut call, &self.rules.get(), message).await {
            Ok(reply) => Ok(Response::new(reply)),
            Err(failure) => {
                // The server counts it, together with calls that could not be decoded.
                if let Failure::BadRequest(bad) = &failure {
                    explain::refusal(message.domain.as_bytes(), bad);
                }
                Err(failure.into())
            }
        };
        self.end(call, answer.as_ref().err());
        answer
    }
}

// === parsing ===

/// The request that a message means. It borrows all bytes. Limits that it brings along are counted by the defaults
/// of their domain.
pub(super) fn parse<'w>(message: &'w RateLimitRequest, matcher: &Matcher) -> Result<Request<'w>, BadRequest> {
    let domain = message.domain.as_bytes();
    let has_limit = message.descriptors.iter().any(|wire| wire.limit.is_some());
    let rules = if has_limit { matcher.domain(domain) } else { None };
    let defaults = rules.map(|rules| rules.defaults).unwrap_or_default();
    let mut request = Request { domain, descriptors: SmallVec::new() };
    request.descriptors.reserve(message.descriptors.len());
    for wire in &message.descriptors {
        let hits = Hits::new(wire.hits_addend, message.hits_addend, wire.is_negative_hits);
        let limit = wire.limit.as_ref().map(|wire| limit(wire, defaults)).transpose()?;
        request.descriptors.push(Descriptor { limit, ..Descriptor::new(entries(wire), hits) });
    }
    Ok(request)
}

fn entries(wire: &RateLimitDescriptor) -> impl Iterator<Item = Entry<'_>> {
    wire.entries.iter().map(|entry| Entry { key: &entry.key, value: &entry.value })
}

/// The limit that a descriptor brings along. The protocol names seven units; the reference reads 7 as a week.
fn limit(wire: &RateLimitOverride, defaults: Defaults) -> Result<Limit, BadRequest> {
    let unit = match wire.unit {
        1 => Unit::Second,
        2 => Unit::Minute,
        3 => Unit::Hour,
        4 => Unit::Day,
        5 => Unit::Month,
        6 => Unit::Year,
        7 => Unit::Week,
        unknown => return Err(BadRequest::UnknownUnit(unknown)),
    };
    let period = Period { unit, multiplier: wire.unit_multiplier.unwrap_or(1) };
    defaults.spec(wire.requests_per_unit, period).check().map_err(BadRequest::Limit)
}
