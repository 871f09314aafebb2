//! Values of variables as Go's standard library reads them, for `envoyproxy/ratelimit` is written in Go.

use std::time::Duration;

use crate::cli::values;

/// Unit and its length in nanoseconds, as in `time.ParseDuration`. µ has two code points.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What the text should have been, for an error that names the variable.
pub(super) type Expected = &'static str;

const SWITCH: Expected = "write true or false";
const TIME: Expected = "write a duration with its units, such as 10s or 1h30m";
const NEGATIVE: Expected = "write a duration that is not negative, such as 10s";
const WHOLE: Expected = "write a whole number";
const PORT: Expected = "write a port, such as 8081";
const FRACTION: Expected = "write a number, such as 0.8";
const MAP: Expected = "write key:value,key2:value2";

/// As `strconv.ParseBool`; on and off mean the same.
pub(super) fn switch(text: &str) -> Result<bool, Expected> {
    values::switch(text).map_err(|_not_a_switch| SWITCH)
}

/// As `time.ParseDuration`, but not below 0.
pub(super) fn time(text: &str) -> Result<Duration, Expected> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return Err(NEGATIVE);
    }
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut ns) = (unsigned, 0_u128);
    while !rest.is_empty() {
        let number_ends = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or(TIME)?;
        let (number, behind) = rest.split_at(number_ends);
        let is_unit = |letter: char| !letter.is_ascii_digit() && letter != '.';
        let unit_ends = behind.find(|letter| !is_unit(letter)).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_ends);
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(TIME)?;
        ns = ns.checked_add(nanoseconds(number, length)?).ok_or(TIME)?;
        rest = behind;
    }
    // Go keeps 63 bits of nanoseconds.
    let ns = u64::try_from(ns).ok().filter(|ns| i64::try_from(*ns).is_ok() && !unsigned.is_empty());
    ns.map(Duration::from_nanos).ok_or(TIME)
}

/// A number such as `1.5` in a unit of this length. What is finer than a nanosecond is cut off, as in Go.
fn nanoseconds(number: &str, unit: u128) -> Result<u128, Expected> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(TIME);
    }
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u128>().or(Err(TIME)) };
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let part = digits(fraction)? * unit / scale;
    digits(whole)?.checked_mul(unit).and_then(|whole| whole.checked_add(part)).ok_or(TIME)
}

/// As `strconv.ParseInt` with base 0: also `0x10`, `0o10`, `010`, `0b10` and `1_000`.
pub(super) fn whole(text: &str) -> Result<i64, Expected> {
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(two) if two.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let digits = digits.replace('_', "");
    // A second sign would be read too.
    let is_number = digits.starts_with(|digit: char| digit.is_ascii_alphanumeric());
    let number = i128::from_str_radix(&digits, radix).ok().filter(|_| is_number);
    number.and_then(|number| i64::try_from(sign * number).ok()).ok_or(WHOLE)
}

/// A whole number that a port can have; 0 is any free port.
pub(super) fn port(text: &str) -> Result<u16, Expected> {
    whole(text).ok().and_then(|number| u16::try_from(number).ok()).ok_or(PORT)
}

/// As `strconv.ParseFloat`, without hexadecimal numbers. It is finite.
pub(super) fn fraction(text: &str) -> Result<f64, Expected> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(FRACTION)
}

/// `key:value,key2:value2`. No item has a second colon.
pub(super) fn map(text: &str) -> Result<Vec<(&str, &str)>, Expected> {
    let items = text.split(',').filter(|_| !text.trim().is_empty());
    items.map(|item| item.split_once(':').filter(|(_, value)| !value.contains(':')).ok_or(MAP)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, ns) in [
            ("0", 0),
            ("150us", 150_000),
            ("150µs", 150_000),
            ("10s", 10_000_000_000),
            ("+1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1m1.5s", 61_500_000_000),
            ("0.3ns", 0),
        ] {
            assert_eq!(time(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for text in ["", "10", "s", ".s", "1x", "1 s", "1s 2s", "9999999h", "1..5s", "10d"] {
            assert_eq!(time(text), Err(TIME), "{text}");
        }
        assert_eq!(time("-1s"), Err(NEGATIVE));
    }

    #[test]
    fn whole_numbers_are_read_as_go_reads_them() {
        for (text, number) in
            [("8081", 8_081), ("0x10", 16), ("010", 8), ("0b11", 3), ("1_000", 1_000), ("-3", -3), ("0", 0)]
        {
            assert_eq!(whole(text), Ok(number), "{text}");
        }
        for text in ["", "8081 ", "1.0", "--1", "0x", "1e3", "9999999999999999999"] {
            assert_eq!(whole(text), Err(WHOLE), "{text}");
        }
    }

    #[test]
    fn switches_fractions_and_maps_are_read_as_go_reads_them() {
        assert_eq!((switch("TRUE"), switch("f"), switch("yes")), (Ok(true), Ok(false), Err(SWITCH)));
        assert_eq!((fraction("0.8"), fraction("NaN")), (Ok(0.8), Err(FRACTION)));
        assert_eq!(map("a:b,c:d"), Ok(vec![("a", "b"), ("c", "d")]));
        assert_eq!(map(""), Ok(vec![]));
        assert_eq!(map("a:b:c"), Err(MAP));
    }
}
