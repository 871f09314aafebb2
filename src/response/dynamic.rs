//! Dynamic metadata, which Envoy keeps beside the request for its access log and for later filters.
//!
//! It has the shape of envoyproxy/ratelimit: the domain, the descriptors as they were sent, and the metadata of the rules
//! whose descriptors passed, so that a route can depend on it. It repeats what the client sent, so it is off by default.
//! `source`, `rule`, `remaining` and `wait_seconds` say in addition where the answer comes from, and hold nothing of the
//! client's. For fallback answers `source` is sent even if the rest is off.

use std::{collections::BTreeMap, iter};

use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::{
    limiter::Outcome,
    pb::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::RateLimitOverride},
};
use tollgate_core::{
    actions::BuiltDescriptor,
    descriptor::{Hits, Request},
    rules::{self, Metadata, MetadataValue},
};

/// The source of the outcome if it is a fallback answer, or else that of its first decision that is one. None if no
/// decision is.
pub fn fallback_metadata(outcome: &Outcome<'_>) -> Option<Struct> {
    let mut sources =
        iter::once(outcome.source).chain(outcome.decisions.iter().map(|decision| decision.source));
    let source = text(sources.find(|source| source.is_fallback_answer())?.word());
    Some(Struct { fields: BTreeMap::from([("source".to_owned(), source)]) })
}

/// The metadata of one answer.
pub fn metadata(request: &RateLimitRequest, outcome: &Outcome<'_>) -> Struct {
    let descriptors = list(request.descriptors.iter().map(descriptor));
    let mut fields = common(&request.domain, descriptors, outcome);
    if request.hits_addend != 0 {
        fields.insert("hitsAddend".to_owned(), number(f64::from(request.hits_addend)));
    }
    Struct { fields }
}

/// The metadata of one answer of ext_authz, with the descriptors that Tollgate made.
pub fn metadata_of_built(
    request: &Request<'_>,
    built: &[BuiltDescriptor<'_>],
    outcome: &Outcome<'_>,
) -> Struct {
    let descriptors = built.iter().map(|built| {
        let pairs = list(built.entries().map(|entry| pair(entry.key, entry.value)));
        let mut fields = BTreeMap::from([("entries".to_owned(), pairs)]);
        if let Some(Hits::Take(hits) | Hits::GiveBack(hits)) = built.hits {
            #[allow(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
            fields.insert("hitsAddend".to_owned(), number(hits as f64));
        }
        value(Kind::StructValue(Struct { fields }))
    });
    let domain = String::from_utf8_lossy(request.domain);
    Struct { fields: common(&domain, list(descriptors), outcome) }
}

fn common(domain: &str, descriptors: Value, outcome: &Outcome<'_>) -> BTreeMap<String, Value> {
    let mut fields = provenance(outcome);
    fields.extend([("domain".to_owned(), text(domain)), ("descriptors".to_owned(), descriptors)]);
    let merged = passed(outcome);
    if !merged.is_empty() {
        fields.insert("metadata".to_owned(), map(&merged));
    }
    fields
}

fn pair(key: &[u8], value: &[u8]) -> Value {
    text(&format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
}

/// The metadata of the descriptors that have a limit and the status OK, even if others deny the request. The values of
/// the first one win. A descriptor has none if its limits are unlimited, replaced, or brought along by the request.
fn passed(outcome: &Outcome<'_>) -> Metadata {
    let mut merged = Metadata::new();
    // Both are in the order of the descriptors.
    let mut decisions = outcome.speakers_of_descriptors().peekable();
    for matched in &outcome.rules {
        while decisions.next_if(|decision| decision.descriptor < matched.descriptor).is_some() {}
        let decision = decisions.next_if(|decision| decision.descriptor == matched.descriptor);
        if decision.is_some_and(|decision| !decision.is_over()) {
            rules::merge(&mut merged, &matched.rule.metadata);
        }
    }
    merged
}

/// Where the answer comes from: the limit whose figures the headers show. Empty if no limit applied.
fn provenance(outcome: &Outcome<'_>) -> BTreeMap<String, Value> {
    let Some(speaker) = outcome.speaker() else { return BTreeMap::new() };
    BTreeMap::from([
        ("source".to_owned(), text(speaker.source.word())),
        ("rule".to_owned(), text(&speaker.limit.label())),
        ("remaining".to_owned(), number(f64::from(speaker.remaining))),
        ("wait_seconds".to_owned(), number(seconds(speaker.reset_us))),
    ])
}

/// Rounded as in the headers.
fn seconds(us: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
    let seconds = us.div_ceil(1_000_000) as f64;
    seconds
}

fn descriptor(wire: &RateLimitDescriptor) -> Value {
    let pairs = list(wire.entries.iter().map(|entry| pair(&entry.key, &entry.value)));
    let mut fields = BTreeMap::from([("entries".to_owned(), pairs)]);
    if let Some(limit) = &wire.limit {
        fields.insert("limit".to_owned(), text(&limit_text(limit)));
    }
    if let Some(hits) = wire.hits_addend {
        #[allow(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
        fields.insert("hitsAddend".to_owned(), number(hits as f64));
    }
    value(Kind::StructValue(Struct { fields }))
}

/// The limit in protobuf's text format.
fn limit_text(limit: &RateLimitOverride) -> String {
    let unit = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK"];
    let unit = usize::try_from(limit.unit).ok().and_then(|number| unit.get(number)).unwrap_or(&"UNKNOWN");
    format!("requests_per_unit:{} unit:{unit}", limit.requests_per_unit)
}

// === values ===

fn map(metadata: &Metadata) -> Value {
    let fields = metadata.iter().map(|(key, value)| (key.clone(), metadata_value(value))).collect();
    value(Kind::StructValue(Struct { fields }))
}

fn metadata_value(metadata: &MetadataValue) -> Value {
    match metadata {
        MetadataValue::Null => value(Kind::NullValue(0)),
        MetadataValue::Bool(bool) => value(Kind::BoolValue(*bool)),
        MetadataValue::Number(float) => number(*float),
        MetadataValue::Text(string) => text(string),
        MetadataValue::List(items) => list(items.iter().map(metadata_value)),
        MetadataValue::Map(fields) => map(fields),
    }
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    value(Kind::ListValue(ListValue { values: items.collect() }))
}

fn text(string: &str) -> Value {
    value(Kind::StringValue(string.to_owned()))
}

fn number(float: f64) -> Value {
    value(Kind::NumberValue(float))
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}
