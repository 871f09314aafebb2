//! The clock of Redis' machine is set forward and back, by libfaketime.

use std::{fs, path::PathBuf, time::Duration};

use tokio::time::sleep;

use super::{FaultsError, Row, asker::Asker, failed, limits_file, loss::Hammer, nodes::worst_share};
use crate::{
    binaries,
    process::{next_number, run_folder},
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const BURST: u64 = 100;
const PER_SECOND: u64 = 20;
const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: second, requests_per_unit: 20, burst: 100, on_store_failure: error }
";
const FORWARD_S: u64 = 4;
const BACK_S: u64 = 3;

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let file = run_folder()?.join(format!("faketime-{}", next_number()));
    set(&file, "+0")?;
    // libc's malloc in place of jemalloc's, which asks for the time before libfaketime is ready.
    let library = format!("{}:libc.so.6", binaries::libfaketime()?.display());
    let variables = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let redis = Redis::start_in(&variables).await?;
    let serve =
        Serve::new(limits_file("clock", LIMITS)?).store(redis.url()).args(&["--store-deadline", "1s"]);
    let tollgate = Tollgate::start(&serve).await?;
    Asker::connect(tollgate.grpc()).await?.until_store("user", "warm").await?;

    let hammer = Hammer::on(&tollgate, &["user"]).await?;
    sleep(Duration::from_secs(3)).await;
    set(&file, &format!("+{FORWARD_S}"))?;
    sleep(Duration::from_secs(4)).await;
    let forward = hammer.stop().await;
    let with_step = BURST + PER_SECOND * FORWARD_S;
    let (plain, worst) =
        (worst_share(&forward, BURST, PER_SECOND), worst_share(&forward, with_step, PER_SECOND));

    let hammer = Hammer::on(&tollgate, &["user"]).await?;
    sleep(Duration::from_secs(2)).await;
    set(&file, &format!("+{}", FORWARD_S - BACK_S))?;
    sleep(Duration::from_secs(BACK_S + 4)).await;
    let back = hammer.stop().await;
    let gap_us = back.windows(2).map(|pair| pair[1].end_us - pair[0].start_us).max().unwrap_or(u64::MAX);
    // A key waits for its next token, and as long as the step; and a machine is busy.
    let most_us = BACK_S * 1_000_000 + 1_000_000 / PER_SECOND + 500_000;
    let ms = |us: u64| us / 1_000;
    Ok(vec![
        Row::new(
            format!("Redis' clock steps forward by {FORWARD_S} s"),
            "refill · step more, once",
            format!(
                "{} admitted; the worst interval has {plain:.2} (burst + refill · length), {worst:.2} with the step",
                forward.len()
            ),
            worst <= 1.0 && plain > 1.0,
        ),
        Row::new(
            format!("Redis' clock steps back by {BACK_S} s"),
            "a key waits at most that much longer, and no more passes",
            format!(
                "the longest time without an admission {} ms, at 20 a second; the worst interval {:.2}",
                ms(gap_us),
                worst_share(&back, BURST, PER_SECOND)
            ),
            gap_us <= most_us && gap_us > BACK_S * 900_000 && worst_share(&back, BURST, PER_SECOND) <= 1.0,
        ),
    ])
}

fn set(file: &PathBuf, offset: &str) -> Result<(), FaultsError> {
    fs::write(file, format!("{offset}\n")).map_err(|source| failed(file, source))
}
