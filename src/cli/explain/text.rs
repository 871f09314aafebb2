//! The explanation as text for people.

use std::{fmt::Write as _, time::Duration};

use super::{
    making::{Made, Making},
    report::{DescriptorReport, LimitReport, Report},
    told::Told,
};
use tollgate_core::{
    decision::{Enforcement, Verdict},
    descriptor::Hits,
    matcher::{TracedLevel, TracedPattern},
};

/// What is said of a bucket in which these hits are reserved.
pub(in crate::cli) fn reserved(hits: &str) -> String {
    format!("leases hold {hits} of it: they count as spent here, and what is not spent of them comes back")
}

/// The most patterns of a level that are shown, besides the chosen one.
const MOST: usize = 12;

pub(super) fn text(report: &Report) -> String {
    let mut out = format!("domain {}\n", shown(report.domain.as_bytes()));
    if let Some(made) = &report.made {
        put_made(&mut out, made);
    }
    for (number, descriptor) in (1..).zip(&report.descriptors) {
        let _ = write!(out, "\ndescriptor {number}: ");
        put_descriptor(&mut out, descriptor, report.store.is_some());
    }
    out.push('\n');
    put_answer(&mut out, report);
    out
}

fn put_made(out: &mut String, made: &Made) {
    for source in &made.source {
        let _ = writeln!(out, "{}", shown(source.as_bytes()));
    }
    for (number, list) in (1..).zip(&made.lists) {
        let at = list.at.as_ref().map_or_else(|| format!("list {number}"), |at| shown(at.as_bytes()));
        let _ = writeln!(out, "  {at}: {}", shown(list.actions.as_bytes()));
        let _ = match &list.result {
            Making::Descriptor(number) => writeln!(out, "    makes descriptor {number}"),
            Making::Dropped { action: Some(action), reason } => {
                writeln!(out, "    makes no descriptor: {}: {reason}", shown(action.as_bytes()))
            }
            Making::Dropped { action: None, reason } => writeln!(out, "    makes no descriptor: {reason}"),
            Making::NotNow(why) => writeln!(out, "    does not count: {why}"),
            Making::Unknown(why) => writeln!(out, "    cannot be evaluated here: {}", shown(why.as_bytes())),
        };
    }
    for note in &made.notes {
        let _ = writeln!(out, "  note: {}", shown(note.as_bytes()));
    }
}

fn put_descriptor(out: &mut String, descriptor: &DescriptorReport, is_live: bool) {
    let entries: Vec<String> = descriptor.entries.iter().map(|(key, value)| entry(key, value)).collect();
    let hits = match descriptor.hits {
        Hits::One | Hits::Take(1) => String::new(),
        Hits::Take(hits) => format!("  ({hits} hits)"),
        Hits::Peek => "  (0 hits: it only looks whether one would fit)".to_owned(),
        Hits::GiveBack(hits) => format!("  (gives {hits} hits back)"),
    };
    let _ = writeln!(out, "{}{hits}", entries.join(", "));
    for ((number, level), entry) in (1..).zip(&descriptor.levels).zip(&entries) {
        let _ = writeln!(out, "  level {number}: {entry}");
        put_level(out, level);
    }
    if let Some(rule) = &descriptor.rule {
        let _ = writeln!(out, "  rule {}", shown(rule.as_bytes()));
    }
    if let Some(tier) = &descriptor.tier {
        let key = shown(&tier.key);
        let _ = match &tier.name {
            Some(name) => writeln!(out, "    {key} is in the tier {}", shown(name.as_bytes())),
            None => writeln!(out, "    {key} is in the default tier"),
        };
    }
    for limit in &descriptor.limits {
        put_limit(out, limit, is_live);
    }
    for label in &descriptor.replaced {
        let label = shown(label.as_bytes());
        let _ = writeln!(out, "  limit {label} does not apply: a limit of another descriptor replaces it");
    }
    if let Some(why) = &descriptor.why_no_limit {
        let _ = writeln!(out, "  no limit applies: {why}");
    }
}

