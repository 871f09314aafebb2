//! Writes a protobuf message field by field, directly into the bytes that are sent.
//!
//! An answer has a dozen small fields. If it were built from messages first, nearly each of them would cost an
//! allocation, and each length would be computed twice before a byte is written. Default values are left out, as proto3
//! requires. The tests read with prost.

/// The number of a field in its message.
pub(super) type Field = u8;

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// Writes one message behind what is in the buffer already.
#[derive(Debug)]
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(bytes)
    }

    /// Writes a number that is not negative, or the number of an enum's value.
    pub(super) fn number(&mut self, field: Field, value: u64) {
        if value > 0 {
            self.tag(field, VARINT);
            varint(self.0, value);
        }
    }

    /// Writes a string, bytes, or a message that is encoded already.
    pub(super) fn bytes(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.tag(field, LENGTH_DELIMITED);
            varint(self.0, value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    /// Writes a message within this one, even if it is empty.
    pub(super) fn message(&mut self, field: Field, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, LENGTH_DELIMITED);
        let at = self.0.len();
        // Most are shorter than 128 bytes, so their length takes one byte. For others it is moved afterwards.
        self.0.push(0);
        write(&mut Writer(self.0));
        let length = self.0.len() - at - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.0[at] = short,
            _ => {
                let mut head = Vec::new();
                varint(&mut head, length as u64);
                self.0.splice(at..=at, head);
            }
        }
    }

    fn tag(&mut self, field: Field, wire_type: u8) {
        debug_assert!(field < 16, "a larger number takes a second byte");
        self.0.push(field << 3 | wire_type);
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::{HeaderValue, RateLimitResponse};

    #[test]
    fn what_is_written_is_what_prost_reads() {
        for length in [0, 1, 127, 128, 300, 20_000] {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.number(1, 2);
            writer.message(3, |header| {
                header.bytes(1, b"name");
                header.bytes(2, &vec![b'x'; length]);
            });
            writer.bytes(5, &vec![7; length]);
            let header =
                HeaderValue { key: "name".into(), value: vec![b'x'; length].into(), ..Default::default() };
            let expected = RateLimitResponse {
                overall_code: 2,
                response_headers_to_add: vec![header],
                raw_body: vec![7; length].into(),
                ..Default::default()
            };
            assert_eq!(RateLimitResponse::decode(&bytes[..]).unwrap(), expected, "{length} bytes");
            assert_eq!(bytes, expected.encode_to_vec(), "{length} bytes");
        }
    }

    #[test]
    fn numbers_of_any_size_are_written_as_prost_writes_them() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1] {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes).number(1, value);
            let seconds = i64::try_from(value).unwrap();
            assert_eq!(bytes, prost_types::Duration { seconds, nanos: 0 }.encode_to_vec(), "{value}");
        }
    }
}
