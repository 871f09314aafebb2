//! A Redis with a replica, and three Sentinels that watch it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Redis, RedisError};
use crate::bench::resp;

const WATCHED_WITHIN: Duration = Duration::from_secs(30);

/// Two of the Sentinels must agree that the master is gone.
#[derive(Debug)]
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    sentinels: Vec<Redis>,
}

// === impl Watched ===

impl Watched {
    pub async fn start() -> Result<Watched, RedisError> {
        let master = Redis::start().await?;
        let (host, port) = (master.addr().ip().to_string(), master.addr().port().to_string());
        let follows = ["--replicaof", &host, &port, "--repl-diskless-sync-delay", "0"];
        let replica = Redis::start_with(&follows).await?;
        until(|| Ok(resp::tell(replica.addr(), &["INFO", "replication"])?.contains("master_link_status:up")))
            .await?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Redis::start_sentinel(master.addr(), 2).await?);
        }
        for sentinel in &sentinels {
            until(|| {
                let known = resp::list(sentinel.addr(), &["SENTINEL", "MASTER", "watched"])?;
                let field = |name: &str| known.iter().skip_while(|field| *field != name).nth(1);
                let count = |name: &str| field(name).map(String::as_str);
                Ok((count("num-other-sentinels"), count("num-slaves")) == (Some("2"), Some("1")))
            })
            .await?;
        }
        Ok(Watched { master, replica, sentinels })
    }

    /// As `tollgate --store` takes it.
    pub fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("redis+sentinel://{}/watched", places.join(","))
    }

    /// Returns when the replica is the master.
    pub async fn until_replaced(&self) -> Result<(), RedisError> {
        until(|| Ok(resp::tell(self.replica.addr(), &["INFO", "replication"])?.contains("role:master"))).await
    }
}

/// A Redis closes the connections of its clients when a Sentinel changes its role, so an error is no answer.
async fn until(mut is_so: impl FnMut() -> Result<bool, RedisError>) -> Result<(), RedisError> {
    let started = Instant::now();
    while !is_so().unwrap_or(false) {
        if started.elapsed() > WATCHED_WITHIN {
            return Err(RedisError::NotWhole { within: WATCHED_WITHIN });
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