fn put_level(out: &mut String, level: &TracedLevel) {
    let written = |pattern: &TracedPattern| match &pattern.value {
        Some(value) => entry(pattern.key.as_bytes(), value.as_bytes()),
        None => shown(pattern.key.as_bytes()),
    };
    let mut left_out = 0_usize;
    for (index, pattern) in level.patterns.iter().enumerate() {
        let choice = pattern.choice;
        let name = written(pattern);
        if choice.is_chosen() {
            let _ = writeln!(out, "    > {name}  chosen: {choice}");
        } else if index < MOST {
            let _ = writeln!(out, "      {name}  not chosen: {choice}");
        } else {
            left_out += 1;
        }
    }
    let counted =
        |count: usize| if count == 1 { "1 pattern".to_owned() } else { format!("{count} patterns") };
    if left_out > 0 {
        let _ = writeln!(out, "      {} more with this key, not chosen", counted(left_out));
    }
    if level.other_keys > 0 {
        let _ = writeln!(out, "      {} with other keys", counted(level.other_keys));
    }
    if level.patterns.is_empty() && level.other_keys == 0 {
        out.push_str("      no pattern: the rules end before this level\n");
    }
}

fn put_limit(out: &mut String, limit: &LimitReport, is_live: bool) {
    let LimitReport { requests_per_unit, period, burst, level, .. } = limit;
    let enforcement = match limit.enforcement {
        Enforcement::Enforced => "",
        Enforcement::Quota => ", quota: denies only if no other quota fits",
        Enforcement::Shadow => ", shadow mode: never denies",
    };
    let algorithm = limit.algorithm.name();
    let lease = match limit.lease_us {
        0 => String::new(),
        // Written as a limits file has it: 100ms.
        lease_us => format!(", lease {:?}", Duration::from_micros(lease_us.into())),
    };
    let label = shown(limit.label.as_bytes());
    let _ = writeln!(
        out,
        "  limit {label}: {requests_per_unit} per {period}, burst {burst}, {algorithm}{lease}{enforcement}"
    );
    let now = if is_live { format!("{level} left now") } else { "taken as full".to_owned() };
    let fits = if limit.never_fits {
        "the hits never fit"
    } else if limit.fits {
        "the hits fit"
    } else {
        "the hits do not fit"
    };
    let _ = writeln!(out, "    bucket {}: {now}, {fits}", limit.bucket);
    if limit.reserved > 0 {
        let hits = format!("{} hit{}", limit.reserved, if limit.reserved == 1 { "" } else { "s" });
        let _ = writeln!(out, "    {}", reserved(&hits));
    }
}

fn put_answer(out: &mut String, report: &Report) {
    let has_descriptors = !report.descriptors.is_empty();
    let Some(now) = &report.now else {
        out.push_str(match has_descriptors {
            true => "no limit applies, so the request passes\n",
            false => "the request makes no descriptor, so it passes\n",
        });
        return;
    };
    if !has_descriptors {
        out.push_str("the request makes no descriptor, and without_descriptor says deny\n");
        put_told(out, now);
        return;
    }
    if report.malformed > 0 {
        let _ = writeln!(
            out,
            "{} buckets hold a value that makes no sense; they count as missing",
            report.malformed
        );
    }
    if report.is_shadow {
        out.push_str("shadow mode is on for all limits: every request is answered OK\n");
    }
    let basis = match &report.store {
        Some(store) => format!("by the buckets in {store}, charging nothing"),
        None => "if its buckets are full; --store redis://… shows what is in them".to_owned(),
    };
    let verdict = if now.verdict == Verdict::Allow { "allowed" } else { "denied" };
    let _ = writeln!(out, "the request would be {verdict}, {basis}");
    put_told(out, now);
    match &report.used_up {
        Some(told) if told.verdict == Verdict::Deny => {
            out.push_str("once these buckets are used up, it would be denied\n");
            put_told(out, told);
        }
        Some(_) => out.push_str("even with these buckets used up, it would be allowed\n"),
        None => {}
    }
}

fn put_told(out: &mut String, told: &Told) {
    let _ = writeln!(out, "  {}", told.status);
    for (name, value) in &told.headers {
        let random = if name == "retry-after" { "  (serve adds a random part, by --jitter)" } else { "" };
        let _ = writeln!(out, "  {name}: {value}{random}");
    }
    if !told.body.is_empty() {
        let _ = writeln!(out, "  {}", told.body);
    }
}

fn entry(key: &[u8], value: &[u8]) -> String {
    format!("{}={}", shown(key), shown(value))
}

/// The whole text, as it was typed but for characters that a terminal would obey.
pub(in crate::cli) fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}
