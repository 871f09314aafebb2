//! `docs/performance.md`.

use super::tables::{self, Detail};
use crate::bench::{
    figures::{CaseFigures, Report},
    targets::Outcome,
};

const HOW: &str = "\
Each contender is a process of its own; in each round all contenders of a case take their turn, so that drift hits
all alike. Ratios are worked out within a round. `[min max]` is over the rounds, what stands before it the median.
Figures of one machine say little about another; ratios carry further.

- *floor*: Tollgate's own server with a service that decides nothing and answers an empty OK.
- *memory*, *Redis*: `tollgate serve` with that store, one runtime unless the label says otherwise.
- *INCRBY+EXPIRE*: what envoyproxy/ratelimit sends to Redis: one pipeline per request on a connection for each
  request in batch; and the same on one connection. There is no service in front: its Redis CPU and latency count.
- *EVALSHA, no service*: Tollgate's script, asked one at a time.
- CPU is user + system time of the whole process, per decision. A decision is a request that was answered OK or
  OVER_LIMIT, however many descriptors it has. *load* is the load generator's own CPU.
- *pairs-512* asks for two different keys of 30 in each request, of which ten are at their limit. Such a key waits while
  another call asks for it; whatever else its request asks for waits with it.
- *Redis calls*: EVALSHA, or INCRBY and EXPIRE, per decision. *MiB*: resident memory of the service at the end of a
  run. *admitted / allowed*: requests answered OK over all rounds, and how many the limits allow.
";

pub fn markdown(report: &Report, outcomes: &[Outcome]) -> String {
    let cases: String = report.cases.iter().map(case).collect();
    let notes: String = report.notes.iter().map(|note| format!("- {note}\n")).collect();
    format!(
        "# Performance\n\nWritten by `{command}` on {date}, in {took} s: {rounds} rounds, {machine}. Do not edit.\n\n\
         {HOW}{notes}\n## Targets\n\n{targets}\n## Cases\n{cases}",
        command = report.command,
        date = report.date,
        took = report.took_s,
        rounds = report.rounds,
        machine = report.machine,
        targets = tables::targets(outcomes).markdown(),
    )
}

fn case(case: &CaseFigures) -> String {
    let rate = case.rate.map_or(String::new(), |rate| format!(" Asked {rate:.0} times a second."));
    let mut text = format!("\n### {}\n\n{}; {}.{rate}\n\n", case.name, case.load, case.placement);
    text.push_str(&tables::figures(case, Detail::Spreads).markdown());
    let ratios = tables::ratios(case);
    if !ratios.rows.is_empty() {
        text.push('\n');
        text.push_str(&ratios.markdown());
    }
    for line in tables::fills(case) {
        text.push_str(&format!("\n{line}\n"));
    }
    text
}
