//! A Redis that is too small and evicts keys, and its own notifications of the keys that it evicted.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
};
use tollgate_core::limit::{Limit, Unit};

use super::{
    FaultsError, Row,
    asker::{Answer, Asker, bucket_name},
    limits_file,
};
use crate::{
    bench::resp,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: day
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10, on_store_failure: error }
";
const DAILY: u32 = 10;
const WATCHED: u32 = 20;
/// The channel in which Redis publishes each evicted key.
const CHANNEL: &str = "__keyevent@0__:evicted";
/// A message of our own in that channel, after all of Redis'.
const LAST: &str = "that was all";

pub(super) async fn row() -> Result<Row, FaultsError> {
    let small = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"];
    let redis = Redis::start_with(&[&small[..], &["--notify-keyspace-events", "Ee"]].concat()).await?;
    let serve = Serve::new(limits_file("eviction", LIMITS)?).store(redis.url());
    // The denial cache would not ask about a key again for a second.
    let serve = serve.args(&["--store-deadline", "1s", "--denial-cache", "off"]);
    let tollgate = Tollgate::start(&serve).await?;
    let mut asker = Asker::connect(tollgate.grpc()).await?;
    asker.until_store("day", "warm").await?;
    let evictions = Evictions::subscribe(redis.addr(), watched()).await?;
    let mut admitted = 0;
    for round in 0..600 {
        asker.ask_all("day", (0..100).map(|n| format!("flood-{}", round * 100 + n))).await;
        let answer = asker.ask("day", &format!("watched-{}", round % WATCHED)).await;
        admitted += u32::from(matches!(answer, Answer::Admitted { .. }));
    }
    let gone = evictions.count(redis.addr()).await?;
    let in_all = resp::figure(redis.addr(), "stats", "evicted_keys")?;
    let is_warned = tollgate.log_text().contains("may evict buckets");
    Ok(Row::new("maxmemory with an evicting policy (allkeys-random)")
        .promised("one more burst each time that a key is evicted, and a warning when Tollgate connects")
        .measured(format!(
            "{WATCHED} keys of {DAILY} a day: {admitted} admitted; by Redis' own word such a key was evicted {gone} \
             times ({in_all} keys in all); {} warned",
            if is_warned { "was" } else { "was NOT" }
        ))
        // More than the bursts alone: the evictions had an effect.
        .kept_if(admitted <= DAILY * (WATCHED + gone) && admitted > DAILY * WATCHED && gone > 0 && is_warned))
}

/// The keys of the watched buckets in Redis.
fn watched() -> Vec<String> {
    let limit = Limit::new(DAILY, Unit::Day, None).expect("a limit of the file above");
    (0..WATCHED).map(|number| bucket_name("day", &format!("watched-{number}"), &limit)).collect()
}

/// Counts the evictions of some keys, as Redis publishes them.
struct Evictions(JoinHandle<std::io::Result<u32>>);

impl Evictions {
    /// Counts from now on.
    async fn subscribe(redis: SocketAddr, names: Vec<String>) -> Result<Evictions, FaultsError> {
        let failed = |source| FaultsError::Io { what: "cannot subscribe to Redis".to_owned(), source };
        let mut stream = TcpStream::connect(redis).await.map_err(failed)?;
        let subscribe = resp::command(&[b"SUBSCRIBE", CHANNEL.as_bytes()]);
        stream.write_all(&subscribe).await.map_err(failed)?;
        let mut lines = BufReader::new(stream).lines();
        // The answer ends with `:1`, the number of subscribed channels.
        while lines.next_line().await.map_err(failed)?.is_some_and(|line| line != ":1") {}
        Ok(Evictions(tokio::spawn(async move {
            let mut count = 0;
            while let Some(line) = lines.next_line().await?.filter(|line| line != LAST) {
                count += u32::from(names.contains(&line));
            }
            Ok(count)
        })))
    }

    /// The number so far.
    async fn count(self, redis: SocketAddr) -> Result<u32, FaultsError> {
        let heard_by = resp::tell(redis, &["PUBLISH", CHANNEL, LAST])?;
        if heard_by != "1" {
            return Err(FaultsError::Unreadable(format!(
                "evictions were heard by {heard_by} in place of one"
            )));
        }
        let count = self.0.await.expect("counting does not panic");
        count.map_err(|source| FaultsError::Io { what: "evictions".to_owned(), source })
    }
}
