//! The metadata that Envoy sends along, of which only what an action asks for is decoded.

use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

use crate::protocol::wire::{Field, Wire, each_content};
use tollgate_core::actions::{Metadata, MetadataSource, MetadataValue, write_number};

// Numbers of fields, by message.
const METADATA_FILTERS: u64 = 1;
const STRUCT_FIELDS: u64 = 1;
const PAIR_KEY: u64 = 1;
const PAIR_VALUE: u64 = 2;
const VALUE_NUMBER: u64 = 2;
const VALUE_TEXT: u64 = 3;
const VALUE_BOOL: u64 = 4;
const VALUE_STRUCT: u64 = 5;
const VALUE_LIST: u64 = 6;

/// Both kinds of metadata, encoded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contexts<'a> {
    pub(super) dynamic: &'a [u8],
    pub(super) route: &'a [u8],
}

impl Metadata for Contexts<'_> {
    fn find(&self, source: MetadataSource, namespace: &str, path: &[String]) -> Option<MetadataValue<'_>> {
        let metadata = match source {
            MetadataSource::Dynamic => self.dynamic,
            MetadataSource::Route => self.route,
        };
        let mut fields = entry(metadata, METADATA_FILTERS, namespace)?;
        let Some((last, above)) = path.split_last() else {
            return Struct::decode(fields)
                .ok()
                .map(|fields| MetadataValue::Json(json(&Kind::StructValue(fields))));
        };
        for key in above {
            fields = match content(entry(fields, STRUCT_FIELDS, key)?)? {
                Field::LengthDelimited(VALUE_STRUCT, fields) => fields,
                _ => return None,
            };
        }
        value(entry(fields, STRUCT_FIELDS, last)?)
    }
}

/// The value of a key in the map that is a field of a message.
fn entry<'a>(message: &'a [u8], map: u64, wanted: &str) -> Option<&'a [u8]> {
    let mut found = None;
    let read = each_content(message, |number, pair| {
        if number != map {
            return Ok(());
        }
        let (mut key, mut value) = (&b""[..], &b""[..]);
        each_content(pair, |number, content| {
            match number {
                PAIR_KEY => key = content,
                PAIR_VALUE => value = content,
                _ => {}
            }
            Ok(())
        })?;
        if key == wanted.as_bytes() {
            found = Some(value);
        }
        Ok(())
    });
    read.is_ok().then_some(found)?
}

/// The last field of a `Value`, which is the one that counts.
fn content(value: &[u8]) -> Option<Field<'_>> {
    let (mut wire, mut last) = (Wire(value), None);
    while let Some(field) = wire.field() {
        last = Some(field);
    }
    last
}

fn value(encoded: &[u8]) -> Option<MetadataValue<'_>> {
    match content(encoded)? {
        Field::Fixed64(VALUE_NUMBER, bits) => Some(MetadataValue::Number(f64::from_bits(bits))),
        Field::LengthDelimited(VALUE_TEXT, text) => str::from_utf8(text).ok().map(MetadataValue::Text),
        Field::Varint(VALUE_BOOL, value) => Some(MetadataValue::Bool(value != 0)),
        Field::LengthDelimited(VALUE_STRUCT | VALUE_LIST, _) => {
            let value = Value::decode(encoded).ok()?;
            value.kind.map(|kind| MetadataValue::Json(json(&kind)))
        }
        _ => None,
    }
}

fn json(kind: &Kind) -> String {
    let mut text = String::new();
    write_json(&mut text, kind);
    text
}

/// Writes a value without blanks. Nesting is bounded, because prost has decoded it.
fn write_json(text: &mut String, kind: &Kind) {
    match kind {
        Kind::NullValue(_) => text.push_str("null"),
        Kind::NumberValue(number) => write_number(text, *number).expect("a string takes everything"),
        Kind::StringValue(string) => write_text(text, string),
        Kind::BoolValue(value) => text.push_str(if *value { "true" } else { "false" }),
        Kind::StructValue(fields) => {
            text.push('{');
            for (index, (key, value)) in fields.fields.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_text(text, key);
                text.push(':');
                write_json(text, value.kind.as_ref().unwrap_or(&Kind::NullValue(0)));
            }
            text.push('}');
        }
        Kind::ListValue(list) => {
            text.push('[');
            for (index, value) in list.values.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_json(text, value.kind.as_ref().unwrap_or(&Kind::NullValue(0)));
            }
            text.push(']');
        }
    }
}

fn write_text(text: &mut String, string: &str) {
    text.push_str(&serde_json::Value::from(string).to_string());
}
