//! Requests and answers as JSON, for clients that do not speak gRPC.
//!
//! The mapping is that of Protocol Buffers (ProtoJSON): names in camel case, or as they stand in the protocol; null
//! for the default; 64 bits also as text. An unknown name is an error.

mod answer;
mod reader;

use prost::Message as _;
use serde_json::Value;
use tonic::Status;

use super::codec;
use crate::{
    pb::{
        RateLimitDescriptor, RateLimitRequest,
        rate_limit_descriptor::{Entry, RateLimitOverride},
        rate_limit_response::rate_limit::Unit,
    },
    protocol::status::Failure,
};
pub(crate) use answer::{Answer, answer};
use reader::{Wrong, each, flag, list, number, text};

/// Reads a request, within the same bounds as one by gRPC. Fails with INVALID_ARGUMENT.
pub(crate) fn request(body: &[u8]) -> Result<RateLimitRequest, Status> {
    let read = serde_json::from_slice(body).map_err(|error| Failure::BadJson(error.to_string()))?;
    let request = whole(&read).map_err(|wrong| Failure::BadJson(wrong.to_string()))?;
    codec::request(&request.encode_to_vec()[..])
}

fn whole(value: &Value) -> Result<RateLimitRequest, Wrong> {
    let mut request = RateLimitRequest::default();
    each(value, |name, value| {
        match name {
            "domain" => text(value)?.clone_into(&mut request.domain),
            "descriptors" => request.descriptors = list(value, descriptor)?,
            "hitsAddend" | "hits_addend" => request.hits_addend = number(value)?,
            _ => return Err(Wrong::UNKNOWN),
        }
        Ok(())
    })?;
    Ok(request)
}

fn descriptor(value: &Value) -> Result<RateLimitDescriptor, Wrong> {
    let mut descriptor = RateLimitDescriptor::default();
    each(value, |name, value| {
        match name {
            "entries" => descriptor.entries = list(value, entry)?,
            "limit" => descriptor.limit = Some(limit(value)?),
            "hitsAddend" | "hits_addend" => descriptor.hits_addend = Some(number(value)?),
            "isNegativeHits" | "is_negative_hits" => descriptor.is_negative_hits = flag(value)?,
            _ => return Err(Wrong::UNKNOWN),
        }
        Ok(())
    })?;
    Ok(descriptor)
}

fn entry(value: &Value) -> Result<Entry, Wrong> {
    let mut entry = Entry::default();
    each(value, |name, value| {
        match name {
            "key" => entry.key = text(value)?.to_owned().into(),
            "value" => entry.value = text(value)?.to_owned().into(),
            _ => return Err(Wrong::UNKNOWN),
        }
        Ok(())
    })?;
    Ok(entry)
}

fn limit(value: &Value) -> Result<RateLimitOverride, Wrong> {
    let mut limit = RateLimitOverride::default();
    each(value, |name, value| {
        match name {
            "requestsPerUnit" | "requests_per_unit" => limit.requests_per_unit = number(value)?,
            "unit" => limit.unit = unit(value)?,
            "unitMultiplier" | "unit_multiplier" => limit.unit_multiplier = Some(number(value)?),
            _ => return Err(Wrong::UNKNOWN),
        }
        Ok(())
    })?;
    Ok(limit)
}

/// A name, or a number, which need not be known.
fn unit(value: &Value) -> Result<i32, Wrong> {
    match value {
        Value::String(name) => Unit::from_str_name(name).map(i32::from).ok_or(Wrong::UNIT),
        _ => number(value),
    }
}

#[cfg(test)]
mod tests;
