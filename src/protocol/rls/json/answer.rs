//! Writes answers. A field that has its default value is left out.

use prost_types::{Struct, value::Kind};
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::{
    base64,
    pb::{
        HeaderValue, RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
    },
    protocol::{reply::Reply, status::Failure},
};

/// An answer, and its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) body: String,
}

/// The same answer as JSON.
pub(crate) fn answer(reply: &Reply) -> Result<Answer, Status> {
    let response: RateLimitResponse = reply.decode().map_err(Failure::Undecodable)?;
    let mut fields = Map::new();
    put(&mut fields, "overallCode", code(response.overall_code()));
    put(&mut fields, "statuses", response.statuses.iter().map(status).collect());
    put(&mut fields, "responseHeadersToAdd", response.response_headers_to_add.iter().map(header).collect());
    put(&mut fields, "requestHeadersToAdd", response.request_headers_to_add.iter().map(header).collect());
    put(&mut fields, "rawBody", json!(base64::encode(&response.raw_body)));
    if let Some(metadata) = &response.dynamic_metadata {
        fields.insert("dynamicMetadata".to_owned(), object(metadata));
    }
    Ok(Answer { code: response.overall_code(), body: Value::Object(fields).to_string() })
}

/// Leaves out default values.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_default = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Bool(_) | Value::Object(_) => false,
    };
    if !is_default {
        fields.insert(name.to_owned(), value);
    }
}

/// Null for the default.
fn code(code: Code) -> Value {
    if code == Code::Unknown { Value::Null } else { json!(code.as_str_name()) }
}

fn status(status: &DescriptorStatus) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "code", code(status.code()));
    put(&mut fields, "currentLimit", status.current_limit.as_ref().map_or(Value::Null, limit));
    put(&mut fields, "limitRemaining", json!(status.limit_remaining));
    // Whole seconds are all that is sent.
    let reset = status.duration_until_reset.as_ref().map(|reset| format!("{}s", reset.seconds));
    put(&mut fields, "durationUntilReset", json!(reset));
    Value::Object(fields)
}

fn limit(limit: &RateLimit) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "name", json!(limit.name));
    put(&mut fields, "requestsPerUnit", json!(limit.requests_per_unit));
    let unit = if limit.unit() == Unit::Unknown { Value::Null } else { json!(limit.unit().as_str_name()) };
    put(&mut fields, "unit", unit);
    if let Some(multiplier) = limit.unit_multiplier {
        fields.insert("unitMultiplier".to_owned(), json!(multiplier));
    }
    Value::Object(fields)
}

fn header(header: &HeaderValue) -> Value {
    json!({ "key": String::from_utf8_lossy(&header.key), "value": String::from_utf8_lossy(&header.value) })
}

fn object(fields: &Struct) -> Value {
    Value::Object(fields.fields.iter().map(|(name, value)| (name.clone(), any(value))).collect())
}

fn any(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::BoolValue(flag)) => json!(flag),
        Some(Kind::StructValue(fields)) => object(fields),
        Some(Kind::ListValue(list)) => list.values.iter().map(any).collect(),
    }
}
