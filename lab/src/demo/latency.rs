//! What asking costs: one request after the other through one node, with and without a limiter.

use std::{net::SocketAddr, time::Instant};

use tollgate_core::{
    duration::micros,
    limit::{Limit, Unit},
};

use super::{
    DemoError, Stack,
    figures::Latency,
    stack::{GENEROUS, serve},
};
use crate::{
    envoy::{Config, Envoy, EnvoyError},
    http::Connection,
    tollgate::Tollgate,
};

/// The nodes take turns, so that whatever else the machine does falls on all of them.
const ROUNDS: usize = 10;
const REQUESTS: usize = 150;

pub async fn measure(stack: &Stack) -> Result<Vec<Latency>, DemoError> {
    let upstream = stack.global.upstream.listen();
    let in_memory = Tollgate::start(&serve()).await?;
    let (plain, counting, asking) =
        tokio::try_join!(plain(upstream, &in_memory), counting(upstream), asking(upstream, &in_memory))?;
    let nodes = [
        ("no limiter", plain.listen()),
        ("per-node limiter", counting.listen()),
        ("Tollgate in memory", asking.listen()),
        ("Tollgate on Redis", stack.global.nodes[0].listen()),
    ];
    let mut samples = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, node), samples) in nodes.iter().zip(&mut samples) {
            sample(*node, samples).await?;
        }
    }
    let latency = |(through, mut samples): (&'static str, Vec<u64>)| {
        samples.sort_unstable();
        let rank = |per_cent: usize| samples[samples.len() * per_cent / 100];
        Latency { through, p50_us: rank(50), p99_us: rank(99), samples: samples.len() }
    };
    Ok(nodes.map(|(through, _)| through).into_iter().zip(samples).map(latency).collect())
}

async fn sample(node: SocketAddr, samples: &mut Vec<u64>) -> Result<(), DemoError> {
    let mut connection = Connection::open(node).await?;
    for number in 0..=REQUESTS {
        let sent = Instant::now();
        let answer = connection.get("/", &[("x-api-key", "unhindered")]).await?;
        if !answer.status.is_success() {
            return Err(DemoError::Hindered { status: answer.status });
        }
        // The first one opens connections further in.
        if number > 0 {
            samples.push(micros(sent.elapsed()));
        }
    }
    Ok(())
}

// === nodes to compare with ===

/// Limits nothing.
async fn plain(upstream: SocketAddr, tollgate: &Tollgate) -> Result<Envoy, EnvoyError> {
    let config = Config::global_node("plain", upstream, &[tollgate.grpc()])?;
    // A filter that is disabled is skipped, as if it were not in the chain.
    let filter = "- name: envoy.filters.http.ratelimit\n";
    Envoy::start(&config.replace(filter, &format!("{filter}            disabled: true\n"))?).await
}

/// Counts for itself, up to a limit that is never in the way.
async fn counting(upstream: SocketAddr) -> Result<Envoy, EnvoyError> {
    let ample = Limit::new(1_000_000, Unit::Second, None).expect("a million a second is a limit");
    Envoy::start(&Config::naive_node("counting", upstream, &ample)?).await
}

/// Asks a Tollgate whose buckets live in memory.
async fn asking(upstream: SocketAddr, tollgate: &Tollgate) -> Result<Envoy, EnvoyError> {
    let config = Config::global_node("asking", upstream, &[tollgate.grpc()])?;
    Envoy::start(&config.patience(GENEROUS)?).await
}
