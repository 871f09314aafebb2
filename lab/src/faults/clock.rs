//! The clock of Redis' machine is set forward and back, by libfaketime.

use std::{fs, path::PathBuf, time::Duration};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    asker::Asker,
    failed,
    hammer::{self, Hammer, PER_SECOND, worst_with},
    limits_file,
};
use crate::{
    binaries,
    process::{next_number, run_folder},
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const FORWARD_S: u64 = 4;
const BACK_S: u64 = 3;

/// A Redis whose clock goes by a file, and a Tollgate on it.
struct Bench {
    file: PathBuf,
    tollgate: Tollgate,
    _redis: Redis,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let bench = Bench::start().await?;
    Ok(vec![forward(&bench).await?, back(&bench).await?])
}

async fn forward(bench: &Bench) -> Result<Row, FaultsError> {
    let hammer = Hammer::on(&bench.tollgate, &["user"]).await?;
    sleep(Duration::from_secs(3)).await;
    bench.set(FORWARD_S)?;
    sleep(Duration::from_secs(4)).await;
    let admitted = hammer.stop().await;
    let (plain, with_step) = (worst_with(&admitted, 0), worst_with(&admitted, PER_SECOND * FORWARD_S));
    Ok(Row::new(format!("Redis' clock steps forward by {FORWARD_S} s"))
        .promised("refill · step more, once")
        .measured(format!(
            "{} admitted; the worst interval has {plain:.2} (burst + refill · length), {with_step:.2} with the \
             step",
            admitted.len()
        ))
        .kept_if(with_step <= 1.0 && plain > 1.0))
}

/// From where the first left it.
async fn back(bench: &Bench) -> Result<Row, FaultsError> {
    let hammer = Hammer::on(&bench.tollgate, &["user"]).await?;
    sleep(Duration::from_secs(2)).await;
    bench.set(FORWARD_S - BACK_S)?;
    sleep(Duration::from_secs(BACK_S + 4)).await;
    let admitted = hammer.stop().await;
    let gaps_us = admitted.windows(2).map(|pair| pair[1].end_us - pair[0].start_us);
    let gap_us = gaps_us.max().unwrap_or(u64::MAX);
    // A key waits for its next token, and as long as the step; and a machine is busy.
    let most_us = BACK_S * 1_000_000 + 1_000_000 / PER_SECOND + 500_000;
    let worst = worst_with(&admitted, 0);
    Ok(Row::new(format!("Redis' clock steps back by {BACK_S} s"))
        .promised("a key waits at most that much longer, and no more passes")
        .measured(format!(
            "the longest time without an admission {} ms, at {PER_SECOND} a second; the worst interval {worst:.2}",
            gap_us / 1_000
        ))
        .kept_if(gap_us <= most_us && gap_us > BACK_S * 900_000 && worst <= 1.0))
}

// === impl Bench ===

impl Bench {
    async fn start() -> Result<Bench, FaultsError> {
        let file = run_folder()?.join(format!("faketime-{}", next_number()));
        set(&file, 0)?;
        // libc's malloc in place of jemalloc's, which asks for the time before libfaketime is ready.
        let library = format!("{}:libc.so.6", binaries::libfaketime()?.display());
        let variables = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let redis = Redis::start_in(&variables).await?;
        let limits = format!("domain: edge\ndescriptors:\n{}", hammer::limit("user", ""));
        let serve = Serve::new(limits_file("clock", &limits)?).store(redis.url());
        let tollgate = Tollgate::start(&serve.args(&["--store-deadline", "1s"])).await?;
        Asker::connect(tollgate.grpc()).await?.until_store("user", "warm").await?;
        Ok(Bench { file, tollgate, _redis: redis })
    }

    /// So many seconds ahead of the real time.
    fn set(&self, ahead_s: u64) -> Result<(), FaultsError> {
        set(&self.file, ahead_s)
    }
}

fn set(file: &PathBuf, ahead_s: u64) -> Result<(), FaultsError> {
    fs::write(file, format!("+{ahead_s}\n")).map_err(|source| failed(file, source))
}
