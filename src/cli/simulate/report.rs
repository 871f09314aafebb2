//! What came of a simulation, in each of its forms.

mod html;
mod json;
mod plot;
mod text;
mod yaml;

pub(super) use html::html;
pub(super) use json::{json, proposals_json};
pub(super) use text::text;
pub(super) use yaml::yaml;

use super::{
    changes::Changes,
    log::{Seen, time},
    making::Missed,
    side::Side,
    suggest::Suggesting,
    tally::{LimitTally, Values},
    windows::Windows,
};
use tollgate_core::{
    limit::{Algorithm, Limit, Unit},
    matcher::{LimitIndex, RuleLimit},
};

/// A simulation that has ended.
pub(super) struct Simulated<'r, 'c> {
    pub(super) seen: &'r Seen,
    pub(super) missed: &'r Missed,
    /// The names of the log's fields.
    pub(super) fields: String,
    pub(super) side: &'r Side<'c>,
    pub(super) against: Option<(&'r Side<'c>, &'r Changes<'c>)>,
    pub(super) top: usize,
    pub(super) values: Values,
}

/// Proposals from a log.
pub(super) struct Proposed<'r> {
    pub(super) seen: &'r Seen,
    pub(super) missed: &'r Missed,
    pub(super) suggesting: &'r Suggesting,
    pub(super) unit: Unit,
    pub(super) burst: Option<u32>,
    pub(super) percentile: f64,
}

/// A limit that was asked for something.
struct Row<'r> {
    limit: &'r RuleLimit,
    tally: &'r LimitTally,
    /// Requests that it denies and fixed windows admit.
    more: u64,
    /// The most hits above burst + refill that fixed windows admitted in one interval.
    excess: f64,
}

/// The limits that were asked, those that denied most first.
fn rows<'r>(side: &'r Side<'_>) -> Vec<Row<'r>> {
    let limits = side.matcher().limits().iter().zip(&side.tally.limits);
    let asked = limits.filter(|(_, tally)| tally.asked > 0);
    let mut rows: Vec<Row<'r>> = asked
        .map(|(limit, tally)| {
            let window = windows_of(side.windows(), limit);
            Row {
                limit,
                tally,
                more: window.map_or(0, |(more, _)| more),
                excess: window.map_or(0.0, |(_, most)| most),
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.tally.denied, row.tally.over)));
    rows
}

fn windows_of(windows: Option<&Windows>, limit: &RuleLimit) -> Option<(u64, f64)> {
    let LimitIndex::Configured(index) = limit.index else { return None };
    let window = windows?.limit(index);
    Some((window.more, window.excess))
}

/// Its domain, path and name: `edge route_login.api_key (daily)`.
fn place(limit: &RuleLimit) -> String {
    let tier = limit.tier.as_ref().map(|tier| format!(" [{tier}]")).unwrap_or_default();
    let name = if limit.name.is_empty() { String::new() } else { format!(" ({})", limit.name) };
    format!("{} {}{tier}{name}", limit.domain, limit.path)
}

/// `10 per minute, burst 20`
fn numbers(limit: &Limit) -> String {
    let burst = match limit.algorithm() {
        Algorithm::TokenBucket if limit.burst() != limit.requests_per_unit() => {
            format!(", burst {}", limit.burst())
        }
        Algorithm::TokenBucket => String::new(),
        Algorithm::FixedWindow => ", fixed window".to_owned(),
        Algorithm::SlidingWindowLog => ", sliding log".to_owned(),
    };
    format!("{} per {}{burst}", limit.requests_per_unit(), limit.per())
}

/// `2 (16.7 %)`
fn share(part: u64, whole: u64) -> String {
    if whole == 0 { part.to_string() } else { format!("{part} ({} %)", percent(part, whole)) }
}

/// `1 line`, `2 lines`
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// With one decimal, rounded up above nothing, so that what is there is never 0.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1_000).div_ceil(u128::from(whole.max(1)));
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What the reader must know in order to trust the numbers, each a sentence or two.
fn remarks(seen: &Seen, missed: &Missed, fields: Option<&str>) -> Vec<String> {
    let mut remarks = Vec::new();
    for cut in &seen.cut {
        remarks.push(format!("CUT SHORT: {cut}."));
    }
    if seen.broken > 0 {
        let broken = counted(
            seen.broken,
            "broken line was left out: ",
            "broken lines were left out, the first of them: ",
        );
        remarks.push(format!("{broken}{}.", seen.shown.join("; ")));
    }
    if seen.late > 0 {
        let most = seen.most_late_us.div_ceil(1_000_000);
        remarks.push(format!(
            "{} older than --sort-window allows, by up to {most} s, and so counted at the time of the line before.",
            counted(seen.late, "line was", "lines were")
        ));
    }
    if missed.without_descriptor > 0 {
        let forbidden = match missed.forbidden {
            0 => String::new(),
            forbidden => format!(", of which ext_authz would answer {forbidden} with 403"),
        };
        let without = share(missed.without_descriptor, seen.requests);
        remarks.push(format!(
            "{without} requests came to no descriptor, so no limit holds for them{forbidden}."
        ));
        for (count, why) in missed.drops().iter().take(3) {
            remarks.push(format!("{count} times a list made no descriptor: {why}."));
        }
        if let Some(fields) = fields {
            remarks
                .push(format!("The log has the fields {fields}; --field says which header another one is."));
        }
    }
    remarks.extend(missed.notes.iter().map(|note| format!("Not taken into account: {note}.")));
    remarks
}

/// The same for one limits file.
fn remarks_on(side: &Side<'_>) -> Vec<String> {
    let (tally, mut remarks) = (&side.tally, Vec::new());
    let without = &tally.without_limit;
    for (count, one, many) in [
        (
            without.unknown_domain,
            "request is for a domain that the limits files do not have",
            "requests are for a domain that the limits files do not have",
        ),
        (without.unmatched, "descriptor matches no rule", "descriptors match no rule"),
        (without.exempt, "descriptor is exempt", "descriptors are exempt"),
        (without.unlimited, "descriptor is unlimited", "descriptors are unlimited"),
    ] {
        if count > 0 {
            remarks.push(format!("{}.", counted(count.into(), one, many)));
        }
    }
    if tally.refused > 0 {
        remarks.push(format!("{} requests match too many limits, and would be refused.", tally.refused));
    }
    if tally.without_room > 0 {
        remarks.push(format!(
            "{} requests were not decided: too many keys were in use at once.",
            tally.without_room
        ));
    }
    if tally.is_short_of_keys {
        remarks
            .push("There were more keys than are counted, so the numbers of clients are too low.".to_owned());
    }
    if tally.denied_keys.others > 0 {
        let (others, known) = (tally.denied_keys.others, tally.denied_keys.len());
        remarks.push(format!("{others} denials are of keys beyond the first {known}, and not listed."));
    }
    remarks
}

/// The same on fixed windows, and whose requests they are.
fn windows_sentence(windows: &Windows, denied: u64) -> String {
    let Windows { more, fewer, denied: by_windows, .. } = windows;
    format!(
        "Fixed windows of the same numbers would have denied {by_windows}: they let through {more} of the {denied} that \
         Tollgate denies, and deny {fewer} that Tollgate admits."
    )
}

/// A time without its date if that is the day on which the log begins.
fn clock(us: u64, first_us: u64) -> String {
    let (text, first) = (time::text(us), time::text(first_us));
    if text[..10] == first[..10] { text[11..23].to_owned() } else { text[..19].replace('T', " ") }
}
