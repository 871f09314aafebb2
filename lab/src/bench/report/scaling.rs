//! How many takes a Redis Cluster of some size decides, calculated from what a take costs three masters and one Redis.

use super::number;
use crate::{
    bench::{
        case::thousands,
        figures::{CaseFigures, Report, labels},
        sample::Sample,
    },
    report::Table,
};

const CASES: [(&str, &str); 2] = [("cluster-64", "64 in flight"), ("cluster-512", "512 in flight")];
const MASTERS: [u32; 4] = [1, 3, 10, 30];
/// The shares of requests that the denial cache answers.
const FROM_MEMORY: [f64; 3] = [0.0, 0.5, 0.9];

pub(super) const HOW: &str = "
Each request asks for one bucket, and each Redis has all of one processor. A take costs what it cost in this run, so the figures
for other numbers of masters assume as many requests in flight for each of them. The columns are the share of the requests that the
denial cache answers without Redis.

";

/// None unless a case has both.
pub(super) fn section(report: &Report) -> Option<String> {
    let mut table = Table::of_numbers(&["requests/s", "none from memory", "half", "90 %"]);
    let mut times = Vec::new();
    for (name, load) in CASES {
        let Some(case) = report.cases.iter().find(|case| case.name == name) else { continue };
        let (Some(redis), Some(cluster)) = (cost_us(case, labels::REDIS), cost_us(case, labels::CLUSTER))
        else {
            continue;
        };
        table = table.with_rows([row(format!("one Redis, {load}"), 1, redis)]);
        table = table.with_rows(MASTERS.map(|masters| {
            let s = if masters == 1 { "" } else { "s" };
            row(format!("Cluster of {masters} master{s}, {load}"), masters, cluster)
        }));
        times.push(format!("{} times with {load}", number(3.0 * redis / cluster)));
    }
    (!table.is_empty()).then(|| {
        format!(
            "{HOW}{}\nThree masters decide this many times as many takes as one Redis: {}. Below the row of one Redis, it is enough; a Cluster is \
             for more than that, for more memory, and so that one master that goes takes only its own keys with it.\n",
            table.markdown(),
            times.join(", ")
        )
    })
}

fn cost_us(case: &CaseFigures, label: &str) -> Option<f64> {
    Some(case.contender(label)?.spread(Sample::redis_us)?.median)
}

fn row(label: String, masters: u32, cost_us: f64) -> Vec<String> {
    let per_second = |from_memory: f64| {
        let takes = f64::from(masters) * 1_000_000.0 / cost_us / (1.0 - from_memory);
        // The figures know no more.
        thousands((takes / 1_000.0).round() as u32 * 1_000)
    };
    std::iter::once(label).chain(FROM_MEMORY.map(per_second)).collect()
}
