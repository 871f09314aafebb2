//! A hostile client makes up five million keys.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
};
use crate::{
    bench::{proc, resp},
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const KEYS: u64 = 5_000_000;
/// Of a request, and so many clients.
const AT_ONCE: u64 = 100;
const CLIENTS: u64 = 8;
const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  detailed_metric: true
  rate_limit: { unit: day, requests_per_unit: 10 }
";
const DAILY: u32 = 10;
/// A legitimate key has asked so often before.
const BEFORE: u32 = 3;

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let limits = limits_file("cardinality", LIMITS)?;
    let memory = attack(&Serve::new(&limits), None).await?;
    let redis = Redis::start().await?;
    let in_redis = attack(&Serve::new(&limits).store(redis.url()), Some(&redis)).await?;
    Ok(vec![memory, in_redis])
}

async fn attack(serve: &Serve, redis: Option<&Redis>) -> Result<Row, FaultsError> {
    // Large flights on a busy machine: this is about memory.
    let tollgate = Tollgate::start(&serve.clone().args(&["--store-deadline", "5s"])).await?;
    let mut legitimate = Asker::connect(tollgate.grpc()).await?;
    legitimate.until_store("user", "legitimate").await?;
    for _ in 1..BEFORE {
        legitimate.ask("user", "legitimate").await;
    }
    let used = |redis: &Redis| resp::figure(redis.addr(), "memory", "used_memory");
    let used_before = redis.map(used).transpose()?.unwrap_or_default();
    let started = Instant::now();
    let (answered, refused) = flood(&tollgate).await?;
    let took_s = started.elapsed().as_secs_f64();
    let used_after = redis.map(used).transpose()?.unwrap_or_default();
    let kept = redis.map(|redis| resp::tell(redis.addr(), &["DBSIZE"])).transpose()?;
    let kept: u64 = kept.and_then(|kept| kept.parse().ok()).unwrap_or_default();
    let metrics = http::get(tollgate.admin(), "/metrics", &[]).await?.body.len() / 1_024;
    let resident = proc::usage(&tollgate.pid().to_string())?.resident_kib / 1_024;
    let left = match legitimate.ask("user", "legitimate").await {
        Answer::Admitted { remaining } => Some(remaining),
        _ => None,
    };
    let holds = left == Some(DAILY - BEFORE - 1);
    let level = if holds { "kept its level" } else { "LOST its level" };
    let per_key = (used_after - used_before) / kept.max(1);
    let told = format!(
        "{answered} requests of {AT_ONCE} keys answered, {refused} not, in {took_s:.0} s; {resident} MiB resident, \
         /metrics {metrics} KiB; a legitimate key {level}"
    );
    Ok(match redis {
        None => Row::of("5,000,000 keys, buckets in memory")
            .promised(
                "at most 256 MiB and 1 MiB of /metrics; beyond 2,000,000 buckets new keys are not decided, and none \
                 is forgotten",
            )
            .measured(told)
            .kept_if(resident <= 256 && metrics <= 1_024 && holds && refused > 0 && answered > 0),
        Some(_) => Row::of("5,000,000 keys, buckets in Redis")
            .promised("at most 64 MiB and 1 MiB of /metrics in Tollgate, 256 bytes a key in Redis")
            .measured(format!("{told}; {per_key} bytes a key in Redis, of {kept}"))
            .kept_if(
                resident <= 64 && metrics <= 1_024 && holds && per_key <= 256 && kept >= KEYS && refused == 0,
            ),
    })
}

/// Each key once. How many requests were answered, and how many were not.
async fn flood(tollgate: &Tollgate) -> Result<(u64, u64), FaultsError> {
    let mut clients = JoinSet::new();
    let each = KEYS / CLIENTS / AT_ONCE;
    for client in 0..CLIENTS {
        let mut asker = Asker::connect(tollgate.grpc()).await?;
        clients.spawn(async move {
            let mut answered = 0;
            for request in 0..each {
                let first = (client * each + request) * AT_ONCE;
                let keys = (first..first + AT_ONCE).map(|number| format!("made-up-{number}"));
                answered += u64::from(asker.ask_all("user", keys).await);
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(of_client) = clients.join_next().await {
        answered += of_client.unwrap_or_default();
    }
    Ok((answered, KEYS / AT_ONCE - answered))
}
