//! Spans as OTLP has them.

use prost::Message as _;

use super::span::{Kind, Span, Value};
use crate::pb::otlp::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Wire, Status, span, status},
};

/// The conventions that the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.45.0";
const SAMPLED: u32 = 1;
/// The parent is known to be in this process, or not (0x200), as the protocol has it since 1.1.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The bytes of a request that hands over these spans.
pub(super) fn encode(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let attributes = resource.iter().map(|(key, value)| text(key, value)).collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(wire).collect(),
        schema_url: SCHEMA.to_owned(),
    }];
    let resource = Some(Resource { attributes });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: SCHEMA.to_owned() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn wire(span: &Span) -> Wire {
    let remote = if span.parent == 0 { 0 } else { IS_REMOTE };
    let links = span.links.iter().map(|link| span::Link {
        trace_id: link.trace.0.to_be_bytes().to_vec(),
        span_id: link.span.to_be_bytes().to_vec(),
        flags: SAMPLED | HAS_IS_REMOTE,
    });
    let parent = if span.parent == 0 { Vec::new() } else { span.parent.to_be_bytes().to_vec() };
    Wire {
        trace_id: span.context.trace.0.to_be_bytes().to_vec(),
        span_id: span.context.span.to_be_bytes().to_vec(),
        trace_state: span.state.to_string(),
        parent_span_id: parent,
        flags: SAMPLED | HAS_IS_REMOTE | remote,
        name: span.name.to_string(),
        kind: match span.kind {
            Kind::Server => span::SpanKind::Server,
            Kind::Client => span::SpanKind::Client,
        }
        .into(),
        start_time_unix_nano: span.start_us.saturating_mul(1_000),
        end_time_unix_nano: span.start_us.saturating_add(span.took_us).saturating_mul(1_000),
        attributes: span.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        links: links.collect(),
        dropped_links_count: span.links_left_out,
        status: span
            .has_failed
            .then(|| Status { code: status::StatusCode::Error.into(), message: String::new() }),
    }
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    match value {
        Value::Text(value) => text(name, value),
        Value::Number(number) => key_value(name, any_value::Value::IntValue(*number)),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, any_value::Value::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
