//! Three Sentinels replace a master that was killed, or stopped and continued, under load.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    ledger::{self, Promise},
};
use crate::{
    bench::resp,
    redis::{Redis, RedisError},
};

const WATCHED_WITHIN: Duration = Duration::from_secs(30);
/// Down after a second, and then there is an election.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    Ok(vec![killed().await?, continued().await?])
}

struct Watched {
    master: Redis,
    replica: Redis,
    sentinels: Vec<Redis>,
}

async fn killed() -> Result<Row, FaultsError> {
    let mut watched = Watched::start().await?;
    let mut named = Duration::ZERO;
    let ledger = ledger::of(&watched.url(), async || {
        let started = Instant::now();
        watched.master.kill();
        watched.until_replaced().await?;
        named = started.elapsed();
        sleep(Duration::from_secs(2)).await;
        Ok(())
    })
    .await?;
    Ok(ledger.row(
        format!("the master is killed; its replica is the master after {:.1} s", named.as_secs_f64()),
        Promise::Replaced(REPLACED_WITHIN),
    ))
}

/// The old master believes that it is one until a Sentinel tells it otherwise.
async fn continued() -> Result<Row, FaultsError> {
    let mut watched = Watched::start().await?;
    let (mut named, mut decided) = (Duration::ZERO, 0);
    let ledger = ledger::of(&watched.url(), async || {
        let started = Instant::now();
        watched.master.pause()?;
        watched.until_replaced().await?;
        named = started.elapsed();
        sleep(Duration::from_secs(2)).await;
        watched.master.resume()?;
        // What was sent to it before the stop is answered first.
        sleep(Duration::from_millis(100)).await;
        let before = resp::calls(watched.master.addr())?;
        sleep(Duration::from_secs(3)).await;
        decided = resp::calls(watched.master.addr())? - before;
        Ok(())
    })
    .await?;
    let row = ledger.row(
        format!(
            "the master is stopped, replaced after {:.1} s, and continued 2 s later",
            named.as_secs_f64()
        ),
        Promise::Replaced(REPLACED_WITHIN),
    );
    let measured = format!("{}; the old master ran {decided} more calls after it continued", row.measured);
    let is_kept = row.kept && decided == 0;
    Ok(row.measured(measured).kept_if(is_kept))
}

// === impl Watched ===

impl Watched {
    async fn start() -> Result<Watched, FaultsError> {
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

    fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("redis+sentinel://{}/watched", places.join(","))
    }

    async fn until_replaced(&self) -> Result<(), FaultsError> {
        until(|| Ok(resp::tell(self.replica.addr(), &["INFO", "replication"])?.contains("role:master"))).await
    }
}

/// A Redis closes the connections of its clients when a Sentinel changes its role, so an error is no answer.
async fn until(mut is_so: impl FnMut() -> Result<bool, RedisError>) -> Result<(), FaultsError> {
    let started = Instant::now();
    while !is_so().unwrap_or(false) {
        if started.elapsed() > WATCHED_WITHIN {
            return Err(RedisError::NotWhole { within: WATCHED_WITHIN }.into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
