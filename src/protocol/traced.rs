//! What is recorded of a request that comes through a door: the attributes of the stable conventions for RPC and HTTP,
//! and what was decided.
//!
//! Names of rules and domains are configured. Nothing that a client chose is recorded, so paths, hosts and values are
//! left out, also where a convention wants them.

use http::{HeaderMap, Method};
use tonic::{Code, Status};

use super::Doors;
use crate::{
    limiter::Outcome,
    metrics::Door,
    traces::{End, SpanContext, Started, TraceId, named_trace},
};
use tollgate_core::decision::Verdict;

const RATE_LIMIT: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";

/// The methods that a span may be named after; any other word is a client's.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Call<'h> {
    pub(super) door: Door,
    headers: &'h HeaderMap,
    /// None: traces are off.
    started: Option<Started>,
}

impl Doors {
    pub(super) fn begin<'h>(&self, door: Door, headers: &'h HeaderMap) -> Call<'h> {
        let started = self.tracer.as_ref().map(|tracer| tracer.begin(headers));
        Call { door, headers, started }
    }

    /// Ends a call of gRPC with this status. None: OK.
    pub(super) fn end(&self, call: Call<'_>, status: Option<&Status>) {
        let (Some(tracer), Some(mut started)) = (&self.tracer, call.started) else { return };
        if started.recorded().is_none() {
            return;
        }
        let method = if call.door == Door::Authz { CHECK } else { RATE_LIMIT };
        let code = status.map_or(Code::Ok, Status::code);
        started.add("rpc.system.name", "grpc");
        started.add("rpc.method", method);
        started.add("rpc.response.status_code", word(code));
        let has_failed = is_fault_of_the_server(code);
        if has_failed {
            started.add("error.type", word(code));
        }
        tracer.end(started, End { name: method.into(), has_failed });
    }

    /// Ends a check by HTTP.
    pub(super) fn end_http(&self, call: Call<'_>, method: &Method, status: u16) {
        let (Some(tracer), Some(mut started)) = (&self.tracer, call.started) else { return };
        if started.recorded().is_none() {
            return;
        }
        let known = METHODS.iter().find(|known| **known == method.as_str());
        started.add("http.request.method", known.copied().unwrap_or("_OTHER"));
        started.add("http.response.status_code", i64::from(status));
        started.add("url.scheme", "http");
        let has_failed = status >= 500;
        if has_failed {
            started.add("error.type", status.to_string());
        }
        tracer.end(started, End { name: known.copied().unwrap_or("HTTP").into(), has_failed });
    }
}

// === impl Call ===

impl Call<'_> {
    /// The span that a batch refers to. None: the request is not recorded.
    pub(super) fn recorded(&self) -> Option<SpanContext> {
        self.started.as_ref().and_then(Started::recorded)
    }

    /// The trace that the request is part of.
    pub(super) fn trace(&self) -> Option<TraceId> {
        self.started.as_ref().map_or_else(|| named_trace(self.headers), |started| Some(started.trace()))
    }

    /// Records what was decided.
    pub(super) fn decided(&mut self, outcome: &Outcome<'_>) {
        let Some(started) = self.started.as_mut().filter(|started| started.recorded().is_some()) else {
            return;
        };
        let verdict = match outcome.verdict {
            Some(Verdict::Allow) => "allow",
            Some(Verdict::Deny) => "deny",
            None => "error",
        };
        started.add("tollgate.verdict", verdict);
        started.add("tollgate.source", outcome.source.word());
        started.add("tollgate.limits", outcome.decisions.len());
        if let Some(speaker) = outcome.speaker().or_else(|| outcome.decisions.first()) {
            started.add("tollgate.domain", speaker.limit.domain.to_string());
            started.add("tollgate.rule", speaker.limit.label().into_owned());
            started.add("tollgate.remaining", i64::from(speaker.remaining));
        }
        if let Some(error) = outcome.store_call.as_ref().and_then(|call| call.error.as_ref()) {
            started.add("tollgate.store_error", error.kind());
        }
    }
}

/// As gRPC spells it.
fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The codes that are an error on the server's side, by the conventions.
fn is_fault_of_the_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
