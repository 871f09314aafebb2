//! `lab load`: makes requests for some seconds, and prints what was answered and what it cost as JSON.
//!
//! A process of its own, so that it can be pinned and its CPU time told from the rest. It shares the machine
//! with what it measures, so requests are bytes that are changed in place, and answers are looked at, not
//! decoded: about a microsecond a request. Ends by itself.

mod drive;
mod evalsha;
mod incrby;
mod meter;
mod pacer;
mod rls;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use clap::Args;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    runtime,
    task::{JoinError, JoinSet},
    time,
};
use tollgate::limit::LimitError;

use super::{
    keys::{Asks, Keys, Mix},
    proc::ProcError,
    resp::RespError,
    sample::Sample,
    stats::percentile,
};
use drive::{Shared, Tally};
use evalsha::Evalsha;
use incrby::Incrby;
use meter::Measured;
use rls::Rls;
use wire::{Wire, WireError};

/// How long answers are waited for when the time is up.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// rls=IP:PORT, incrby=IP:PORT or evalsha=IP:PORT
    #[arg(long)]
    pub to: Target,
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Requests in flight, over all connections
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,
    /// one, uniform:N, zipf:N or each:N
    #[arg(long, default_value = "one")]
    pub keys: Keys,
    /// allowed, half, denied or once
    #[arg(long, default_value = "allowed")]
    pub mix: Mix,
    #[arg(long, default_value_t = 1)]
    pub descriptors: usize,
    #[arg(long, default_value_t = 400)]
    pub warm_up_ms: u64,
    #[arg(long, default_value_t = 2_000)]
    pub measure_ms: u64,
    /// Requests per second, sent at random whatever comes back, in place of `concurrency`
    #[arg(long)]
    pub rate: Option<f64>,
    /// End after so many requests
    #[arg(long)]
    pub most: Option<u64>,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The process whose CPU time and memory are the service's
    #[arg(long)]
    pub service_pid: Option<u32>,
    #[arg(long)]
    pub redis_pid: Option<u32>,
    /// The Redis that the service asks
    #[arg(long)]
    pub redis: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Rls(SocketAddr),
    Incrby(SocketAddr),
    Evalsha(SocketAddr),
}

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error("cannot connect to {addr}")]
    Connect { addr: SocketAddr, source: std::io::Error },
    #[error("a connection broke")]
    Broken(#[source] std::io::Error),
    #[error("the other side closed a connection")]
    Closed,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error(transparent)]
    Redis(#[from] RespError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("a connection of the load generator has panicked")]
    Connection(#[source] JoinError),
    #[error("a thread of the load generator has panicked")]
    Thread,
}

/// Runs on a thread of its own; must not be called within a tokio runtime.
pub fn run(args: &LoadArgs) -> Result<Sample, LoadError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Start)?;
    runtime.block_on(async {
        match args.to {
            Target::Rls(addr) => {
                let wire = Rls::new(addr, args.descriptors);
                measure(args, addr, || wire.clone()).await
            }
            Target::Incrby(addr) => {
                let wire = Incrby::new(args.descriptors);
                measure(args, addr, || wire.clone()).await
            }
            Target::Evalsha(addr) => {
                let wire = Evalsha::new(addr, args.keys)?;
                measure(args, addr, || wire.clone()).await
            }
        }
    })
}

