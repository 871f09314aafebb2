//! Other rate-limit services whose binaries the user has built: started here with fair settings, for `--peer NAME=PATH`.
//!
//! Each gets a Redis of its own, the limits of the load in its own format, and as many threads as Tollgate has runtimes.
//! It ends with its owner.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use tokio::net::TcpStream;

use super::{BenchError, limits};
use crate::{
    ports,
    process::{Process, ProcessError},
    redis::{Redis, RedisError},
};

/// What the reference calls the folder of its limits, below its root.
const RUNTIME_FOLDERS: [&str; 2] = ["ratelimit", "config"];
/// A key that is over its limit needs some 100 bytes of it.
const LOCAL_CACHE_BYTES: &str = "1048576";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Ratelimit,
    /// The same with its local cache of keys that are over their limit, which is off by default.
    RatelimitCached,
    Limitador,
}

/// A binary, as it was named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    pub program: Program,
    pub path: PathBuf,
}

/// A peer that runs.
#[derive(Debug)]
pub struct Started {
    pub addr: SocketAddr,
    process: Process,
}

// === impl Program ===

impl Program {
    /// The names that `--peer` knows.
    const NAMES: [(&'static str, Program); 2] =
        [("envoyproxy-ratelimit", Program::Ratelimit), ("limitador", Program::Limitador)];

    pub const fn label(self) -> &'static str {
        match self {
            Program::Ratelimit => "envoyproxy/ratelimit",
            Program::RatelimitCached => "envoyproxy/ratelimit, local cache",
            Program::Limitador => "limitador",
        }
    }

    /// The one that is named on the command line for it.
    const fn named(self) -> Program {
        match self {
            Program::RatelimitCached => Program::Ratelimit,
            named => named,
        }
    }
}

// === impl Binary ===

impl FromStr for Binary {
    type Err = String;

    fn from_str(text: &str) -> Result<Binary, String> {
        const WRITE: &str = "write envoyproxy-ratelimit=PATH or limitador=PATH";
        let (name, path) = text.split_once('=').ok_or(WRITE)?;
        let known = Program::NAMES.iter().find(|(known, _)| *known == name);
        let (_, program) = known.ok_or_else(|| format!("there is no peer {name:?}; {WRITE}"))?;
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(format!(
                "there is no file {}; docs/performance.md says how to get {name}",
                path.display()
            ));
        }
        Ok(Binary { program: *program, path })
    }
}

/// The binary named for this program, if there is one.
pub fn binary(binaries: &[Binary], program: Program) -> Option<&Binary> {
    binaries.iter().find(|binary| binary.program == program.named())
}

/// The programs that run: what was named, and the reference once more with its local cache.
pub fn programs(binaries: &[Binary]) -> Vec<Program> {
    let cached = |binary: &Binary| (binary.program == Program::Ratelimit).then_some(Program::RatelimitCached);
    binaries.iter().flat_map(|binary| [Some(binary.program), cached(binary)]).flatten().collect()
}

// === impl Started ===

