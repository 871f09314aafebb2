//! What asking costs: one request after the other through one node, with and without a limiter.

use std::time::Instant;

use super::{DemoError, Stack, figures::Latency};
use crate::http::Connection;

/// The nodes take turns, so that whatever else the machine does falls on all of them.
const ROUNDS: usize = 10;
const REQUESTS: usize = 150;

pub async fn measure(stack: &Stack) -> Result<Vec<Latency>, DemoError> {
    let nodes = [
        ("no limiter", stack.plain_node.listen()),
        ("per-node limiter", stack.counting_node.listen()),
        ("Tollgate in memory", stack.memory_node.listen()),
        ("Tollgate on Redis", stack.global.nodes[0].listen()),
    ];
    let mut samples = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, node), samples) in nodes.iter().zip(&mut samples) {
            let mut connection = Connection::open(*node).await?;
            for number in 0..=REQUESTS {
                let sent = Instant::now();
                let answer = connection.get("/", &[("x-api-key", "unhindered")]).await?;
                if !answer.status.is_success() {
                    return Err(DemoError::Hindered { status: answer.status });
                }
                // The first one opens connections further in.
                if number > 0 {
                    samples.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
            }
        }
    }
    let of = |(through, mut samples): (&'static str, Vec<u64>)| {
        samples.sort_unstable();
        let rank = |per_cent: usize| samples[samples.len() * per_cent / 100];
        Latency { through, p50_us: rank(50), p99_us: rank(99), samples: samples.len() }
    };
    Ok(nodes.map(|(through, _)| through).into_iter().zip(samples).map(of).collect())
}