async fn measure<W: Wire>(
    args: &LoadArgs,
    addr: SocketAddr,
    wire: impl Fn() -> W,
) -> Result<Sample, LoadError> {
    let asks = Asks::new(args.keys, args.mix, args.seed, args.most);
    let shared = Arc::new(Shared::new(asks));
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        streams.push(connect(addr).await?);
    }
    // The last one gets what does not divide.
    let quota = |index| (args.concurrency + index) / args.connections;
    let (finished, ended) = mpsc::channel::<()>();
    let meter = meter::start(args, Arc::clone(&shared), ended)?;
    let mut tickets = pacer::start(args, &shared)?;
    let mut tasks = JoinSet::new();
    for (index, stream) in streams.into_iter().enumerate() {
        let (wire, shared) = (wire(), Arc::clone(&shared));
        tasks.spawn(drive::drive(stream, wire, quota(index), shared, tickets.next()));
    }
    let most = Duration::from_millis(args.warm_up_ms + args.measure_ms) + PATIENCE;
    let joined = time::timeout(most, async {
        while let Some(task) = tasks.join_next().await {
            task.map_err(LoadError::Connection)??;
        }
        Ok::<(), LoadError>(())
    });
    // Late answers are counted as such below.
    if let Ok(outcome) = joined.await {
        outcome?;
    }
    drop(finished);
    let measured = meter.join().ok().ok_or(LoadError::Thread)??;
    Ok(sample(&measured, &shared))
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, LoadError> {
    let failed = |source| LoadError::Connect { addr, source };
    let stream = TcpStream::connect(addr).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

fn sample(measured: &Measured, shared: &Shared) -> Sample {
    let mut tally = shared.tally();
    let Tally { ok, over, limited, errors, ref mut latencies_ns } = *tally;
    latencies_ns.sort_unstable();
    let us = |share| f64::from(percentile(latencies_ns, share)) / 1_000.0;
    Sample {
        ok,
        over,
        limited,
        errors,
        unanswered: shared.in_flight(),
        p50_us: us(0.5),
        p99_us: us(0.99),
        p999_us: us(0.999),
        seconds: measured.seconds,
        service_cpu_us: measured.service_cpu_us,
        redis_cpu_us: measured.redis_cpu_us,
        load_cpu_us: measured.load_cpu_us,
        redis_calls: measured.redis_calls,
        resident_kib: measured.resident_kib,
    }
}

/// A thread that ends with the load.
fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, LoadError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(LoadError::Start)
}

// === impl LoadArgs ===

impl LoadArgs {
    /// As another process of this program takes them.
    pub fn command_line(&self) -> Vec<String> {
        let mut words = vec!["load".to_owned()];
        let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
        flag("to", self.to.to_string());
        flag("connections", self.connections.to_string());
        flag("concurrency", self.concurrency.to_string());
        flag("keys", self.keys.to_string());
        flag("mix", self.mix.to_string());
        flag("descriptors", self.descriptors.to_string());
        flag("warm-up-ms", self.warm_up_ms.to_string());
        flag("measure-ms", self.measure_ms.to_string());
        flag("seed", self.seed.to_string());
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name}={value}")));
        };
        flag("rate", self.rate.map(|rate| rate.to_string()));
        flag("most", self.most.map(|most| most.to_string()));
        flag("service-pid", self.service_pid.map(|pid| pid.to_string()));
        flag("redis-pid", self.redis_pid.map(|pid| pid.to_string()));
        flag("redis", self.redis.map(|addr| addr.to_string()));
        words
    }
}

// === impl Target ===

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Rls(addr) => write!(f, "rls={addr}"),
            Target::Incrby(addr) => write!(f, "incrby={addr}"),
            Target::Evalsha(addr) => write!(f, "evalsha={addr}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// 127.0.0.1 and its like only: this is a load generator.
    fn from_str(text: &str) -> Result<Target, String> {
        let (name, addr) = text.split_once('=').unwrap_or((text, ""));
        let addr: SocketAddr = addr.parse().map_err(|error| format!("{addr:?}: {error}"))?;
        if !addr.ip().is_loopback() {
            return Err(format!("{addr} is not on this machine"));
        }
        match name {
            "rls" => Ok(Target::Rls(addr)),
            "incrby" => Ok(Target::Incrby(addr)),
            "evalsha" => Ok(Target::Evalsha(addr)),
            _ => Err("rls=, incrby= or evalsha=".to_owned()),
        }
    }
}
