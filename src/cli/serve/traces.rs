//! The flags for traces. The rest is said by the variables of OpenTelemetry, which [`otel`] reads.

mod otel;

use clap::Args;
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    cli::{serve::ServeError, values, variables},
    metrics::Metrics,
    traces::{Protocol, Ratio, TraceThread},
};
use otel::Otel;

const SPANS: &str = "Spans by what became of them. dropped: more are recorded than can be sent, so sample fewer; failed: the \
    collector cannot be reached or does not take them, and the log says why; rejected: the collector took the others.";

#[derive(Debug, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub(super) struct TraceFlags {
    /// Send traces by OTLP: on or off [default: on if OTEL_EXPORTER_OTLP_ENDPOINT, its variant for traces or
    /// OTEL_TRACES_EXPORTER is set].
    ///
    /// The variables of OpenTelemetry (OTEL_...) say where and what; docs/traces.md lists them. The flags here take
    /// precedence over them.
    #[arg(long, env = "TOLLGATE_TRACES", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = values::switch)]
    traces: Option<bool>,

    /// http/protobuf or grpc [default: OTEL_EXPORTER_OTLP_PROTOCOL, or else http/protobuf].
    #[arg(long, env = "TOLLGATE_TRACES_PROTOCOL", value_name = "PROTOCOL", value_parser = protocol)]
    traces_protocol: Option<Protocol>,

    /// Part of the requests that are recorded, from 0 to 1, where the caller has not decided
    /// [default: OTEL_TRACES_SAMPLER, or else 1].
    #[arg(long, env = "TOLLGATE_TRACES_RATIO", value_name = "RATIO", value_parser = ratio)]
    traces_ratio: Option<Ratio>,

    /// What the collector is told of this service, such as service.name=tollgate, in the form of
    /// OTEL_RESOURCE_ATTRIBUTES, and over those.
    #[arg(long, env = "TOLLGATE_TRACES_RESOURCE", value_name = "NAME=VALUE,...")]
    traces_resource: Option<String>,
}

/// A variable of OpenTelemetry whose value leaves nothing to do.
#[derive(Debug, Error)]
#[error("{variable}{}: {instead}", shown(.value.as_deref()))]
pub struct WrongTraces {
    variable: String,
    /// None if no message may repeat it.
    value: Option<String>,
    /// What to write.
    instead: String,
}

fn shown(value: Option<&str>) -> String {
    value.map(|value| format!(" is {value:?}")).unwrap_or_default()
}

impl TraceFlags {
    /// The thread that sends traces, if there are to be any.
    pub(super) fn start(&self, metrics: &Metrics) -> Result<Option<TraceThread>, ServeError> {
        let mut otel = Otel::new(variables::value);
        let is_on = self.traces.unwrap_or_else(|| otel.asks_for_traces());
        if !is_on || otel.is_disabled() {
            return Ok(None);
        }
        let settings = otel.settings(self).map_err(ServeError::Traces)?;
        for warning in otel.warnings() {
            warn!("{warning}");
        }
        let (collector, protocol) = (&settings.endpoint, name(settings.protocol));
        info!(%collector, protocol, "traces are on");
        let thread = TraceThread::start(settings).map_err(ServeError::TraceThread)?;
        metrics.show_counts("tollgate_spans_total", SPANS, "result", thread.counts());
        Ok(Some(thread))
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http/protobuf",
        Protocol::Grpc => "grpc",
    }
}

fn protocol(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "http/protobuf" => Ok(Protocol::Http),
        "grpc" => Ok(Protocol::Grpc),
        _ => Err("write http/protobuf or grpc"),
    }
}

fn ratio(text: &str) -> Result<Ratio, &'static str> {
    Ratio::parse(text).ok_or("write a number from 0 to 1")
}
