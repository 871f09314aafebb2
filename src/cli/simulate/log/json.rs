//! A line as one JSON object: each text, number and truth value is a field; fields of an object within have its name and
//! a dot before theirs.

use std::{fmt, io::Write as _};

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{Fields, Names};

/// Adds the fields of a line, or says at which byte it is no JSON object.
pub(super) fn read(line: &[u8], names: &mut Names, fields: &mut Fields) -> Result<(), usize> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let mut scratch = Vec::new();
    let object = Object { names, fields, prefix: "", scratch: &mut scratch };
    let read = json.deserialize_map(object).and_then(|()| json.end());
    // Only the position is told: the message may quote what a client sent.
    read.map_err(|error| error.column())
}

struct Object<'a> {
    names: &'a mut Names,
    fields: &'a mut Fields,
    /// Empty, or the name of the object with its dot.
    prefix: &'a str,
    scratch: &'a mut Vec<u8>,
}

struct Key<'a> {
    names: &'a mut Names,
    prefix: &'a str,
}

struct Value<'a> {
    object: Object<'a>,
    name: Option<usize>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { names, fields, prefix, scratch } = self;
        while let Some(name) = map.next_key_seed(Key { names, prefix })? {
            let object = Object { names, fields, prefix, scratch };
            map.next_value_seed(Value { object, name })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        if self.prefix.is_empty() {
            return Ok(self.names.index(name));
        }
        Ok(self.names.index(&format!("{}{name}", self.prefix)))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.name {
            Some(_) => from.deserialize_any(self),
            None => from.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl Value<'_> {
    fn put(self, value: &[u8]) {
        if let Some(name) = self.name {
            self.object.fields.put(name, value);
        }
    }

    fn put_number<E: serde::de::Error>(self, number: impl fmt::Display) -> Result<(), E> {
        self.object.scratch.clear();
        write!(self.object.scratch, "{number}").map_err(E::custom)?;
        if let Some(name) = self.name {
            self.object.fields.put(name, self.object.scratch);
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(text.as_bytes());
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.put_number(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.put_number(number)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.put_number(number)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Value { object, name } = self;
        let name = name.ok_or_else(|| A::Error::custom("a name"))?;
        let prefix = format!("{}.", object.names.text(name));
        Object { prefix: &prefix, ..object }.visit_map(map)
    }
}
