//! `docs/performance.md`.

use super::{
    merge, peers, scaling,
    tables::{self, Detail},
};
use crate::bench::{
    figures::{CaseFigures, Report},
    targets::Outcome,
};

/// The same in every run, since the cases of earlier runs stay on the page.
pub(super) const HOW: &str = "\
Each contender is a process of its own. In each round, all contenders of a case take turns, so that drift affects all of them
equally. Ratios are computed within a round. A figure is the median over the rounds, followed by `[min max]`. Absolute figures
depend on the machine; ratios are more portable.

- *floor*: Tollgate's own server with a service that decides nothing and answers an empty OK.
- *memory*, *Redis*: `tollgate serve` with that store, with one runtime unless the label says otherwise. *Leases*: with
  `--lease 100ms`, or as long as the label says. *2 ms away*: behind a proxy that delays each direction by 1 ms.
- *built with a profile*: the program as the image has it, and as `make release-pgo` builds it. All others are the ordinary build,
  the floor too.
- *Cluster of three*: three masters, which share the processor of a single Redis here, so that their CPU says something and the
  latencies do not. *The long way*: the same limits in shadow mode, which the script's first lines leave to the rest of it.
- *Redis by Sentinel*: with a replica and three Sentinels; the CPU is the master's.
- *INCRBY+EXPIRE*: what envoyproxy/ratelimit sends to Redis: one pipeline per request, with a connection for each request in
  flight; and the same over one connection. There is no service in front, so only its Redis CPU and latency are comparable.
- *EVALSHA, no service*: Tollgate's script, called once at a time.
- CPU is the user and system time of the whole process, per decision. A decision is a request that was answered OK or OVER_LIMIT,
  however many descriptors it has. *load* is the load generator's own CPU.
- *Redis calls*: the number of EVALSHA, or of INCRBY and EXPIRE, per decision. *MiB*: resident memory of the service at the end
  of a run. *admitted / allowed*: the number of requests answered OK over all rounds, and the number that the limits allow.
- *pairs-512*: each request names two different keys of 30, ten of which are at their limit. A key at its limit waits while another
  call asks Redis for it, and so does the rest of its request.
";

/// The sections that a run has; [`merge::merged`] adds those of another run.
pub fn markdown(report: &Report, outcomes: &[Outcome]) -> String {
    let cases: String = report.cases.iter().map(|it| case(it, report)).collect();
    let notes: String = report.notes.iter().map(|note| format!("- {note}\n")).collect();
    let targets = format!("\n{}\n", tables::targets(outcomes).markdown());
    let sections = [
        (merge::PEERS, peers::section(report).map(|text| format!("\n{text}\n"))),
        (merge::TARGETS, Some(targets)),
        (merge::SCALING, scaling::section(report).map(|text| format!("{text}\n"))),
        (merge::CASES, Some(cases)),
    ];
    let sections: String =
        sections.into_iter().filter_map(|(heading, body)| Some(format!("## {heading}\n{}", body?))).collect();
    format!(
        "# Performance\n\nWritten by `lab bench` on {}. Do not edit. Each case says when it was run, and on which machine.\n\n\
         {HOW}{notes}\n{sections}",
        report.date,
    )
}

fn case(case: &CaseFigures, report: &Report) -> String {
    let rate = case.rate.map_or(String::new(), |rate| format!(" Asked {rate:.0} times a second."));
    let mut text = format!(
        "\n### {}\n\n{}; {}.{rate} Run on {}: {} rounds of {} s, {}.\n\n",
        case.name, case.load, case.placement, report.date, case.rounds, case.seconds, report.machine
    );
    text.push_str(&tables::figures(case, Detail::Spreads).markdown());
    let ratios = tables::ratios(case);
    if !ratios.is_empty() {
        text.push('\n');
        text.push_str(&ratios.markdown());
    }
    for line in tables::masters(case).into_iter().chain(tables::fills(case)) {
        text.push_str(&format!("\n{line}\n"));
    }
    text
}
