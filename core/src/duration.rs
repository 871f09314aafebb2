//! Durations as people type them: `10ms`, `1.5s`, `2m`; and as whole microseconds.
//!
//! A unit is always required, because a bare number means milliseconds to some and seconds to others.
//! The arithmetic is exact to the nanosecond; what is finer is refused, not rounded.

use std::time::Duration;

use thiserror::Error;

/// Unit and its length in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is no number at its beginning.
    #[error("a duration is a number and a unit, such as 10ms or 1.5s")]
    NoNumber,
    /// The unit is missing, or is none of those known.
    #[error("a duration needs a unit: us, ms, s, m or h")]
    UnknownUnit,
    /// It is not a whole number of nanoseconds.
    #[error("a duration is not divided finer than a nanosecond")]
    TooFine,
    /// It is longer than a `Duration` can be.
    #[error("a duration is at most 584 years")]
    TooLong,
}

/// The duration that `text` says. Fails without a number or a unit, on a sign or a blank before them, on
/// fractions of a nanosecond and on what 64 bits of nanoseconds cannot hold.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(DurationError::NoNumber);
    }
    let (_, unit_ns) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(DurationError::UnknownUnit)?;

    let fraction = fraction.trim_end_matches('0');
    // An hour has 3.6e12 ns, so a digit beyond the thirteenth is finer than a nanosecond of any unit.
    if fraction.len() > 13 {
        return Err(DurationError::TooFine);
    }
    let places = u32::try_from(fraction.len()).expect("at most 13");
    let scale = 10_u128.pow(places);
    let count: u128 = format!("{whole}{fraction}").parse().or(Err(DurationError::TooLong))?;
    let scaled_ns = count.checked_mul(u128::from(unit_ns)).ok_or(DurationError::TooLong)?;
    if scaled_ns % scale != 0 {
        return Err(DurationError::TooFine);
    }
    u64::try_from(scaled_ns / scale).map(Duration::from_nanos).or(Err(DurationError::TooLong))
}

/// Whole microseconds, rounded down; `u64::MAX` for a duration that has more.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_exactly_as_written() {
        for (text, expected) in [
            ("10ms", Duration::from_millis(10)),
            ("1.5s", Duration::from_millis(1_500)),
            ("2m", Duration::from_secs(120)),
            ("1h", Duration::from_secs(3_600)),
            ("250us", Duration::from_micros(250)),
            ("250µs", Duration::from_micros(250)),
            ("0s", Duration::ZERO),
            ("0.000000001s", Duration::from_nanos(1)),
            ("0.10s", Duration::from_millis(100)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", DurationError::NoNumber),
            ("ms", DurationError::NoNumber),
            (".5s", DurationError::NoNumber),
            ("1.s", DurationError::NoNumber),
            ("1.2.3s", DurationError::NoNumber),
            ("-1s", DurationError::NoNumber),
            ("10", DurationError::UnknownUnit),
            ("10 ms", DurationError::UnknownUnit),
            ("10sec", DurationError::UnknownUnit),
            ("0.5ns", DurationError::TooFine),
            ("0.00000000000001h", DurationError::TooFine),
            ("6000000h", DurationError::TooLong),
            ("99999999999999999999999999999999999999999s", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
