//! The report, as text or JSON: the same facts in both. The one place of prove that names serde_json.

mod text;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    findings::{BIN_US, Counts, FallbackAnswers, Findings},
    record::Broken,
    verdict::Verdict,
};

pub(super) use text::text;

/// What a JSON problem body says: its `status`, and the rules that denied (`violated-policies`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) status: Option<u64>,
    pub(super) violated: Vec<String>,
}

/// Nothing where it is no JSON.
pub(super) fn problem(body: &[u8]) -> Told {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Told::default() };
    let names = body.get("violated-policies").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned));
    Told { status: body.get("status").and_then(Value::as_u64), violated: names.collect() }
}

pub(super) fn json(findings: &Findings, verdict: Verdict, reason: &str) -> String {
    let limit = &findings.limit;
    let latency =
        findings.latency.map(|l| json!({ "p50_us": l.p50_us, "p99_us": l.p99_us, "p99.9_us": l.p999_us }));
    let report = json!({
        "verdict": verdict.name(),
        "exit_status": verdict.exit_status(),
        "reason": reason,
        "limit": {
            "requests_per_unit": limit.requests_per_unit(),
            "unit": limit.per().to_string(),
            "burst": limit.burst(),
            "algorithm": limit.algorithm().name(),
            "lease_ms": limit.lease_us() / 1_000,
        },
        "other_clock": findings.is_other_clock,
        "all": counts(&findings.counts),
        "under_load": {
            "admitted": findings.under_load.admitted,
            "allowed": thousandths(findings.under_load.allowed_milli),
            "ratio": findings.under_load.ratio_milli().map(thousandths),
        },
        "timeline": { "bin_ms": BIN_US / 1000, "admitted": findings.timeline },
        "worst_interval": worst_interval(findings),
        "denials": denials(findings),
        "denied_by": denied_by(findings),
        "contract": notes("rule", &findings.broken),
        "no_answer": notes("kind", &findings.silences),
        "statuses": findings.statuses.iter().map(|(status, count)| (status.to_string(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "latency": latency,
        "targets": targets(findings),
        "phases": phases(findings),
        "metrics": metrics(&findings.fallback_answers),
        "left_out": findings.left_out,
        "interrupted": findings.is_interrupted,
        "cut_short": findings.is_full,
    });
    format!("{report:#}\n")
}

fn worst_interval(findings: &Findings) -> Option<Value> {
    let worst = findings.worst?;
    Some(json!({
        "from_us": worst.interval.from_us,
        "to_us": worst.interval.to_us,
        "admitted": worst.interval.admitted,
        "allowed": thousandths(findings.allowed_milli(worst.refilled_milli)),
        "surplus": thousandths(worst.surplus_milli),
    }))
}

fn denials(findings: &Findings) -> Value {
    let worst = findings.denials.worst.map(|worst| {
        json!({
            "from_us": worst.denial.start_us,
            "to_us": worst.denial.end_us,
            "tokens_at_least": thousandths(worst.level_milli),
            "held_back_at_most": thousandths(worst.held_back_milli),
        })
    });
    json!({
        "checked": findings.denials.checked,
        "justified_by_leases": findings.denials.held_back,
        "leases_hold_at_most": findings.leases_hold,
        "unjustified": findings.denials.unjustified,
        "worst": worst,
    })
}

fn denied_by(findings: &Findings) -> Vec<Value> {
    let rule = |(rule, count): (&String, &u64)| json!({ "rule": rule, "count": count });
    findings.denied_by.iter().map(rule).collect()
}

/// What was noted, each under its name.
fn notes(name: &str, notes: &BTreeMap<&'static str, Broken>) -> Vec<Value> {
    let note =
        |(what, note): (&&str, &Broken)| json!({ name: what, "count": note.count, "example": note.example });
    notes.iter().map(note).collect()
}

fn counts(counts: &Counts) -> Value {
    json!({
        "sent": counts.sent,
        "admitted": counts.admitted,
        "denied": counts.denied,
        "without_ratelimit_headers": counts.unsigned,
        "errors": counts.failed,
        "no_answer": counts.silent,
    })
}

fn targets(findings: &Findings) -> Vec<Value> {
    let target = |(url, of_target): &(String, Counts)| {
        json!({
            "url": url,
            "share_percent": thousandths(findings.share_per_mille(of_target) * 100),
            "counts": counts(of_target),
        })
    };
    findings.targets.iter().map(target).collect()
}

fn phases(findings: &Findings) -> Vec<Value> {
    let phase = |phase: &super::findings::PhaseCounts| {
        json!({
            "name": phase.name,
            "from_us": phase.from_us,
            "to_us": phase.to_us,
            "counts": counts(&phase.counts),
        })
    };
    findings.phases.iter().map(phase).collect()
}

fn metrics(fallback_answers: &FallbackAnswers) -> Value {
    match fallback_answers {
        FallbackAnswers::NotAsked => Value::Null,
        FallbackAnswers::Counted(decisions) => {
            json!({ "store_made": decisions.store_made, "fallback_answers": decisions.fallback_answers })
        }
        FallbackAnswers::Unreadable(error) => json!({ "unreadable": error }),
    }
}

/// A JSON number with three digits behind the point.
fn thousandths(milli: u64) -> Value {
    milli_text(milli).parse::<serde_json::Number>().map_or(Value::Null, Value::Number)
}

fn milli_text(milli: u64) -> String {
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

/// Thousandths with one digit behind the point, cut; none where it is whole.
pub(super) fn milli(milli: u64) -> String {
    match milli % 1000 / 100 {
        0 => (milli / 1000).to_string(),
        tenths => format!("{}.{tenths}", milli / 1000),
    }
}

pub(super) fn seconds(us: u64) -> String {
    format!("{} s", milli_text(us / 1000))
}

#[cfg(test)]
mod tests;
