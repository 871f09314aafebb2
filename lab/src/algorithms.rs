//! `lab algorithms`: the cost of the three algorithms on a real Redis, and the most that each admits.
//!
//! The script is the one that the service uses. Its clock is an argument here, so a minute of load takes less than a
//! minute.

mod admitted;
mod cost;
mod page;
mod redis;
#[cfg(test)]
mod tests;

use std::{fs, io, path::PathBuf};

use clap::Args;
use thiserror::Error;
use tollgate_core::limit::{Algorithm, LimitSpec, Unit};

use crate::{
    bench::{machine, proc::ProcError, resp::RespError},
    binaries,
    redis::RedisError,
};
use admitted::Admitted;
use cost::Cost;
use redis::Script;

/// Compare token bucket, sliding log and fixed window: memory, CPU time and the most they admit
#[derive(Debug, Args)]
pub struct AlgorithmsArgs {
    /// Rounds of each measurement; use at least five for stable medians
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Folder for the results
    #[arg(long, default_value = "target/algorithms")]
    pub out: PathBuf,
    /// Also write docs/algorithms.md and docs/algorithms.svg
    #[arg(long)]
    pub write_docs: bool,
}

#[derive(Debug, Error)]
pub enum AlgorithmsError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Demand(#[from] RespError),
    #[error("cannot talk to Redis")]
    Talk(#[source] io::Error),
    #[error("cannot read the script's reply")]
    Reply(#[source] tollgate::store::StoreError),
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// An algorithm with a limit of `n` per minute.
#[derive(Debug, Clone, Copy)]
struct Contender {
    n: u32,
    algorithm: Algorithm,
    /// Set only for a token bucket.
    burst: Option<u32>,
}

/// The measurements of one contender.
#[derive(Debug)]
struct Figures {
    contender: Contender,
    cost: Cost,
    admitted: Admitted,
}

const NUMBERS: [u32; 3] = [10, 100, 1_000];

pub async fn run(args: &AlgorithmsArgs) -> Result<(), AlgorithmsError> {
    let redis = crate::redis::Redis::start().await?;
    let mut script = Script::load(redis.addr(), redis.pid())?;
    let mut all = Vec::new();
    for contender in contenders() {
        println!("{}", contender.label());
        let admitted = admitted::measure(&mut script, contender)?;
        let cost = cost::measure(&mut script, contender, args.runs)?;
        all.push(Figures { contender, cost, admitted });
    }
    let command = format!("lab algorithms --runs {}", args.runs);
    let page = page::markdown(&all, &machine(), &command);
    println!("\n{}", page::table(&all).text());
    write(args.out.join("algorithms.md"), &page)?;
    write(args.out.join("algorithms.svg"), &page::svg(&all))?;
    write(args.out.join("algorithms.json"), &page::json(&all))?;
    if args.write_docs {
        let docs = binaries::checkout().join("docs");
        write(docs.join("algorithms.md"), &page)?;
        write(docs.join("algorithms.svg"), &page::svg(&all))?;
    }
    Ok(())
}

fn write(path: PathBuf, text: &str) -> Result<(), AlgorithmsError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(&path, text)).map_err(|source| AlgorithmsError::Write { path, source })
}

fn contenders() -> Vec<Contender> {
    let with_number = |n: u32| {
        let contender = |algorithm, burst| Contender { n, algorithm, burst };
        [
            contender(Algorithm::TokenBucket, None),
            contender(Algorithm::TokenBucket, Some(n / 10)),
            contender(Algorithm::FixedWindow, None),
            contender(Algorithm::SlidingWindowLog, None),
        ]
    };
    NUMBERS.into_iter().flat_map(with_number).collect()
}

impl Contender {
    fn spec(self) -> LimitSpec {
        LimitSpec { algorithm: self.algorithm, burst: self.burst, ..LimitSpec::new(self.n, Unit::Minute) }
    }

    fn label(self) -> String {
        let n = self.n;
        match (self.algorithm, self.burst) {
            (Algorithm::TokenBucket, None) => format!("{n}/minute, token bucket"),
            (Algorithm::TokenBucket, Some(burst)) => format!("{n}/minute, token bucket, burst {burst}"),
            (Algorithm::FixedWindow, _) => format!("{n}/minute, fixed window"),
            (Algorithm::SlidingWindowLog, _) => format!("{n}/minute, sliding log"),
        }
    }
}
