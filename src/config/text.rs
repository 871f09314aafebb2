//! The bytes of a file as text.

use std::fmt;

use super::Position;

/// Determined by the byte order mark; UTF-8 without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16,
}

/// The position of the first bytes that are not valid in the encoding.
#[derive(Debug)]
pub(super) struct NotText {
    pub(super) at: Position,
    pub(super) encoding: Encoding,
}

/// The text; if it is UTF-16, without the byte order mark.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, NotText> {
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            NotText { at: behind(&valid), encoding: Encoding::Utf8 }
        }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let (pairs, half) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => return Err(NotText { at: behind(&text), encoding: Encoding::Utf16 }),
        }
    }
    if half.is_empty() { Ok(text) } else { Err(NotText { at: behind(&text), encoding: Encoding::Utf16 }) }
}

/// The position after this text.
fn behind(text: &str) -> Position {
    let line_start = text.rfind('\n').map_or(0, |line_break| line_break + 1);
    Position { line: text.matches('\n').count() + 1, column: text[line_start..].chars().count() + 1 }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16 => "UTF-16",
        })
    }
}
