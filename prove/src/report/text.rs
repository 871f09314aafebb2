//! The report for a terminal: the verdict first, then the figures behind it, aligned.

use std::fmt::Write;

use super::{milli, milli_text, seconds};
use crate::{
    findings::{Amounts, Counts, FallbackAnswers, Findings},
    verdict::Verdict,
};
use tollgate_core::limit::Algorithm;

pub(crate) fn text(findings: &Findings, verdict: Verdict, reason: &str) -> String {
    let limit = &findings.limit;
    let mut lines = Lines::default();
    lines.out.push_str(reason);
    lines.out.push_str("\n\n");
    let counted = match limit.algorithm() {
        Algorithm::FixedWindow => "in fixed windows".to_owned(),
        _ => format!("burst {}", limit.burst()),
    };
    lines.add("limit", format!("{} per {}, {counted}", limit.requests_per_unit(), limit.per()));
    // The verdict has said why, and there are no figures.
    if findings.counts.sent > 0 {
        figures(&mut lines, findings);
        tables(&mut lines, findings);
    }
    let _ = writeln!(lines.out, "\nexit status {}", verdict.exit_status());
    lines.out
}

fn figures(lines: &mut Lines, findings: &Findings) {
    lines.add("under load", amounts(&findings.under_load));
    lines.add("worst interval", worst(findings));
    let denials = &findings.denials;
    lines.add("denials", format!("{} unjustified of {} checked", denials.unjustified, denials.checked));
    if findings.limit.lease_us() > 0 {
        lines.add("leases", leases(findings));
    }
    for (rule, count) in &findings.denied_by {
        lines.add("denied by", format!("{}, {count} times", rule.escape_debug()));
    }
    contract(lines, findings);
    statuses(lines, findings);
    if let Some(latency) = findings.latency {
        let ms = |us: u32| format!("{} ms", milli_text(u64::from(us)));
        let (p50, p99, p999) = (ms(latency.p50_us), ms(latency.p99_us), ms(latency.p999_us));
        lines.add("latency", format!("p50 {p50}, p99 {p99}, p99.9 {p999}"));
    }
    match &findings.fallback_answers {
        FallbackAnswers::NotAsked => {}
        FallbackAnswers::Counted(d) => {
            lines.add(
                "metrics",
                format!("{} decisions by the store, {} fallback answers", d.store_made, d.fallback_answers),
            );
        }
        FallbackAnswers::Unreadable(error) => lines.add("metrics", format!("not readable: {error}")),
    }
    for left_out in &findings.left_out {
        lines.add("left out", left_out.clone());
    }
    if findings.is_other_clock {
        let tolerated = match findings.limit.algorithm() {
            Algorithm::FixedWindow => "a window may end a second earlier or later",
            _ => "0.1 % of the refill is tolerated",
        };
        lines.add("clock", format!("not this machine's, so {tolerated}"));
    }
}

fn tables(lines: &mut Lines, findings: &Findings) {
    let phases = findings.phases.iter();
    lines.table(
        "phase",
        phases.map(|phase| (format!("{:>8}  {}", seconds(phase.from_us), phase.name), &phase.counts)),
    );
    let share = |counts| findings.share_per_mille(counts);
    let name = |url, counts| format!("{:>3}.{} %  {url}", share(counts) / 10, share(counts) % 10);
    lines.table("target", findings.targets.iter().map(|(url, counts)| (name(url, counts), counts)));
}

fn amounts(amounts: &Amounts) -> String {
    let ratio = match amounts.ratio_milli() {
        Some(ratio) => format!(", ratio {}", milli_text(ratio)),
        None => String::new(),
    };
    format!("{} admitted, {} allowed{ratio}", amounts.admitted, milli(amounts.allowed_milli))
}

fn worst(findings: &Findings) -> String {
    let Some(worst) = findings.worst else { return "none: nothing was admitted".to_owned() };
    let interval = &worst.interval;
    let allowed = milli(findings.allowed_milli(worst.refilled_milli));
    let surplus = match worst.surplus_milli {
        0 => String::new(),
        surplus => format!(", {} too many", milli(surplus)),
    };
    let (from, to) = (seconds(interval.from_us), seconds(interval.to_us));
    format!("{from} to {to}: {} admitted, {allowed} allowed{surplus}", interval.admitted)
}

fn leases(findings: &Findings) -> String {
    let (hold, by_leases) = (findings.leases_hold, findings.denials.held_back);
    format!("hold back {hold} hits at most; {by_leases} denials are justified by leases alone")
}

fn contract(lines: &mut Lines, findings: &Findings) {
    match findings.counts.signed() {
        0 => lines.add("contract", "not seen: no answer carried ratelimit headers".to_owned()),
        signed if findings.broken.is_empty() => lines.add("contract", format!("kept in {signed} answers")),
        _ => {}
    }
    for (rule, broken) in &findings.broken {
        lines.add("contract", format!("broken {} times: {rule} ({})", broken.count, broken.example));
    }
}

fn statuses(lines: &mut Lines, findings: &Findings) {
    let mut statuses: Vec<_> =
        findings.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
    if findings.counts.silent > 0 {
        statuses.push(format!("no answer: {}", findings.counts.silent));
    }
    if findings.counts.unsigned > 0 {
        statuses.push(format!("without ratelimit headers: {}", findings.counts.unsigned));
    }
    lines.add("answers", statuses.join(", "));
    for (kind, note) in &findings.silences {
        lines.add(kind, format!("{} times ({})", note.count, note.example));
    }
}

#[derive(Default)]
struct Lines {
    out: String,
}

impl Lines {
    fn add(&mut self, label: &str, value: String) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{label:<16}{value}");
    }

    fn table<'a>(&mut self, title: &str, rows: impl Iterator<Item = (String, &'a Counts)>) {
        let rows: Vec<_> = rows.collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(title.len());
        let (sent, admitted, denied, other) = ("sent", "admitted", "denied", "other");
        let _ = writeln!(self.out, "\n{title:<width$} {sent:>9} {admitted:>9} {denied:>9} {other:>7}");
        for (name, counts) in rows {
            let Counts { sent, admitted, denied, failed, silent, .. } = *counts;
            let other = failed + silent;
            let _ = writeln!(self.out, "{name:<width$} {sent:>9} {admitted:>9} {denied:>9} {other:>7}");
        }
    }
}
