//! Every run of every contender, and the figures derived from them.

use serde_json::{Value, json};

use crate::bench::{
    admission::{Admission, Answers},
    figures::{CaseFigures, ContenderFigures, Report},
    sample::Sample,
    stats::Spread,
    targets::Outcome,
};

pub fn json(report: &Report, outcomes: &[Outcome]) -> Value {
    json!({
        "machine": report.machine,
        "command": report.command,
        "date": report.date,
        "took_s": report.took_s,
        "notes": report.notes,
        "targets": outcomes.iter().map(target).collect::<Vec<_>>(),
        "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
        "admissions": report.admissions.iter().map(admission).collect::<Vec<_>>(),
    })
}

fn target(outcome: &Outcome) -> Value {
    json!({
        "work": outcome.target.work,
        "case": outcome.target.case,
        "bound": outcome.target.bound.to_string(),
        "measured": outcome.measured.map(spread),
        "verdict": outcome.verdict.word(),
    })
}

fn case(case: &CaseFigures) -> Value {
    json!({
        "name": case.name,
        "load": case.load,
        "placement": case.placement,
        "rounds": case.rounds,
        "seconds": case.seconds,
        "asked_per_second": case.rate,
        "contenders": case.contenders.iter().map(|it| contender(case, it)).collect::<Vec<_>>(),
    })
}

fn admission(admission: &Admission) -> Value {
    let each = |answers: &[Answers]| -> Vec<Value> {
        let one = |it: &Answers| json!({ "admitted": it.admitted, "denied": it.denied, "errors": it.errors });
        answers.iter().map(one).collect()
    };
    json!({
        "label": admission.label,
        "across_an_edge": each(&admission.edge),
        "at_once": each(&admission.at_once),
    })
}

fn contender(case: &CaseFigures, contender: &ContenderFigures) -> Value {
    let over_runs = |figure: fn(&Sample) -> Option<f64>| contender.spread(figure).map(spread);
    let run = |run: &Sample| {
        let mut json = run.json();
        json["allowed"] = json!(contender.decides.then(|| case.allowed(run)));
        json
    };
    json!({
        "label": contender.label,
        "decisions_per_second": over_runs(|run| Some(run.per_second())),
        "service_cpu_us_per_decision": over_runs(Sample::service_us),
        "redis_cpu_us_per_decision": over_runs(Sample::redis_us),
        "redis_calls_per_decision": over_runs(Sample::calls),
        "p50_us": over_runs(|run| Some(run.p50_us)),
        "p99_us": over_runs(|run| Some(run.p99_us)),
        "p999_us": over_runs(|run| Some(run.p999_us)),
        "resident_mib": over_runs(Sample::resident_mib),
        "fill": contender.fill.map(|fill| json!({
            "keys": fill.keys,
            "seconds": fill.seconds,
            "resident_kib_before": fill.kib_before,
            "resident_kib_after": fill.kib_after,
            "bytes_per_key": fill.bytes_per_key(),
        })),
        "runs": contender.runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn spread(spread: Spread) -> Value {
    json!({ "min": spread.min, "median": spread.median, "max": spread.max })
}