impl Started {
    /// With that Redis, with `threads` threads that run at a time, and with the limits of the load in `folder`.
    pub async fn start(
        program: Program,
        binary: &Binary,
        redis: &Redis,
        threads: usize,
        folder: &Path,
    ) -> Result<Started, BenchError> {
        let addr = free()?;
        let command = match program.named() {
            Program::Limitador => limitador(&binary.path, addr, redis, folder)?,
            _ => ratelimit(&binary.path, program, addr, redis, threads, folder)?,
        };
        let mut process =
            Process::spawn(program.named().label().rsplit('/').next().unwrap_or("peer"), &command)
                .map_err(|source| failed(program, source))?;
        // Both listen only after they have read their limits and reached Redis.
        process
            .ready(async |_| TcpStream::connect(addr).await.ok())
            .await
            .map_err(|source| failed(program, source))?;
        Ok(Started { addr, process })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn failed(program: Program, source: ProcessError) -> BenchError {
    BenchError::Peer { name: program.label(), source }
}

fn free() -> Result<SocketAddr, BenchError> {
    let port = ports::free().ok_or(RedisError::NoPort)?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Its settings are variables. Where statistics go to Prometheus none of them is logged; with USE_STATSD=false alone, it
/// writes a line for each request.
fn ratelimit(
    path: &Path,
    program: Program,
    addr: SocketAddr,
    redis: &Redis,
    threads: usize,
    folder: &Path,
) -> Result<Command, BenchError> {
    let root = absolute(&folder.join("ratelimit"))?;
    let limits = root.join(RUNTIME_FOLDERS[0]).join(RUNTIME_FOLDERS[1]).join("limits.yaml");
    super::write(&limits, &limits::yaml())?;
    let local = |name: &str, command: &mut Command| {
        let addr = free()?;
        command.env(format!("{name}HOST"), "127.0.0.1").env(format!("{name}PORT"), addr.port().to_string());
        Ok::<_, BenchError>(())
    };
    let mut command = Command::new(path);
    local("", &mut command)?;
    local("DEBUG_", &mut command)?;
    command
        .env("GRPC_HOST", "127.0.0.1")
        .env("GRPC_PORT", addr.port().to_string())
        .env("GOMAXPROCS", threads.to_string())
        .env("USE_STATSD", "false")
        .env("USE_PROMETHEUS", "true")
        .env("PROMETHEUS_ADDR", free()?.to_string())
        .env("LOG_LEVEL", "warn")
        .env("REDIS_SOCKET_TYPE", "tcp")
        .env("REDIS_URL", redis.addr().to_string())
        .env("RUNTIME_ROOT", &root)
        .env("RUNTIME_SUBDIRECTORY", RUNTIME_FOLDERS[0])
        .env("RUNTIME_APPDIRECTORY", RUNTIME_FOLDERS[1])
        .env("RUNTIME_WATCH_ROOT", "false");
    if program == Program::RatelimitCached {
        command.env("LOCAL_CACHE_SIZE_IN_BYTES", LOCAL_CACHE_BYTES);
    }
    Ok(command)
}

/// It decides on one thread, whatever it is given.
fn limitador(path: &Path, addr: SocketAddr, redis: &Redis, folder: &Path) -> Result<Command, BenchError> {
    let limits = absolute(&folder.join("limitador/limits.yaml"))?;
    super::write(&limits, &limits::limitador_yaml())?;
    let mut command = Command::new(path);
    command
        .args(["--rls-ip", "127.0.0.1", "--rls-port", &addr.port().to_string()])
        .args(["--http-ip", "127.0.0.1", "--http-port", &free()?.port().to_string()])
        .arg(&limits)
        .args(["redis", &redis.url()]);
    Ok(command)
}

/// A process of its own need not have the same working folder.
fn absolute(path: &Path) -> Result<PathBuf, BenchError> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| std::path::absolute(path))
        .map_err(|source| BenchError::Write { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{binaries::Part, real};

    #[test]
    fn a_peer_that_nobody_knows_or_that_is_not_there_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<Binary>().unwrap_err();
        let names = "write envoyproxy-ratelimit=PATH or limitador=PATH";
        assert_eq!(refused("limitador"), names);
        assert_eq!(refused("gubernator=/bin/sh"), format!("there is no peer \"gubernator\"; {names}"));
        let missing = refused("limitador=/nowhere/limitador-server");
        assert!(missing.contains("no file /nowhere/limitador-server; docs/performance.md"), "{missing}");
        assert_eq!("limitador=/bin/sh".parse::<Binary>().unwrap().program, Program::Limitador);
    }

    #[tokio::test]
    async fn a_binary_that_ends_at_once_is_told_with_what_it_said() {
        if !real::available(&[Part::Redis]) {
            return;
        }
        let folder = std::env::temp_dir().join(format!("lab-peers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("broken");
        fs::write(&path, "#!/bin/sh\necho no such limits; exit 3\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let redis = Redis::start().await.unwrap();
        let binary = Binary { program: Program::Ratelimit, path };
        let error = Started::start(Program::Ratelimit, &binary, &redis, 1, &folder).await.unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        let said = tollgate::error::chain(&error).to_string();
        assert!(said.starts_with("the peer envoyproxy/ratelimit cannot be started"), "{said}");
        assert!(said.ends_with("\n    no such limits"), "{said}");
    }
}
