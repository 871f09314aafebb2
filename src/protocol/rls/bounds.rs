//! How much one request may hold, judged on the bytes before they are decoded.
//!
//! Two bytes on the wire are an empty descriptor or entry, and prost makes 64 bytes or more of each before anybody can
//! count them; other fields cost it time. So they are counted here, over the fields of the message and, where it is
//! long, over those of the messages in it. What makes no sense is left to prost, which refuses it.

use thiserror::Error;

/// The most descriptors in a request. How many limits they may match is bounded too:
/// [`MAX_BUCKETS`](crate::limiter::MAX_BUCKETS).
pub const MAX_DESCRIPTORS: usize = 1_024;

/// The most fields of all its messages together. Each entry is three: itself, its key and its value.
pub const MAX_FIELDS: usize = 64 * MAX_DESCRIPTORS;

/// The least that a descriptor takes: a tag and a length.
const SHORTEST_DESCRIPTOR: usize = 2;
/// The least that a field takes: the tag of a group.
const SHORTEST_FIELD: usize = 1;

/// A request holds more than it may; the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TooMany {
    #[error("the request has more than {MAX_DESCRIPTORS} descriptors")]
    Descriptors,
    #[error(
        "the request's descriptors have more than {MAX_FIELDS} entries, keys, values and other fields together"
    )]
    Fields,
}

/// What a request may hold; the tests have smaller ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) descriptors: usize,
    pub(super) fields: usize,
}

/// How much of it is left.
struct Left {
    bounds: Bounds,
    /// Whether the message is long enough for too many fields, so that one has to look into the messages in it.
    looks_inside: bool,
}

/// A message of the protocol that a request is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Descriptor,
    Entry,
    Limit,
    Wrapper,
}

/// One field as the wire shows it.
enum Field<'a> {
    /// Its number and content: a message, or a text.
    LengthDelimited(u64, &'a [u8]),
    /// A number.
    Scalar,
    GroupStart,
    GroupEnd,
}

/// Bytes of which fields are read, from the first on.
struct Wire<'a>(&'a [u8]);

// === impl Bounds ===

impl Bounds {
    pub(super) const OF_REQUEST: Bounds = Bounds { descriptors: MAX_DESCRIPTORS, fields: MAX_FIELDS };

    /// Fails where the message holds too many. Nearly every message is too short for that, and is not looked at.
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
                // One that ends before it has begun makes no sense.
                Field::GroupEnd if groups == 0 => break,
                Field::GroupEnd => groups -= 1,
                // What stands in a group is no field of this message.
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
                Field::LengthDelimited(..) | Field::Scalar => {}
            }
        }
        Ok(())
    }
}

// === impl Message ===

impl Message {
    /// The message that the field of this number holds, if it holds one: as in `proto/`.
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

// === impl Wire ===

impl<'a> Wire<'a> {
    /// The next field; none at the end, and where the bytes make no sense.
    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        match tag & 7 {
            0 => self.varint().map(|_| Field::Scalar),
            1 => self.bytes(8).map(|_| Field::Scalar),
            2 => {
                let length = self.varint()?;
                self.bytes(length).map(|content| Field::LengthDelimited(tag >> 3, content))
            }
            3 => Some(Field::GroupStart),
            4 => Some(Field::GroupEnd),
            5 => self.bytes(4).map(|_| Field::Scalar),
            _ => None,
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
