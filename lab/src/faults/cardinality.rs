//! A hostile client invents five million keys, each of which is exhausted by its first request.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time::sleep};

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
    stack::{replicas_on, sum},
};
use crate::{
    bench::{proc, resp},
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const KEYS: u64 = 5_000_000;
/// The number of keys in a request, and of clients.
const AT_ONCE: u64 = 100;
const CLIENTS: u64 = 8;
/// The first answer teaches the denial cache that a key is exhausted.
const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 }
- key: made_up
  detailed_metric: true
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 }
";
const DAILY: u64 = 10;
/// The number of requests that the legitimate key has made before.
const BEFORE: u64 = 3;
/// The default of `--memory-buckets`.
const MOST_BUCKETS: u64 = 2_000_000;
/// The keys of a request that began while there was room.
const MOST_BEYOND: u64 = CLIENTS * AT_ONCE;

/// The state of a Tollgate after five million keys.
struct Flooded {
    answered: u64,
    refused: u64,
    took: Duration,
    resident_mib: u64,
    /// `/metrics`.
    page: String,
    /// The requests of the legitimate key that were admitted afterwards.
    left: u64,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    // Generous, since batches are large and the machine is busy: this scenario is about memory.
    let serve = Serve::new(limits_file("cardinality", LIMITS)?).args(&["--store-deadline", "5s"]);
    Ok(vec![in_memory(&serve).await?, in_redis(&serve).await?, in_local_buckets(&serve).await?])
}

async fn in_memory(serve: &Serve) -> Result<Row, FaultsError> {
    let tollgate = Tollgate::start(serve).await?;
    let flooded = flood(&tollgate, 1).await?;
    Ok(Row::new("5,000,000 keys, buckets in memory")
        .promised(
            "at most 256 MiB and 1 MiB of /metrics; beyond 2,000,000 buckets new keys are not decided, and none is \
             forgotten",
        )
        .measured(flooded.words())
        .kept_if(flooded.is_within(256) && flooded.is_at_bound()))
}

/// Each key is asked for twice: the second time the denial cache answers.
async fn in_redis(serve: &Serve) -> Result<Row, FaultsError> {
    let redis = Redis::start().await?;
    let tollgate = Tollgate::start(&serve.clone().store(redis.url())).await?;
    Asker::connect(tollgate.grpc()).await?.until_store("user", "warm").await?;
    let used = || resp::figure(redis.addr(), "memory", "used_memory");
    let used_before = used()?;
    let flooded = flood(&tollgate, 2).await?;
    let kept: u64 = resp::tell(redis.addr(), &["DBSIZE"])?.parse().unwrap_or_default();
    let per_key = used()?.saturating_sub(used_before) / kept.max(1);
    let from_memory = sum(&flooded.page, r#"source="cache""#);
    Ok(Row::new("5,000,000 keys, each twice, buckets in Redis")
        .promised(
            "at most 64 MiB and 1 MiB of /metrics in Tollgate, though it remembers denials; 256 bytes a key in Redis",
        )
        .measured(format!(
            "{}; {from_memory} keys denied from memory; {per_key} bytes a key in Redis, of {kept}",
            flooded.words()
        ))
        .kept_if(
            flooded.is_within(64)
                && flooded.refused == 0
                // On a slow machine some entries expire first.
                && from_memory >= KEYS / 2
                && per_key <= 256
                && kept >= KEYS,
        ))
}

async fn in_local_buckets(serve: &Serve) -> Result<Row, FaultsError> {
    let mut redis = Redis::start().await?;
    let replicas = replicas_on(&serve.clone().store(redis.url()), 1).await?;
    redis.kill();
    // Until the loss of Redis is noticed.
    sleep(Duration::from_millis(200)).await;
    let flooded = flood(&replicas[0], 1).await?;
    let errors = sum(&flooded.page, r#"source="error""#);
    Ok(Row::new("5,000,000 keys while Redis is gone, `on_store_failure: local`")
        .promised(
            "at most 256 MiB and 1 MiB of /metrics; beyond 2,000,000 local buckets new keys are answered as `error`, \
             and none is forgotten",
        )
        .measured(format!("{}; {errors} keys answered as `error`", flooded.words()))
        .kept_if(flooded.is_within(256) && flooded.is_at_bound() && errors == flooded.refused * AT_ONCE))
}

/// Asks for each key `times` in a row, and for a legitimate one before and after all of them.
async fn flood(tollgate: &Tollgate, times: u64) -> Result<Flooded, FaultsError> {
    let mut legitimate = Asker::connect(tollgate.grpc()).await?;
    if admitted(&mut legitimate, BEFORE).await != BEFORE {
        return Err(FaultsError::Unreadable("a legitimate key was denied before the flood".to_owned()));
    }
    let started = Instant::now();
    let mut clients = JoinSet::new();
    let each = KEYS / CLIENTS / AT_ONCE;
    for client in 0..CLIENTS {
        let asker = Asker::connect(tollgate.grpc()).await?;
        clients.spawn(make_up(asker, client * each..(client + 1) * each, times));
    }
    let mut answered = 0;
    while let Some(of_client) = clients.join_next().await {
        answered += of_client.unwrap_or_default();
    }
    let took = started.elapsed();
    Ok(Flooded {
        answered,
        refused: KEYS / AT_ONCE * times - answered,
        took,
        resident_mib: proc::usage(&tollgate.pid().to_string())?.resident_kib / 1_024,
        page: http::get(tollgate.admin(), "/metrics", &[]).await?.text(),
        left: admitted(&mut legitimate, DAILY).await,
    })
}

/// The number of these requests that were answered.
async fn make_up(mut asker: Asker, requests: std::ops::Range<u64>, times: u64) -> u64 {
    let mut answered = 0;
    for request in requests {
        let first = request * AT_ONCE;
        for _ in 0..times {
            let keys = (first..first + AT_ONCE).map(|number| number.to_string());
            answered += u64::from(asker.ask_all("made_up", keys).await);
        }
    }
    answered
}

/// Answers by the store, and fallback answers.
async fn admitted(legitimate: &mut Asker, asked: u64) -> u64 {
    let mut admitted = 0;
    for _ in 0..asked {
        let answer = legitimate.ask("user", "legitimate").await;
        admitted +=
            u64::from(matches!(answer, Answer::Admitted { .. } | Answer::Fallback { admitted: true }));
    }
    admitted
}

// === impl Flooded ===

impl Flooded {
    fn words(&self) -> String {
        let Flooded { answered, refused, took, resident_mib, left, .. } = self;
        format!(
            "{answered} requests of {AT_ONCE} keys answered, {refused} not, in {} s; {resident_mib} MiB resident, \
             {} buckets, /metrics {} KiB; a legitimate key had {left} of {DAILY} left after {BEFORE}",
            took.as_secs(),
            self.buckets(),
            self.page.len() / 1_024
        )
    }

    /// Whether memory stayed within this bound and the legitimate key kept its level.
    fn is_within(&self, mib: u64) -> bool {
        self.resident_mib <= mib && self.page.len() <= 1_024 * 1_024 && self.left == DAILY - BEFORE
    }

    /// Whether the maximum of buckets exists and some keys have none.
    fn is_at_bound(&self) -> bool {
        // A full shard refuses while others still have room.
        let about = MOST_BUCKETS * 95 / 100..=MOST_BUCKETS + MOST_BEYOND;
        about.contains(&self.buckets()) && self.refused > 0
    }

    fn buckets(&self) -> u64 {
        sum(&self.page, "tollgate_memory_buckets")
    }
}
