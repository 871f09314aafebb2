//! Reads the server's answers, within bounds.
//!
//! An empty descriptor has two bytes on the wire, and prost makes over a hundred of it. So the messages in a resource
//! are counted before it is decoded. Bytes that make no sense are left to prost, which refuses them.

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::{
    pb::rules::RateLimitConfig,
    protocol::wire::{Malformed, each_content},
};

/// The only type of resource that Tollgate asks for.
pub(super) const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";
/// The most messages in an answer: domains, descriptors, limits, and what is in these.
pub(super) const MAX_MESSAGES: usize = 500_000;
/// The most levels of descriptors, as in files.
const MAX_LEVELS: usize = 64;

/// An answer whose resources are not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Opaque.
    pub(super) version: String,
    /// Opaque.
    pub(super) nonce: String,
    pub(super) type_url: String,
    /// At most one more than [`MAX_MESSAGES`].
    pub(super) resources: Vec<Resource>,
}

#[derive(Debug, Default)]
pub(super) struct Resource {
    type_url: Bytes,
    value: Bytes,
}

/// Why a resource is not what was asked for.
#[derive(Debug, Error)]
pub(super) enum ResourceError {
    #[error("this is no RateLimitConfig but {0}")]
    Type(String),
    #[error("this is no RateLimitConfig")]
    Undecodable(#[source] prost::DecodeError),
    #[error("nested too deeply; {MAX_LEVELS} levels of descriptors are the maximum")]
    TooDeep,
    #[error("more than {MAX_MESSAGES} domains, descriptors and limits together")]
    TooMany,
}

// === impl Answer ===

impl Answer {
    /// Reads a `DiscoveryResponse`. Fails if it is none.
    pub(super) fn read(message: &Bytes) -> Result<Answer, Malformed> {
        let mut answer = Answer::default();
        each_content(message, |number, content| {
            match number {
                1 => answer.version = text(content)?,
                2 if answer.resources.len() <= MAX_MESSAGES => {
                    answer.resources.push(Resource::read(message, content)?);
                }
                4 => answer.type_url = text(content)?,
                5 => answer.nonce = text(content)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(answer)
    }
}

fn text(content: &[u8]) -> Result<String, Malformed> {
    str::from_utf8(content).map(str::to_owned).map_err(|_not_utf8| Malformed)
}

// === impl Resource ===

impl Resource {
    /// Reads a `google.protobuf.Any`, which is part of `message`.
    fn read(message: &Bytes, any: &[u8]) -> Result<Resource, Malformed> {
        let mut resource = Resource::default();
        each_content(any, |number, content| {
            match number {
                1 => resource.type_url = message.slice_ref(content),
                2 => resource.value = message.slice_ref(content),
                _ => {}
            }
            Ok(())
        })?;
        Ok(resource)
    }

    /// The rules of one domain. `left` is the number of messages that the answer may still have.
    pub(super) fn decode(&self, left: &mut usize) -> Result<RateLimitConfig, ResourceError> {
        if self.type_url != TYPE_URL {
            let found = String::from_utf8_lossy(&self.type_url);
            return Err(ResourceError::Type(crate::config::shorten(&found)));
        }
        Bounds { left }.count(Part::Config, &self.value, 0)?;
        RateLimitConfig::decode(self.value.clone()).map_err(ResourceError::Undecodable)
    }
}

// === bounds ===

struct Bounds<'a> {
    /// The number of messages that may still come.
    left: &'a mut usize,
}

/// A message that occurs in a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Config,
    Descriptor,
    Policy,
    Replace,
    /// A map of metadata.
    Struct,
    StructEntry,
    Value,
    List,
}

impl Bounds<'_> {
    fn count(&mut self, part: Part, bytes: &[u8], levels: usize) -> Result<(), ResourceError> {
        *self.left = self.left.checked_sub(1).ok_or(ResourceError::TooMany)?;
        let mut outcome = Ok(());
        let read = each_content(bytes, |number, content| {
            let Some(inner) = part.within(number) else { return Ok(()) };
            // prost follows metadata at most 100 messages deep, and each level of it has three.
            let levels = levels + usize::from(matches!(inner, Part::Descriptor | Part::Struct | Part::List));
            outcome = if levels > MAX_LEVELS {
                Err(ResourceError::TooDeep)
            } else {
                self.count(inner, content, levels)
            };
            // Any error ends the reading.
            if outcome.is_ok() { Ok(()) } else { Err(Malformed) }
        });
        match (outcome, read) {
            (Err(error), _) => Err(error),
            // prost says what is wrong.
            (Ok(()), Ok(()) | Err(Malformed)) => Ok(()),
        }
    }
}

impl Part {
    /// The message that the field of this number holds, if it holds one; see `proto/`.
    fn within(self, number: u64) -> Option<Part> {
        match (self, number) {
            (Part::Config, 3) | (Part::Descriptor, 4) => Some(Part::Descriptor),
            (Part::Descriptor, 3) => Some(Part::Policy),
            (Part::Descriptor, 8) | (Part::Value, 5) => Some(Part::Struct),
            (Part::Policy, 5) => Some(Part::Replace),
            (Part::Struct, 1) => Some(Part::StructEntry),
            (Part::StructEntry, 2) | (Part::List, 1) => Some(Part::Value),
            (Part::Value, 6) => Some(Part::List),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
