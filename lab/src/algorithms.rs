//! `lab algorithms`: what the three ways to count cost, and what each admits at worst, on a real Redis.
//!
//! The script is the service's own. Its clock is an argument here, so that a minute of load takes no minute.

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

/// Compare token bucket, sliding log and fixed window by memory, CPU time and what they admit at worst
#[derive(Debug, Args)]
pub struct AlgorithmsArgs {
    /// Rounds of each measurement; medians want five
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Where the results go
    #[arg(long, default_value = "target/algorithms")]
    pub out: PathBuf,
    /// Write docs/algorithms.md and docs/algorithms.svg too
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
    #[error("the script's reply makes no sense")]
    Reply(#[source] tollgate::store::StoreError),
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// One way to count, under a limit of `n` a minute.
#[derive(Debug, Clone, Copy)]
struct Contender {
    n: u32,
    algorithm: Algorithm,
    /// Of a token bucket.
    burst: Option<u32>,
}

/// All that was measured of one of them.
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
    let of = |n: u32| {
        let contender = |algorithm, burst| Contender { n, algorithm, burst };
        [
            contender(Algorithm::TokenBucket, None),
            contender(Algorithm::TokenBucket, Some(n / 10)),
            contender(Algorithm::FixedWindow, None),
            contender(Algorithm::SlidingWindowLog, None),
        ]
    };
    NUMBERS.into_iter().flat_map(of).collect()
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
