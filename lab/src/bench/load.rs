//! `lab load`: makes requests for some seconds, and prints what was answered and what it cost as JSON.
//!
//! A process of its own, so that it can be pinned and its CPU time told from the rest. It shares the machine
//! with what it measures, so requests are bytes that are changed in place, and answers are looked at, not
//! decoded: about a microsecond a request. Ends by itself.

mod args;
mod body;
mod drive;
mod evalsha;
mod incrby;
mod meter;
mod pacer;
mod rls;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime, select,
    sync::oneshot,
    task::{JoinError, JoinSet},
    time,
};
use tollgate::certificates::CertificateError;
use tollgate_core::limit::LimitError;

use super::{keys::Asks, proc::ProcError, resp::RespError, sample::Sample, stats::percentile};
pub use args::{LoadArgs, Target};
use body::Form;
use drive::{Shared, Tally};
use evalsha::Evalsha;
use incrby::Incrby;
use meter::Measured;
use rls::Rls;
use wire::{Wire, WireError};

/// How long answers are waited for when the time is up.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error("cannot connect to {addr}")]
    Connect { addr: SocketAddr, source: std::io::Error },
    #[error("cannot make a TLS connection with {addr}")]
    Secure { addr: SocketAddr, source: std::io::Error },
    #[error("cannot set up TLS")]
    Tls(#[from] CertificateError),
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
                let wire = Rls::new(addr, Form::RateLimit, args.descriptors);
                measure(args, connect_all(args, addr).await?, || wire.clone()).await
            }
            Target::RlsOverTls(addr) => {
                let wire = Rls::new(addr, Form::RateLimit, args.descriptors);
                let streams = connect_all(args, addr).await?;
                measure(args, tls::secure_all(streams, addr).await?, || wire.clone()).await
            }
            Target::Check(addr) => {
                let wire = Rls::new(addr, Form::Check, args.descriptors);
                measure(args, connect_all(args, addr).await?, || wire.clone()).await
            }
            Target::CheckForBrowser(addr) => {
                let wire = Rls::new(addr, Form::CheckForBrowser, args.descriptors);
                measure(args, connect_all(args, addr).await?, || wire.clone()).await
            }
            Target::Incrby(addr) => {
                let wire = Incrby::new(args.descriptors);
                measure(args, connect_all(args, addr).await?, || wire.clone()).await
            }
            Target::Evalsha(addr) => {
                let wire = Evalsha::new(addr, args.keys)?;
                measure(args, connect_all(args, addr).await?, || wire.clone()).await
            }
        }
    })
}

async fn measure<W: Wire, S: AsyncRead + AsyncWrite + Send + 'static>(
    args: &LoadArgs,
    streams: Vec<S>,
    wire: impl Fn() -> W,
) -> Result<Sample, LoadError> {
    let asks = Asks::new(args.keys, args.mix, args.seed, args.most);
    let shared = Arc::new(Shared::new(asks));
    // The last one gets what does not divide.
    let quota = |index| (args.concurrency + index) / args.connections;
    let (finished, ended) = mpsc::channel::<()>();
    let (over, time_is_up) = oneshot::channel();
    let meter = meter::start(args, Arc::clone(&shared), ended, over)?;
    let mut tickets = pacer::start(args, &shared)?;
    let mut tasks = JoinSet::new();
    for (index, stream) in streams.into_iter().enumerate() {
        let (wire, shared) = (wire(), Arc::clone(&shared));
        tasks.spawn(drive::drive(stream, wire, quota(index), shared, tickets.next()));
    }
    join(tasks, time_is_up).await?;
    drop(finished);
    let measured = meter.join().ok().ok_or(LoadError::Thread)??;
    Ok(sample(&measured, &shared))
}

/// Waits for all connections; when the time is up, only so long. Late answers are counted as such.
async fn join(
    mut tasks: JoinSet<Result<(), LoadError>>,
    time_is_up: oneshot::Receiver<()>,
) -> Result<(), LoadError> {
    let mut joined = pin!(async {
        while let Some(task) = tasks.join_next().await {
            task.map_err(LoadError::Connection)??;
        }
        Ok(())
    });
    select! {
        outcome = &mut joined => return outcome,
        // Also when the meter has failed, which its own end tells.
        _ = time_is_up => {}
    }
    time::timeout(PATIENCE, joined).await.unwrap_or(Ok(()))
}

async fn connect_all(args: &LoadArgs, addr: SocketAddr) -> Result<Vec<TcpStream>, LoadError> {
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        streams.push(connect(addr).await?);
    }
    Ok(streams)
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
        masters: measured.masters.clone(),
        load_cpu_us: measured.load_cpu_us,
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
