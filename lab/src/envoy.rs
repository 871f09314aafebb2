//! An Envoy of our own, from a file under `envoy/`, on ports that the kernel picks.

use std::{
    fs, io,
    net::{AddrParseError, SocketAddr},
    path::PathBuf,
    process::Command,
};

use thiserror::Error;

use crate::{
    binaries::{BinaryError, Part},
    http::{self, HttpError},
    process::{Process, ProcessError, Signal, next_number, run_folder},
};

pub use config::{Config, ConfigError};

mod config;

#[derive(Debug, Error)]
pub enum EnvoyError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("envoy: cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Part(#[from] BinaryError),
    #[error("envoy: no answer on its admin port")]
    Admin(#[from] HttpError),
    #[error("envoy: its listeners page is not what 1.40 sends")]
    Listeners(#[from] serde_json::Error),
    #[error("envoy: listens on no address")]
    NoListener,
    #[error("envoy: its listeners page names no address")]
    Address(#[from] AddrParseError),
}

#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listen: SocketAddr,
}

// === impl Envoy ===

impl Envoy {
    /// Returns when it accepts requests.
    pub async fn start(config: &Config) -> Result<Envoy, EnvoyError> {
        let stem = run_folder()?.join(format!("{}-{}", config.name(), next_number()));
        let (file, admin_file) = (stem.with_extension("yaml"), stem.with_extension("admin"));
        fs::write(&file, config.text()).map_err(|source| EnvoyError::Write { path: file.clone(), source })?;

        let mut command = Command::new(Part::Envoy.find()?);
        // One worker: a node is one queue, and load balancing over nodes is exact. Hot restart would make several
        // Envoys on one machine contend for one shared-memory segment.
        command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"])
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .env("EDGE_NODE", config.name());
        let mut process = Process::spawn(config.name(), &command)?;

        let admin = process
            .ready(async |_| {
                let admin: SocketAddr = fs::read_to_string(&admin_file).ok()?.trim().parse().ok()?;
                let answer = http::get(admin, "/ready", &[]).await.ok()?;
                answer.status.is_success().then_some(admin)
            })
            .await?;
        let listen = listener(admin).await?;
        Ok(Envoy { process, admin, listen })
    }

    /// Where it takes requests.
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// All that it has written so far, its access log too.
    pub fn log_text(&self) -> String {
        self.process.log_text()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A counter or gauge by its full name. Envoy makes many only at first use: one that is not there is 0.
    pub async fn counter(&self, name: &str) -> Result<u64, EnvoyError> {
        let page = http::get(self.admin, "/stats", &[]).await?.text();
        let value = page.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name);
        Ok(value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
    }

    /// Freezes it: connections stay open, and nobody answers.
    pub fn pause(&mut self) -> Result<(), EnvoyError> {
        Ok(self.process.signal(Signal::Stop)?)
    }

    pub fn resume(&mut self) -> Result<(), EnvoyError> {
        Ok(self.process.signal(Signal::Continue)?)
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// The address that its one listener really has.
async fn listener(admin: SocketAddr) -> Result<SocketAddr, EnvoyError> {
    let answer = http::get(admin, "/listeners?format=json", &[]).await?;
    let page: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let address = &page["listener_statuses"][0]["local_address"]["socket_address"];
    match (address["address"].as_str(), address["port_value"].as_u64()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}").parse()?),
        _ => Err(EnvoyError::NoListener),
    }
}
