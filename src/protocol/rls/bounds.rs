//! The bounds of one request, checked on the bytes before they are decoded.
//!
//! An empty descriptor or entry has two bytes on the wire, and prost makes 64 bytes or more of each before it can be
//! counted; other fields cost it time. So fields are counted here: those of the message and, if it is long, those of
//! the messages in it. Bytes that make no sense are left to prost, which refuses them.

use thiserror::Error;

use crate::protocol::wire::{Field, Wire};

/// The most descriptors in a request. The number of limits that they match has a bound of its own:
/// [`MAX_BUCKETS`](tollgate_core::applied::MAX_BUCKETS).
pub const MAX_DESCRIPTORS: usize = 1_024;

/// The most fields in all messages of a request together. Each entry counts as three: itself, its key and its value.
pub const MAX_FIELDS: usize = 64 * MAX_DESCRIPTORS;

/// The fewest bytes of a descriptor: a tag and a length.
const SHORTEST_DESCRIPTOR: usize = 2;
/// The fewest bytes of a field: the tag of a group.
const SHORTEST_FIELD: usize = 1;

/// No message of at most this many bytes exceeds a bound, so it need not be checked.
pub(super) const SHORT_MESSAGE: usize = SHORTEST_DESCRIPTOR * MAX_DESCRIPTORS;

/// A request exceeds a bound, which is the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TooMany {
    #[error("the request has more than {MAX_DESCRIPTORS} descriptors")]
    Descriptors,
    #[error(
        "the request's descriptors have more than {MAX_FIELDS} entries, keys, values and other fields together"
    )]
    Fields,
}

/// Numbers that a request may not exceed. The tests have smaller ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) descriptors: usize,
    pub(super) fields: usize,
}

/// The part of the bounds that is left while a request is counted.
struct Left {
    bounds: Bounds,
    /// Whether the request is long enough to have too many fields, so that the messages in it have to be counted too.
    looks_inside: bool,
}

/// A message of the protocol that occurs in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Descriptor,
    Entry,
    Limit,
    Wrapper,
}

// === impl Bounds ===

impl Bounds {
    pub(super) const REQUEST: Bounds = Bounds { descriptors: MAX_DESCRIPTORS, fields: MAX_FIELDS };

    /// Fails if the message exceeds a bound. Nearly every message is too short for that, and is not read.
    pub(super) fn check(self, message: &[u8]) -> Result<(), TooMany> {
        let looks_inside = message.len() > SHORTEST_FIELD * self.fields;
        if !looks_inside && message.len() <= SHORTEST_DESCRIPTOR * self.descriptors {
            return Ok(());
        }
        Left { bounds: self, looks_inside }.count(Message::Request, message)
    }
}

// === impl Left ===

impl Left {
    fn count(&mut self, message: Message, bytes: &[u8]) -> Result<(), TooMany> {
        let mut wire = Wire(bytes);
        let mut groups = 0_usize;
        while let Some(field) = wire.field() {
            self.bounds.fields = self.bounds.fields.checked_sub(1).ok_or(TooMany::Fields)?;
            match field {
                Field::GroupStart => groups += 1,
                // A group that ends before it has begun makes no sense.
                Field::GroupEnd if groups == 0 => break,
                Field::GroupEnd => groups -= 1,
                // The content of a group is not a field of this message.
                Field::LengthDelimited(number, content) if groups == 0 => {
                    let Some(inner) = message.within(number) else { continue };
                    if inner == Message::Descriptor {
                        let left = self.bounds.descriptors.checked_sub(1);
                        self.bounds.descriptors = left.ok_or(TooMany::Descriptors)?;
                    }
                    if self.looks_inside {
                        self.count(inner, content)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

// === impl Message ===

impl Message {
    /// The message that the field of this number holds, if it holds one; see `proto/`.
    fn within(self, number: u64) -> Option<Message> {
        match (self, number) {
            (Message::Request, 2) => Some(Message::Descriptor),
            (Message::Descriptor, 1) => Some(Message::Entry),
            (Message::Descriptor, 2) => Some(Message::Limit),
            (Message::Descriptor | Message::Limit, 3) => Some(Message::Wrapper),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
