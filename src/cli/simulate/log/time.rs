//! The time of a line, in the forms that access logs write.

use std::fmt::Write as _;

const DAY_US: u64 = 86_400_000_000;
/// Numbers of at least this many are milliseconds, microseconds or nanoseconds since the epoch. As seconds, the first
/// would be in the year 5138.
const MILLIS_FROM: f64 = 1e11;
const MICROS_FROM: f64 = 1e14;
const NANOS_FROM: f64 = 1e17;
/// What is later than the year 2200 is no time of a log.
const LATEST_US: u64 = 7_258_118_400_000_000;

/// Microseconds since the Unix epoch. RFC 3339, also with a blank, with `/` in the date, with an offset such as
/// `+0100`, or without one, which means UTC; the common log format (`10/Oct/2026:13:55:36 -0700`); or a number since
/// the epoch, in seconds, milliseconds, microseconds or nanoseconds by its size.
pub(in crate::cli::simulate) fn parse(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"[").map_or(text, |inner| inner.strip_suffix(b"]").unwrap_or(inner));
    let is_number = text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let us = if is_number { number(text) } else { date(text).or_else(|| common(text)) };
    us.filter(|us| *us <= LATEST_US)
}

fn number(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    let number: f64 = text.parse().ok()?;
    let scale = match number {
        _ if number >= NANOS_FROM => 1e-3,
        _ if number >= MICROS_FROM => 1.0,
        _ if number >= MILLIS_FROM => 1e3,
        _ => 1e6,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^53 after the bound")]
    let us = (number * scale).round().min(1e16) as u64;
    Some(us)
}

/// `2026-11-28T12:00:00.123Z`
fn date(text: &[u8]) -> Option<u64> {
    let mut rest = Digits(text);
    let year = rest.take(4)?;
    rest.one_of(b"-/")?;
    let month = rest.take(2)?;
    rest.one_of(b"-/")?;
    let day = rest.take(2)?;
    rest.one_of(b"Tt ")?;
    let clock_us = rest.clock()?;
    instant(year, month, day, clock_us, rest.offset_us()?)
}

/// `10/Oct/2026:13:55:36 -0700`
fn common(text: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let mut rest = Digits(text);
    let day = rest.take(2)?;
    rest.one_of(b"/")?;
    let name = rest.0.get(..3)?;
    let month = MONTHS.iter().zip(1..).find(|(known, _)| **known == name)?.1;
    rest.0 = &rest.0[3..];
    rest.one_of(b"/")?;
    let year = rest.take(4)?;
    rest.one_of(b":")?;
    let clock_us = rest.clock()?;
    instant(year, month, day, clock_us, rest.offset_us()?)
}

fn instant(year: u64, month: u64, day: u64, clock_us: u64, offset_us: i64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Years are counted from March, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let us = days.checked_sub(719_468)? * DAY_US + clock_us;
    us.checked_add_signed(-offset_us)
}

/// What is left of a text.
struct Digits<'t>(&'t [u8]);

impl Digits<'_> {
    fn take(&mut self, count: usize) -> Option<u64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |sum, byte| Some(sum * 10 + u64::from(digit(*byte)?)))
    }

    fn one_of(&mut self, known: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        known.contains(first).then_some(*first)
    }

    /// `13:55:36`, and a fraction of the second if there is one.
    fn clock(&mut self) -> Option<u64> {
        let hours = self.take(2)?;
        self.one_of(b":")?;
        let minutes = self.take(2)?;
        self.one_of(b":")?;
        let seconds = self.take(2)?;
        if hours > 23 || minutes > 59 || seconds > 60 {
            return None;
        }
        let mut us = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000;
        if let Some((b'.' | b',', rest)) = self.0.split_first() {
            self.0 = rest;
            let mut worth = 100_000;
            while let Some(digit) = self.0.first().and_then(|byte| digit(*byte)) {
                us += u64::from(digit) * worth;
                worth /= 10;
                self.0 = &self.0[1..];
            }
        }
        Some(us)
    }

    fn offset_us(&mut self) -> Option<i64> {
        let text = self.0.trim_ascii_start();
        self.0 = text;
        let sign = match text.split_first() {
            None | Some((b'Z' | b'z', [])) => return Some(0),
            Some((b'+', _)) => 1,
            Some((b'-', _)) => -1,
            Some(_) => return None,
        };
        self.0 = &text[1..];
        let hours = self.take(2)?;
        if self.0.first() == Some(&b':') {
            self.0 = &self.0[1..];
        }
        let minutes = self.take(2)?;
        let seconds = i64::try_from((hours * 60 + minutes) * 60).ok()?;
        (self.0.is_empty() && hours < 24 && minutes < 60).then_some(sign * seconds * 1_000_000)
    }
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

/// `2026-11-28T12:00:00.123Z`
pub(in crate::cli::simulate) fn text(us: u64) -> String {
    let days = us / DAY_US + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month > 9);
    let month = if month < 10 { month + 3 } else { month - 9 };
    let clock = us % DAY_US;
    let (seconds, millis) = (clock / 1_000_000, clock / 1_000 % 1_000);
    let mut text = format!("{year:04}-{month:02}-{day:02}T");
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write!(text, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z").expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_forms_of_one_instant_are_one_instant() {
        let noon = 1_795_867_200_123_000;
        for form in [
            "2026-11-28T12:00:00.123Z",
            "[2026-11-28T12:00:00.123Z]",
            "2026-11-28 12:00:00,123",
            "2026/11/28T12:00:00.123+0000",
            "2026-11-28T13:30:00.123+01:30",
            "2026-11-28T04:00:00.123-08:00",
            "28/Nov/2026:12:00:00.123 +0000",
            "1795867200.123",
            "1795867200123",
            "1795867200123000",
            "1795867200123000000",
        ] {
            assert_eq!(parse(form.as_bytes()), Some(noon), "{form}");
        }
        assert_eq!(text(noon), "2026-11-28T12:00:00.123Z");
        assert_eq!(parse(b"2024-02-29T23:59:59Z"), Some(1_709_251_199_000_000));
        assert_eq!(text(1_709_251_199_000_000), "2024-02-29T23:59:59.000Z");
        assert_eq!(text(1_704_067_200_000_000), "2024-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for form in [
            "",
            "-",
            "now",
            "2026-13-01T00:00:00Z",
            "2026-11-28T25:00:00Z",
            "2026-11-28",
            "2026-11-28T12:00:00X",
            "1969-12-31T00:00:00Z",
            "9999-12-31T00:00:00Z",
            "1.2.3",
            "99999999999999999999999",
            "2026-11-28T12:00:00+99:00",
        ] {
            assert_eq!(parse(form.as_bytes()), None, "{form:?}");
        }
    }

    #[test]
    fn every_day_is_read_as_it_is_written() {
        for day in 0..60_000 {
            let us = day * DAY_US + 3_661_007_000;
            assert_eq!(parse(text(us).as_bytes()), Some(us));
        }
    }
}
