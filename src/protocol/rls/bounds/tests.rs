use bytes::Bytes;
use proptest::{
    prelude::{Just, Strategy, any, prop},
    prop_assert_eq, prop_oneof, proptest,
};
use prost::Message as _;

use super::{Bounds, MAX_DESCRIPTORS, MAX_FIELDS, TooMany};
use crate::pb::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry};

const SMALL: Bounds = Bounds { descriptors: 3, fields: 12 };

/// Bytes, and the number of fields in them.
#[derive(Debug, Clone, Default)]
struct Written {
    bytes: Vec<u8>,
    fields: usize,
}

impl Written {
    fn text(bytes: &[u8]) -> Written {
        Written { bytes: bytes.to_vec(), fields: 0 }
    }

    /// A field with that content. Its tag and length have more bytes than they need, which is allowed.
    fn as_field(&self, number: u64, padding: usize) -> Written {
        let (tag, length) = (varint(number << 3 | 2, padding), varint(self.bytes.len() as u64, padding));
        Written { bytes: [tag, length, self.bytes.clone()].concat(), fields: self.fields + 1 }
    }

    fn joined(all: Vec<Written>) -> Written {
        all.into_iter().fold(Written::default(), |joined, one| Written {
            bytes: [joined.bytes, one.bytes].concat(),
            fields: joined.fields + one.fields,
        })
    }
}

fn varint(mut value: u64, padding: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    for _ in 0..padding {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    bytes
}

/// Several of these, and between them fields that the protocol does not know: numbers, texts and groups.
fn message(known: impl Strategy<Value = Written> + 'static) -> impl Strategy<Value = Written> {
    // It would be a descriptor or an entry if it were not in a group or a text.
    let inside = prop_oneof![Just([0x0a, 0]), Just([0x12, 0])];
    let unknown = inside.prop_flat_map(|inside| {
        let group = [&[0x4b][..], &inside, &[0x53, 0x54, 0x4c]].concat();
        prop_oneof![
            Just(Written { bytes: vec![0x58, 0x96, 0x01], fields: 1 }),
            Just(Written { bytes: [&[0x61][..], &[2; 8]].concat(), fields: 1 }),
            Just(Written { bytes: [&[0x6d][..], &[2; 4]].concat(), fields: 1 }),
            Just(Written::text(&inside).as_field(14, 0)),
            Just(Written { bytes: group, fields: 5 }),
        ]
    });
    let field = prop_oneof![6 => known, 1 => unknown];
    prop::collection::vec(field, 0..6).prop_map(Written::joined)
}

fn as_field(content: impl Strategy<Value = Written>, number: u64) -> impl Strategy<Value = Written> {
    (content, 0..3_usize).prop_map(move |(content, padding)| content.as_field(number, padding))
}

fn requests() -> impl Strategy<Value = Written> {
    let text = || prop_oneof![Just(Written::default()), Just(Written::text(&[0x0a; 300]))];
    let entry = message(prop_oneof![as_field(text(), 1), as_field(text(), 2)]);
    let number = || message(Just(Written { bytes: vec![0x08, 7], fields: 1 }));
    let limit =
        message(prop_oneof![Just(Written { bytes: vec![0x10, 2], fields: 1 }), as_field(number(), 3),]);
    let descriptor = message(prop_oneof![
        6 => as_field(entry, 1),
        1 => as_field(limit, 2),
        1 => as_field(number(), 3),
    ]);
    message(prop_oneof![
        6 => as_field(descriptor, 2),
        1 => as_field(Just(Written::text(b"edge")), 1),
    ])
}

proptest! {
    /// In addition, only what prost takes for a descriptor counts as one.
    #[test]
    fn what_is_counted_on_the_wire_is_what_prost_decodes(request in requests()) {
        let decoded = RateLimitRequest::decode(&request.bytes[..]).expect("it is sound");
        let descriptors = decoded.descriptors.len();
        let check = |descriptors, fields| Bounds { descriptors, fields }.check(&request.bytes);
        prop_assert_eq!(check(descriptors, request.fields), Ok(()));
        if let Some(fewer) = descriptors.checked_sub(1) {
            prop_assert_eq!(check(fewer, usize::MAX), Err(TooMany::Descriptors));
        }
        if let Some(fewer) = request.fields.checked_sub(1) {
            prop_assert_eq!(check(usize::MAX / 2, fewer), Err(TooMany::Fields));
        }
    }

    #[test]
    fn bytes_without_sense_are_left_to_prost(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let checked = SMALL.check(&bytes);
        if let Ok(request) = RateLimitRequest::decode(&bytes[..]) && request.descriptors.len() > 3 {
            assert!(checked.is_err());
        }
    }
}

#[test]
fn as_many_as_may_be_pass_and_one_more_does_not() {
    let check = |message: &[u8]| Bounds::REQUEST.check(message);
    let descriptors = |count| [0x12, 0].repeat(count);
    assert_eq!(check(&descriptors(MAX_DESCRIPTORS)), Ok(()));
    assert_eq!(check(&descriptors(MAX_DESCRIPTORS + 1)), Err(TooMany::Descriptors));

    // 1,024 descriptors of 20 entries each, as Envoy writes them.
    let entry = Entry { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value") };
    let descriptor = RateLimitDescriptor { entries: vec![entry; 20], ..RateLimitDescriptor::default() };
    let request = |descriptors| RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 1 };
    let full = request(vec![descriptor.clone(); MAX_DESCRIPTORS]).encode_to_vec();
    assert_eq!(check(&full), Ok(()));

    // One descriptor with fields beyond the bound, whatever they are.
    for field in [[0x0a, 0], [0x12, 0], [0x1a, 0], [0x72, 0], [0x70, 0], [0x4b, 0x4c]] {
        let content = field.repeat(MAX_FIELDS);
        let bytes = Written { bytes: content, fields: 0 }.as_field(2, 0).bytes;
        assert_eq!(check(&bytes), Err(TooMany::Fields), "{field:?}");
        assert!(check(&field.repeat(MAX_FIELDS + 1)).is_err(), "{field:?}");
    }
    let keys = Written { bytes: [0x0a, 0].repeat(MAX_FIELDS), fields: 0 };
    let entry = keys.as_field(1, 0).as_field(2, 0).bytes;
    assert_eq!(check(&entry), Err(TooMany::Fields));

    // A long value is one field, whatever it contains.
    let value = Written { bytes: [0x0a, 0].repeat(1 << 20), fields: 0 };
    assert_eq!(check(&value.as_field(2, 0).as_field(1, 0).as_field(2, 0).bytes), Ok(()));
}

/// Fields before the first byte that makes no sense count, since prost decodes up to there.
#[test]
fn too_many_are_refused_though_the_end_makes_no_sense() {
    let message = [[0x12, 0].repeat(MAX_DESCRIPTORS + 1), vec![0xff; 12]].concat();
    assert_eq!(Bounds::REQUEST.check(&message), Err(TooMany::Descriptors));
}
