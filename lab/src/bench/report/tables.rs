//! The three tables: what was measured, ratios, and targets.

use super::{median, number, with_spread};
use crate::bench::{
    case::thousands,
    figures::{CaseFigures, ContenderFigures, labels},
    sample::Sample,
    stats::Spread,
    targets::Outcome,
};
use crate::report::Table;

/// How much of each figure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Medians,
    Spreads,
}

pub(super) fn figures(case: &CaseFigures, detail: Detail) -> Table {
    Table::of_numbers(&[
        "",
        "decisions/s",
        "p50 µs",
        "p99",
        "p99.9",
        "service CPU µs",
        "Redis CPU µs",
        "Redis calls",
        "load µs",
        "MiB",
        "admitted / allowed",
        "errors",
    ])
    .with_rows(case.contenders.iter().map(|contender| row(case, contender, detail)))
}

fn row(case: &CaseFigures, contender: &ContenderFigures, detail: Detail) -> Vec<String> {
    let show: fn(Option<Spread>) -> String = match detail {
        Detail::Medians => median,
        Detail::Spreads => with_spread,
    };
    let some = |figure: fn(&Sample) -> f64| contender.spread(|run| Some(figure(run)));
    vec![
        contender.label.clone(),
        show(some(Sample::per_second)),
        show(some(|run| run.p50_us)),
        show(some(|run| run.p99_us)),
        median(some(|run| run.p999_us)),
        show(contender.spread(Sample::service_us)),
        show(contender.spread(Sample::redis_us)),
        median(contender.spread(Sample::calls)),
        median(contender.spread(Sample::load_us)),
        median(contender.spread(Sample::resident_mib)),
        admitted(case, contender),
        contender.runs.iter().map(|run| run.errors + run.unanswered).sum::<u64>().to_string(),
    ]
}

/// Over all rounds. A contender that does not decide admits every request, so its figure would say nothing.
fn admitted(case: &CaseFigures, contender: &ContenderFigures) -> String {
    if !contender.decides {
        return "-".to_owned();
    }
    let admitted: u64 = contender.runs.iter().map(|run| run.ok).sum();
    let allowed: f64 = contender.runs.iter().map(|run| case.allowed(run)).sum();
    format!("{admitted} / {allowed:.0}")
}

/// Against the floor, and against INCRBY+EXPIRE; empty where neither takes part.
pub(super) fn ratios(case: &CaseFigures) -> Table {
    let others = case.contenders.iter().filter(|contender| contender.label != labels::FLOOR);
    let rows = others.filter_map(|contender| ratio_row(case, &contender.label));
    Table::of_numbers(&[
        "ratio",
        "service CPU / floor's",
        "decisions/s / floor's",
        "p99 / floor's",
        "Redis CPU / INCRBY's",
    ])
    .with_rows(rows)
}

fn ratio_row(case: &CaseFigures, label: &str) -> Option<Vec<String>> {
    let floor = |figure| case.ratio(label, labels::FLOOR, figure);
    let incrby = Some(labels::INCRBY).filter(|incrby| *incrby != label);
    let ratios = [
        floor(Sample::service_us),
        floor(|run| Some(run.per_second())),
        floor(|run| Some(run.p99_us)),
        incrby.and_then(|incrby| case.ratio(label, incrby, Sample::redis_us)),
    ];
    ratios.iter().any(Option::is_some).then(|| {
        let mut row = vec![label.to_owned()];
        row.extend(ratios.map(with_spread));
        row
    })
}

/// What a call costs each master; none where there is one.
pub(super) fn masters(case: &CaseFigures) -> Vec<String> {
    let line = |contender: &ContenderFigures| {
        let masters = contender.runs.first()?.masters.len();
        let of = |index: usize| {
            with_spread(contender.spread(|run| {
                let master = run.masters.get(index)?;
                (master.calls > 0).then(|| master.cpu_us / master.calls as f64)
            }))
        };
        (masters > 1).then(|| {
            let each: Vec<String> = (0..masters).map(of).collect();
            format!("{}: CPU µs of a call, by master: {}", contender.label, each.join("; "))
        })
    };
    case.contenders.iter().filter_map(line).collect()
}

/// Below this a key's share of memory is noise.
const KEYS_THAT_SHOW: u64 = 100_000;

/// What a fill did to memory; none where next to nothing was filled.
pub(super) fn fills(case: &CaseFigures) -> Vec<String> {
    let line = |contender: &ContenderFigures| {
        let fill = contender.fill.filter(|fill| fill.keys >= KEYS_THAT_SHOW)?;
        let bytes = fill.bytes_per_key().map_or("-".to_owned(), number);
        let mib = |kib: u64| number(kib as f64 / 1_024.0);
        Some(format!(
            "{}: {} keys seen in {} s; {} MiB before, {} after: {bytes} bytes a key",
            contender.label,
            thousands(fill.keys as u32),
            number(fill.seconds),
            mib(fill.kib_before),
            mib(fill.kib_after)
        ))
    };
    case.contenders.iter().filter_map(line).collect()
}

pub(super) fn targets(outcomes: &[Outcome]) -> Table {
    let row = |outcome: &Outcome| {
        vec![
            outcome.target.work.to_owned(),
            outcome.target.case.to_owned(),
            outcome.target.bound.to_string(),
            with_spread(outcome.measured),
            outcome.verdict.word().to_owned(),
        ]
    };
    Table::of_numbers(&["target", "case", "bound", "measured [min max]", ""])
        .with_rows(outcomes.iter().map(row))
}
