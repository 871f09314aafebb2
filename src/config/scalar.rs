//! Reads scalars as Go's `yaml.v2` does: YAML 1.1, in which `010` is 8 and `yes` is true.
//!
//! The files of envoyproxy/ratelimit were written for that library, so its reading is the contract.

use super::yaml::Scalar;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// A fraction, an exponent, infinity, or a whole number from 2^63. No key takes one.
    Float,
    Text,
}

const TRUE: [&str; 11] = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: [&str; 11] = ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];
const NULL: [&str; 5] = ["", "~", "null", "Null", "NULL"];
const NOT_A_NUMBER: [&str; 3] = [".nan", ".NaN", ".NAN"];
const INFINITY: [&str; 3] = [".inf", ".Inf", ".INF"];

pub(super) fn resolve(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    if !scalar.plain {
        Value::Text
    } else if NULL.contains(&text) {
        Value::Null
    } else if TRUE.contains(&text) {
        Value::Bool(true)
    } else if FALSE.contains(&text) {
        Value::Bool(false)
    } else if NOT_A_NUMBER.contains(&text) {
        Value::Float
    } else {
        number(text).unwrap_or(Value::Text)
    }
}

/// The number that a [`Value::Float`] spells.
pub(super) fn float(text: &str) -> f64 {
    let plain = text.replace('_', "");
    let (unsigned, is_negative) = unsigned(&plain);
    let size = match whole(unsigned) {
        #[allow(clippy::cast_precision_loss, reason = "the nearest is what is wanted")]
        Some(size) => size as f64,
        None if INFINITY.contains(&unsigned) => f64::INFINITY,
        None => unsigned.parse().unwrap_or(f64::NAN),
    };
    if is_negative { -size } else { size }
}

/// The numbers of [`to_u32`], in the words of messages.
pub(super) const U32: &str = "a whole number from 0 to 4294967295";

pub(super) fn to_u32(scalar: &Scalar) -> Option<u32> {
    match resolve(scalar) {
        Value::Int(int) => u32::try_from(int).ok(),
        _ => None,
    }
}

/// Like [`to_u32`], but a fraction is cut off, as the reference does for numbers that it only decodes.
pub(super) fn cut_to_u32(scalar: &Scalar) -> Option<u32> {
    match resolve(scalar) {
        // Adding zero removes the sign of minus zero.
        Value::Float => format!("{:.0}", float(&scalar.text).trunc() + 0.0).parse().ok(),
        _ => to_u32(scalar),
    }
}

/// Underscores are ignored; if a dot comes first, they must be between digits.
fn number(text: &str) -> Option<Value> {
    if INFINITY.contains(&unsigned(text).0) {
        return Some(Value::Float);
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let plain = text.replace('_', "");
    if text.starts_with('.') {
        return are_between_digits(text).then(|| fraction(&plain)).flatten();
    }
    let (digits, is_negative) = unsigned(&plain);
    match whole(digits) {
        // The sign is applied first: -2^63 is an i64, 2^63 is not.
        Some(size) => {
            let signed = if is_negative { -i128::from(size) } else { i128::from(size) };
            match i64::try_from(signed) {
                Ok(int) => Some(Value::Int(int)),
                Err(_) if digits.len() < plain.len() => fraction(digits),
                Err(_) => Some(Value::Float),
            }
        }
        None => fraction(digits).or_else(|| {
            let behind = plain.strip_prefix("0b")?;
            i64::from_str_radix(behind, 2).ok().map(Value::Int)
        }),
    }
}

/// A decimal number with a point or an exponent. A number that no double can hold is text.
fn fraction(digits: &str) -> Option<Value> {
    let is_decimal = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_finite = is_decimal && digits.parse::<f64>().is_ok_and(f64::is_finite);
    is_finite.then_some(Value::Float)
}

/// Removes all underscores.
fn are_between_digits(text: &str) -> bool {
    let pieces: Vec<&str> = text.split('_').collect();
    pieces.windows(2).all(|pair| {
        pair[0].ends_with(|last: char| last.is_ascii_digit())
            && pair[1].starts_with(|first: char| first.is_ascii_digit())
    })
}

/// The text without its sign, and whether that is a minus.
fn unsigned(text: &str) -> (&str, bool) {
    (text.strip_prefix(['+', '-']).unwrap_or(text), text.starts_with('-'))
}

/// Hexadecimal with `0x`, binary with `0b`, octal with `0o` or a leading zero, or decimal.
fn whole(digits: &str) -> Option<u64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` accepts a sign, which is not allowed after a prefix.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}
