//! Reads the fields of a protobuf message one by one, without decoding what is not asked for.

/// One field as it is encoded.
pub(crate) enum Field<'a> {
    /// The number of the field, and its content: a message or a text.
    LengthDelimited(u64, &'a [u8]),
    Varint(u64, u64),
    Fixed64(u64, u64),
    Fixed32,
    GroupStart,
    GroupEnd,
}

/// The bytes that are left to read.
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

/// The bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Calls `read` with the number and the content of each length-delimited field of a message, in their order. The
/// contents of groups and all other fields are skipped.
pub(crate) fn each_content<'a>(
    message: &'a [u8],
    mut read: impl FnMut(u64, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let (mut wire, mut groups) = (Wire(message), 0_usize);
    while let Some(field) = wire.field() {
        match field {
            Field::LengthDelimited(number, content) if groups == 0 => read(number, content)?,
            Field::GroupStart => groups += 1,
            Field::GroupEnd => groups = groups.checked_sub(1).ok_or(Malformed)?,
            _ => {}
        }
    }
    if wire.0.is_empty() && groups == 0 { Ok(()) } else { Err(Malformed) }
}

// === impl Wire ===

impl<'a> Wire<'a> {
    /// The next field. None at the end, or if the bytes make no sense; then some are left.
    pub(crate) fn field(&mut self) -> Option<Field<'a>> {
        let start = self.0;
        let field = self.next();
        if field.is_none() {
            self.0 = start;
        }
        field
    }

    fn next(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let number = tag >> 3;
        match tag & 7 {
            0 => self.varint().map(|value| Field::Varint(number, value)),
            1 => {
                let bytes = *self.bytes(8)?.first_chunk()?;
                Some(Field::Fixed64(number, u64::from_le_bytes(bytes)))
            }
            2 => {
                let length = self.varint()?;
                self.bytes(length).map(|content| Field::LengthDelimited(number, content))
            }
            3 => Some(Field::GroupStart),
            4 => Some(Field::GroupEnd),
            5 => self.bytes(4).map(|_| Field::Fixed32),
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
