//! The value of an entry.

use std::{fmt, ops::Deref};

use smallvec::SmallVec;

/// Bytes that are borrowed from the request or the configuration, or were written for this entry.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Borrowed(&'a [u8]),
    Written(SmallVec<[u8; Value::INLINE]>),
}

/// Writes a [`Value`] from bytes or by `write!`.
#[derive(Debug, Default)]
pub(super) struct Writer(SmallVec<[u8; Value::INLINE]>);

// === impl Value ===

impl Value<'_> {
    /// Written values of up to this length need no allocation. The longest IPv6 address with a prefix length has 43
    /// bytes.
    pub const INLINE: usize = 64;

    /// At most the first `bytes` of this value. Like Envoy's `:N`, this may cut a character in two.
    pub(super) fn cut(self, bytes: usize) -> Self {
        match self {
            Value::Borrowed(value) => Value::Borrowed(&value[..bytes.min(value.len())]),
            Value::Written(mut value) => {
                value.truncate(bytes);
                Value::Written(value)
            }
        }
    }
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Value::Borrowed(value) => value,
            Value::Written(value) => value,
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value<'_> {}

// === impl Writer ===

impl Writer {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn put_byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn finish<'a>(self) -> Value<'a> {
        Value::Written(self.0)
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}
