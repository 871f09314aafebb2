//! The protocols by which requests come in and answers go out.
//!
//! Each protocol parses its messages once into a [`Request`], asks the limiter, and encodes the outcome. What is common
//! to all stands here and beside: counting outcomes, warning about requests that no rule is for (`unmatched`),
//! explaining decisions in the log (`explain`), and the gRPC status of each error (`status`).

pub mod authz;
mod explain;
pub mod reply;
pub mod rls;
pub(crate) mod status;
mod traced;
mod unmatched;
pub(crate) mod wire;

use std::sync::Arc;

use tonic::Status;
use tracing::{Level, enabled};

use crate::{
    decision_log::DecisionLog,
    hands::{HandsError, Order, Report},
    limiter::{Limiter, Outcome},
    live::Recorder,
    logging::REQUESTS,
    metrics::{Metrics, TraceIds},
    pb::{
        RateLimitRequest, authorization_server::Authorization, rate_limit_service_server::RateLimitService,
    },
    rules::{CompiledRules, CurrentRules},
    store::StoreError,
    traces::Tracer,
};
use authz::AuthzSettings;
use tollgate_core::{applied::WithoutLimit, descriptor::Request};
use traced::Call;

/// Switches for all rules at once. Each is off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Every request is answered with OK. What is charged, counted and reported for each limit stays the same.
    pub shadow: bool,
    /// Answers carry dynamic metadata for Envoy.
    pub dynamic_metadata: bool,
    /// Log lines at debug level show the values of descriptors, which may be secrets.
    pub show_values: bool,
}

/// One runtime's front doors: what answers Envoy's rate-limit service and ext_authz, by the same limiter and rules.
#[derive(Debug)]
pub struct Doors {
    limiter: Limiter,
    rules: Arc<CurrentRules>,
    metrics: Arc<Metrics>,
    modes: Modes,
    authz: AuthzSettings,
    decision_log: Option<DecisionLog>,
    recorder: Option<Arc<Recorder>>,
    tracer: Option<Tracer>,
}

// === impl Doors ===

impl Doors {
    /// Doors that decide by `rules`, which may be replaced while they serve. All modes are off.
    pub fn new(limiter: Limiter, rules: Arc<CurrentRules>, metrics: Arc<Metrics>) -> Doors {
        let (modes, authz) = (Modes::default(), AuthzSettings::default());
        let (decision_log, recorder, tracer) = (None, None, None);
        Doors { limiter, rules, metrics, modes, authz, decision_log, recorder, tracer }
    }

    /// The same doors in other modes.
    #[must_use]
    pub fn modes(self, modes: Modes) -> Doors {
        Doors { modes, ..self }
    }

    /// The same doors, whose decisions are noted for the live page.
    #[must_use]
    pub fn recording(self, recorder: Arc<Recorder>) -> Doors {
        Doors { recorder: Some(recorder), ..self }
    }

    /// The same doors with other settings for ext_authz.
    #[must_use]
    pub fn authz(self, authz: AuthzSettings) -> Doors {
        Doors { authz, ..self }
    }

    /// The same doors, with a log of their decisions.
    #[must_use]
    pub fn decision_log(self, log: Option<DecisionLog>) -> Doors {
        Doors { decision_log: log, ..self }
    }

    /// The same doors, which record requests.
    #[must_use]
    pub fn tracer(self, tracer: Option<Tracer>) -> Doors {
        Doors { tracer, ..self }
    }

    /// Counts the outcome of a request, and tells operators what they should know about it.
    fn observe(
        &self,
        call: &mut Call<'_>,
        rules: &CompiledRules,
        request: &Request<'_>,
        outcome: &Outcome<'_>,
    ) {
        self.metrics.count_outcome(call.door, rules.counters(), request, outcome);
        if let Some(recorder) = &self.recorder {
            recorder.record(rules.counters(), request, outcome);
        }
        if let Some(span) = call.recorded() {
            self.metrics.exemplify(call.door, outcome, TraceIds { trace: span.trace.0, span: span.span });
        }
        call.decided(outcome);
        if let Some(log) = &self.decision_log {
            log.note(call.door, request, outcome, || call.trace());
        }
        let WithoutLimit { unknown_domain, unmatched, .. } = outcome.without_limit;
        if unknown_domain > 0 || unmatched > 0 {
            unmatched::warn(rules.warnings(), request, rules.matcher(), outcome);
        }
        if enabled!(target: REQUESTS, Level::DEBUG) {
            explain::answer(request, rules.matcher(), outcome, self.modes);
        }
    }
}

/// What a server serves on each of its runtimes.
pub trait Service: RateLimitService + Authorization {
    /// Answers a check of ext_authz by HTTP, whose body does not matter.
    fn check_http(
        &self,
        parts: &http::request::Parts,
    ) -> impl Future<Output = Result<http::Response<Vec<u8>>, Status>> + Send;

    /// Does what an operator ordered to the buckets that a request like this asks. A service without buckets refuses.
    fn act(
        &self,
        _order: &Order,
        _message: &RateLimitRequest,
    ) -> impl Future<Output = Result<Report, HandsError<StoreError>>> + Send {
        async { Err(HandsError::NoLimit("this service keeps no buckets".to_owned())) }
    }

    /// Is called once, after the last request.
    fn finish(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl Service for Doors {
    async fn check_http(&self, parts: &http::request::Parts) -> Result<http::Response<Vec<u8>>, Status> {
        self.authorize_http(parts).await
    }

    async fn act(&self, order: &Order, message: &RateLimitRequest) -> Result<Report, HandsError<StoreError>> {
        let rules = self.rules.get();
        let matcher = rules.matcher();
        let request = rls::parse(message, matcher)?;
        self.limiter.act(matcher, &request, order).await
    }

    async fn finish(&self) {
        self.limiter.finish().await;
    }
}
