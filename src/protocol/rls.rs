//! The wire: decodes `ShouldRateLimit`, asks the limiter, counts, and encodes what came out.
//!
//! A denial is an answer. A gRPC error says that there is no decision: INVALID_ARGUMENT for a request
//! without meaning, UNAVAILABLE when the store has no answer and the limits say `error`.

mod bounds;
pub mod codec;
mod counting;
mod explain;
mod reply;
mod strays;

use std::{error::Error, sync::Arc};

use tonic::{Request, Response, Status};

use crate::{
    error,
    limiter::{BadRequest, Descriptor, Limiter, Outcome},
    metrics::Metrics,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::RateLimitOverride,
        rate_limit_service_server::RateLimitService,
    },
    response::dynamic,
    rules::{CompiledRules, CurrentRules},
};
pub use bounds::{MAX_DESCRIPTORS, MAX_FIELDS};
pub use reply::Reply;
use tollgate_core::{
    decision::Verdict,
    descriptor::{Entry, Hits},
    limit::{DefaultAlgorithm, Limit, LimitSpec, Period, Unit},
};

/// One runtime's service.
#[derive(Debug)]
pub struct Rls {
    limiter: Limiter,
    rules: Arc<CurrentRules>,
    metrics: Arc<Metrics>,
    modes: Modes,
}

/// Switches for all rules at once; each is off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Every request is told OK. What is charged, counted and told of each limit stays as it is.
    pub shadow: bool,
    pub dynamic_metadata: bool,
    /// Log lines at debug show the values of descriptors, which may be secrets.
    pub show_values: bool,
}

// === impl Rls ===

impl Rls {
    pub fn new(limiter: Limiter, rules: Arc<CurrentRules>, metrics: Arc<Metrics>) -> Rls {
        Rls { limiter, rules, metrics, modes: Modes::default() }
    }

    #[must_use]
    pub fn modes(self, modes: Modes) -> Rls {
        Rls { modes, ..self }
    }

    async fn decide<'m>(
        &self,
        rules: &'m CompiledRules,
        request: &RateLimitRequest,
    ) -> Result<Outcome<'m>, BadRequest> {
        let mut algorithm = DefaultAlgorithm::default();
        for (index, wire) in request.descriptors.iter().filter_map(|wire| wire.limit.as_ref()).enumerate() {
            if index == 0
                && let Some(domain) = rules.matcher().domain(request.domain.as_bytes())
            {
                algorithm = domain.default_algorithm;
            }
            limit(wire, algorithm)?;
        }
        let descriptors =
            request.descriptors.iter().map(|wire| descriptor(wire, request.hits_addend, algorithm));
        self.limiter.decide(rules.matcher(), request.domain.as_bytes(), descriptors).await
    }
}

#[tonic::async_trait]
impl RateLimitService for Rls {
    async fn should_rate_limit(&self, request: Request<RateLimitRequest>) -> Result<Response<Reply>, Status> {
        let request = request.get_ref();
        let rules = self.rules.get();
        let outcome = match self.decide(&rules, request).await {
            Ok(outcome) => outcome,
            Err(bad) => {
                // The server counts it, as it does calls that could not be read.
                explain::refusal(request, &bad);
                return Err(refused(&bad));
            }
        };
        self.count(rules.counters(), request, &outcome);
        strays::look_for(rules.warnings(), request, rules.matcher(), &outcome);
        explain::answer(request, rules.matcher(), &outcome, self.modes);
        match outcome.verdict {
            Some(verdict) => {
                let told = if self.modes.shadow { Verdict::Allow } else { verdict };
                let metadata = match self.modes.dynamic_metadata {
                    true => Some(dynamic::metadata(request, &outcome)),
                    false => dynamic::of_fallback(&outcome),
                };
                let response = rules.contract().response(&outcome, told, metadata.as_ref());
                Ok(Response::new(Reply::from_bytes(response)))
            }
            None => Err(Status::unavailable("the store has no answer")),
        }
    }
}

/// The limit that a descriptor brings along, counted as its domain counts limits that do not say. The protocol names seven units; the reference reads 7 as a week.
fn limit(wire: &RateLimitOverride, default: DefaultAlgorithm) -> Result<Limit, BadRequest> {
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
    let spec =
        LimitSpec { algorithm: default.of(period, None), ..LimitSpec::new(wire.requests_per_unit, period) };
    spec.check().map_err(BadRequest::Limit)
}

fn descriptor(
    wire: &RateLimitDescriptor,
    hits_of_request: u32,
    default: DefaultAlgorithm,
) -> Descriptor<impl Iterator<Item = Entry<'_>> + Clone> {
    Descriptor {
        entries: entries(wire),
        hits: Hits::new(wire.hits_addend, hits_of_request, wire.is_negative_hits),
        // One that is wrong was refused before.
        limit: wire.limit.as_ref().and_then(|wire| limit(wire, default).ok()),
    }
}

fn entries(wire: &RateLimitDescriptor) -> impl Iterator<Item = Entry<'_>> + Clone {
    wire.entries.iter().map(|entry| Entry { key: &entry.key, value: &entry.value })
}

fn refused(bad: &(dyn Error + 'static)) -> Status {
    Status::invalid_argument(error::chain(bad).to_string())
}
