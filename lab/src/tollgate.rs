//! A Tollgate of our own: `tollgate serve`, with the addresses that it really bound.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::{
    binaries,
    process::{Process, ProcessError, Signal},
};

/// Arguments of `tollgate serve`. Port 0, the default, lets the kernel choose a port.
#[derive(Debug, Clone)]
pub struct Serve {
    /// None: [`binaries::tollgate`].
    pub program: Option<PathBuf>,
    /// None: the rules come from elsewhere, as the arguments say.
    pub config: Option<PathBuf>,
    /// As `--store` takes it; none means in memory.
    pub store: Option<String>,
    pub grpc_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// Further arguments, such as `["--store-deadline", "5s"]`.
    pub args: Vec<String>,
    /// Variables. Those of the caller's shell that are flags are not handed on.
    pub variables: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Tollgate {
    process: Process,
    grpc: SocketAddr,
    admin: SocketAddr,
}

// === impl Serve ===

impl Serve {
    pub fn new(config: impl Into<PathBuf>) -> Serve {
        Serve { config: Some(config.into()), ..Serve::without_files() }
    }

    pub fn without_files() -> Serve {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Serve {
            program: None,
            config: None,
            store: None,
            grpc_listen: any,
            admin_listen: any,
            args: Vec::new(),
            variables: Vec::new(),
        }
    }

    #[must_use]
    pub fn store(mut self, url: impl Into<String>) -> Serve {
        self.store = Some(url.into());
        self
    }

    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Serve {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Serve {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self) -> Result<Command, ProcessError> {
        let mut command = Command::new(self.program.clone().map_or_else(binaries::tollgate, Ok)?);
        command.arg("serve");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(store) = &self.store {
            command.args(["--store", store]);
        }
        command
            .args(["--grpc-listen", &self.grpc_listen.to_string()])
            .args(["--admin-listen", &self.admin_listen.to_string()])
            .args(&self.args)
            // The start line is read below; colours would stand between its words.
            .env("NO_COLOR", "1");
        // Every flag is also a variable: what the caller's shell has set is not part of a test.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOLLGATE_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

// === impl Tollgate ===

impl Tollgate {
    /// Returns when it says that it listens.
    pub async fn start(serve: &Serve) -> Result<Tollgate, ProcessError> {
        let mut process = Process::spawn("tollgate", &serve.command()?)?;
        let (grpc, admin) = process.ready(async |log| log.lines().find_map(addresses)).await?;
        Ok(Tollgate { process, grpc, admin })
    }

    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it has logged so far.
    pub fn log_text(&self) -> String {
        self.process.log_text()
    }

    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        self.process.signal(signal)
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        self.process.terminate(within).await
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// Reads the addresses from the line `... listening grpc=ADDR admin=ADDR ...`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, fields) = line.split_once("listening ")?;
    let field = |name| fields.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    Some((field("grpc=")?, field("admin=")?))
}
