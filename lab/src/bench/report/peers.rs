//! The first table of the page: Tollgate and other services, and what each admits.

use super::{median, with_spread};
use crate::{
    bench::{
        admission::{AT_ONCE, Admission},
        case::thousands,
        figures::{CaseFigures, ContenderFigures, Report, labels},
        peers::Program,
        sample::Sample,
        stats::Spread,
    },
    report::Table,
};

pub(super) const HOW: &str = "\
`lab bench --peer envoyproxy-ratelimit=PATH --peer limitador=PATH` starts these services from binaries that you have built, each as
one process with a Redis of its own, on the same processors, under the same load and in the same rounds as Tollgate with one runtime.

- envoyproxy/ratelimit: `go install github.com/envoyproxy/ratelimit/src/service_cmd@v1.4.1-0.20260122083618-3fb702589d36` makes
  `$(go env GOPATH)/bin/service_cmd`. It runs with the limits of the load in its runtime folder, `GOMAXPROCS` as the number of
  Tollgate's runtimes, `USE_STATSD=false` together with `USE_PROMETHEUS=true` (the former alone makes it log a line for each
  request), `LOG_LEVEL=warn`, and else with its defaults, of which a pool of 10 connections to Redis is one. *Local cache* is the same
  with `LOCAL_CACHE_SIZE_IN_BYTES`, which lets it answer without Redis for a key that is over its limit.
- limitador: `limitador-server`, from its repository, by `cargo build --release`. It runs as `limitador-server LIMITS redis URL`,
  with the same limits as conditions. It decides on one thread.
";

const NO_LIMITADOR: &str = "  **It has not been run for this page**: the command line and the format of the limits are from its documentation.\n";

pub(super) const ADMISSION: &str = "\
Three replicas of each share one Redis. *Across an edge*: a limit of 10 a second, asked 20 times in the last 50 ms of a second and 20
times 50 ms into the next one; a bucket of 10 may admit 11 in that time. *At once*: a limit of 100 a minute, asked 2,000 times at the
same moment; a bucket may admit 101, because it refills while that lasts.
";

/// None where no other service took part.
pub(super) fn section(report: &Report) -> Option<String> {
    let beside = beside(report);
    let admissions = admissions(report);
    if beside.is_empty() && admissions.is_empty() {
        return None;
    }
    let ran = |label: &str| report.cases.iter().any(|case| case.contender(label).is_some());
    let no_limitador = if ran(Program::Limitador.label()) { "" } else { NO_LIMITADOR };
    Some(format!("{HOW}{no_limitador}\n{}\n{ADMISSION}\n{}", beside.markdown(), admissions.markdown()))
}

/// Tollgate with Redis, and each peer, in each case that has one.
fn beside(report: &Report) -> Table {
    let table = Table::of_numbers(&[
        "case",
        "service",
        "decisions/s",
        "p50 µs",
        "p99",
        "service CPU µs",
        "Redis CPU µs",
        "service CPU / Tollgate's",
    ]);
    report.cases.iter().fold(table, |table, case| {
        let peers: Vec<&ContenderFigures> = case.contenders.iter().filter(|it| it.is_peer).collect();
        let tollgate = case.contender(labels::REDIS).filter(|_| !peers.is_empty());
        table.with_rows(tollgate.into_iter().chain(peers).map(|it| row(case, it)))
    })
}

fn row(case: &CaseFigures, contender: &ContenderFigures) -> Vec<String> {
    let name = if contender.label == labels::REDIS { "Tollgate" } else { &contender.label };
    let some = |figure: fn(&Sample) -> f64| with_spread(contender.spread(|run| Some(figure(run))));
    vec![
        case.name.clone(),
        name.to_owned(),
        some(Sample::per_second),
        some(|run| run.p50_us),
        some(|run| run.p99_us),
        with_spread(contender.spread(Sample::service_us)),
        with_spread(contender.spread(Sample::redis_us)),
        with_spread(
            case.ratio(&contender.label, labels::REDIS, Sample::service_us).filter(|_| contender.is_peer),
        ),
    ]
}

pub(super) fn admissions(report: &Report) -> Table {
    let at_once = thousands(AT_ONCE as u32);
    let whole = |spread: Option<Spread>| match spread {
        Some(Spread { min, median, max }) if min < max => format!("{median:.0} [{min:.0} {max:.0}]"),
        Some(Spread { median, .. }) => format!("{median:.0}"),
        None => median(None),
    };
    let row = |admission: &Admission| {
        let name = match admission.label.as_str() {
            labels::REDIS => "Tollgate",
            labels::LEASED => "Tollgate, leases",
            other => other,
        };
        vec![
            name.to_owned(),
            whole(Admission::admitted(&admission.edge)),
            format!("{} of {at_once}", whole(Admission::admitted(&admission.at_once))),
            admission.errors().to_string(),
        ]
    };
    Table::of_numbers(&["service", "admitted across an edge", "admitted at once", "errors"])
        .with_rows(report.admissions.iter().map(row))
}
