//! A Redis of our own: on a free port of 127.0.0.1, in memory only, gone with its owner.

mod cluster;
mod reshard;
mod watched;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use thiserror::Error;

use crate::{
    bench::resp::RespError,
    binaries::{BinaryError, Part},
    ports,
    process::{Process, ProcessError, Signal, run_folder},
};

pub use cluster::Cluster;
pub use reshard::redis_cli;
pub use watched::Watched;

const SENTINEL: &str = "--sentinel";
/// Between finding a port free and taking it someone else may take it; not five times in a row.
const PORTS_TRIED: usize = 5;

#[derive(Debug, Error)]
pub enum RedisError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Binary(#[from] BinaryError),
    #[error("redis: no free port on 127.0.0.1")]
    NoPort,
    #[error(transparent)]
    Command(#[from] RespError),
    #[error("redis: a Cluster that is not whole after {} s", within.as_secs())]
    NotWhole { within: Duration },
    #[error("redis-cli cannot move slots: {why}")]
    NotMoved { why: String },
}

#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    process: Process,
    addr: SocketAddr,
    args: Vec<String>,
    variables: Vec<(String, String)>,
}

// === impl Redis ===

impl Redis {
    pub async fn start() -> Result<Redis, RedisError> {
        Redis::start_with(&[]).await
    }

    /// With further arguments for redis-server, such as `["--maxmemory", "10mb"]`.
    pub async fn start_with(args: &[&str]) -> Result<Redis, RedisError> {
        Redis::start_as(&Part::Redis.find()?, args, &[]).await
    }

    /// With another program than the one that tests use, such as Valkey's.
    pub async fn start_program(program: &Path, args: &[&str]) -> Result<Redis, RedisError> {
        Redis::start_as(program, args, &[]).await
    }

    /// With variables in its environment.
    pub async fn start_in(variables: &[(&str, &str)]) -> Result<Redis, RedisError> {
        Redis::start_as(&Part::Redis.find()?, &[], variables).await
    }

    /// A Sentinel that watches the Redis at that address under the name `watched`. This many Sentinels must agree that
    /// it is gone, which takes a second.
    pub async fn start_sentinel(of: SocketAddr, quorum: usize) -> Result<Redis, RedisError> {
        Redis::start_sentinel_with(of, quorum, "").await
    }

    /// With further lines for its file.
    pub async fn start_sentinel_with(
        of: SocketAddr,
        quorum: usize,
        lines: &str,
    ) -> Result<Redis, RedisError> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let folder = run_folder()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let config = folder.join(format!("sentinel-{}-{number}.conf", of.port()));
        let watched = format!(
            "sentinel monitor watched {} {} {quorum}\nsentinel down-after-milliseconds watched 1000\n\
             sentinel failover-timeout watched 5000\n{lines}\n",
            of.ip(),
            of.port()
        );
        let unusable = |source| ProcessError::Folder { folder: folder.to_path_buf(), source };
        fs::write(&config, watched).map_err(unusable)?;
        Redis::start_as(&Part::Redis.find()?, &[&config.display().to_string(), SENTINEL], &[]).await
    }

    async fn start_as(
        program: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Redis, RedisError> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<(String, String)> = variables.iter().map(owned).collect();
        let mut tried = 0;
        loop {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().ok_or(RedisError::NoPort)?));
            tried += 1;
            match serve(program, addr, &args, &variables).await {
                Ok(process) => {
                    return Ok(Redis { program: program.to_owned(), process, addr, args, variables });
                }
                Err(ProcessError::Ended { .. }) if tried < PORTS_TRIED => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Again on the same port, and empty unless its arguments make it keep what it held. What still runs is killed
    /// first.
    pub async fn restart(&mut self) -> Result<(), RedisError> {
        self.kill();
        self.process = serve(&self.program, self.addr, &self.args, &self.variables).await?;
        Ok(())
    }

    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As `tollgate --store` takes it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Freezes it: connections stay open, and the kernel accepts new ones, but nobody answers.
    pub fn pause(&mut self) -> Result<(), RedisError> {
        Ok(self.process.signal(Signal::Stop)?)
    }

    pub fn resume(&mut self) -> Result<(), RedisError> {
        Ok(self.process.signal(Signal::Continue)?)
    }

    /// SIGKILL: connections are reset, new ones refused, and what it held is lost.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

async fn serve(
    program: &Path,
    addr: SocketAddr,
    args: &[String],
    variables: &[(String, String)],
) -> Result<Process, ProcessError> {
    let folder = run_folder()?;
    let mut command = Command::new(program);
    // The file of a Sentinel, which cannot be without one, must come first.
    let (first, ready) = match args {
        [file, flag] if flag == SENTINEL => (Some(file), "Sentinel ID is"),
        _ => (None, "Ready to accept connections"),
    };
    command
        .args(first)
        .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1", "--unixsocket", ""])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
        .arg(folder)
        .args(&args[usize::from(first.is_some())..])
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let mut process = Process::spawn("redis", &command)?;
    // Its own word, not a connection: another Redis may have taken this very port.
    process.ready(async |log| log.contains(ready).then_some(())).await?;
    Ok(process)
}
