//! What an act did, as text for people.

use std::fmt::Write as _;

use super::super::explain::{Asked, reserved, shown};
use crate::hands::{BucketReport, Report};
use tollgate_core::act::{Act, Level, Shown};

/// Which running replicas know of the act at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Redis was changed behind their backs.
    None,
    /// The one that did it.
    One,
}

/// The values are shown as they were typed.
pub(super) fn text(report: &Report, asked: &Asked, act: Act, told: Told) -> String {
    let mut out = format!("domain {}\n", shown(report.domain.as_bytes()));
    let mut descriptor = 0;
    for bucket in &report.buckets {
        if bucket.descriptor != descriptor {
            descriptor = bucket.descriptor;
            let _ = writeln!(out, "\ndescriptor {descriptor}: {}", entries(asked, descriptor));
        }
        put_bucket(&mut out, bucket, act, report.now_us);
    }
    out.push_str(match (act, told) {
        (Act::Peek, _) => "",
        (_, Told::None) => "\nReplicas that deny this key from memory notice within a second.\n",
        (_, Told::One) => {
            "\nThat replica admits at once. Others on the same Redis that deny this key from memory notice within a \
             second.\n"
        }
    });
    out
}

/// `1 bucket` or `2 buckets`.
pub(super) fn buckets(report: &Report) -> String {
    match report.buckets.len() {
        1 => "this bucket".to_owned(),
        several => format!("these {several} buckets"),
    }
}

fn entries(asked: &Asked, number: usize) -> String {
    let descriptor = number.checked_sub(1).and_then(|index| asked.descriptors.get(index));
    let entries = descriptor.map(|descriptor| descriptor.entries.as_slice()).unwrap_or_default();
    let entries: Vec<String> =
        entries.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value))).collect();
    entries.join(", ")
}

fn put_bucket(out: &mut String, bucket: &BucketReport, act: Act, now_us: u64) {
    let enforcement = match bucket.enforcement.as_str() {
        "quota" => ", quota: denies only if no other quota fits",
        "shadow" => ", shadow mode: never denies",
        _ => "",
    };
    let _ = writeln!(out, "  limit {}: {}{enforcement}", shown(bucket.limit.as_bytes()), bucket.numbers);
    let _ = writeln!(out, "    bucket {}", shown(bucket.bucket.as_bytes()));
    let (Shown { before, after, .. }, burst) = (bucket.shown, bucket.burst);
    let _ = match act {
        Act::Peek => writeln!(out, "    level {after} of {burst}: {}", next(&bucket.shown)),
        Act::Reset => writeln!(out, "    level {before} before, {after} of {burst} now"),
        Act::Grant(hits) => {
            let given_back = bucket.given_back();
            let is_all =
                i64::try_from(hits.get()).is_ok_and(|hits| given_back.0 >= hits.saturating_mul(1_000));
            let why = if is_all { "" } else { ", since it is full then" };
            writeln!(
                out,
                "    level {before} before, {after} of {burst} now: {given_back} of {hits} hits given back{why}"
            )
        }
    };
    let _ = match bucket.shown.full_at_us {
        Some(full_at_us) => {
            writeln!(out, "    full and forgotten in {}", span(full_at_us.saturating_sub(now_us)))
        }
        None => writeln!(out, "    full, so nothing is stored for it"),
    };
    if bucket.shown.is_reserved {
        let _ = writeln!(out, "    {}", reserved("hits"));
    }
}

fn next(shown: &Shown) -> String {
    match (shown.next_us, shown.after.remaining()) {
        (None, _) => "no request ever passes".to_owned(),
        (Some(0), 1) => "one hit would pass now".to_owned(),
        (Some(0), hits) => format!("{hits} hits would pass now"),
        (Some(us), _) => format!("the next hit passes in {}", span(us)),
    }
}

/// An amount of time, rounded up.
fn span(us: u64) -> String {
    let ms = us.div_ceil(1_000);
    let minutes = ms.div_ceil(60_000);
    if ms < 1_000 {
        format!("{ms} ms")
    } else if ms < 600_000 {
        format!("{} s", Level(i64::try_from(ms).unwrap_or(i64::MAX)))
    } else if minutes < 48 * 60 {
        format!("{} h {} min", minutes / 60, minutes % 60)
    } else {
        format!("{} days {} h", minutes / 1_440, minutes % 1_440 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_rounded_up_and_shown_in_units_of_its_size() {
        for (us, text) in [
            (0, "0 ms"),
            (1, "1 ms"),
            (999_001, "1 s"),
            (4_500_000, "4.5 s"),
            (599_999_000, "599.999 s"),
            (600_000_001, "0 h 11 min"),
            (7_260_000_000, "2 h 1 min"),
            (172_800_000_000, "2 days 0 h"),
            (266_400_000_000, "3 days 2 h"),
        ] {
            assert_eq!(span(us), text);
        }
    }
}
