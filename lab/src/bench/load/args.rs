//! What `lab load` takes, and how another process of this program is told.

use std::{fmt, net::SocketAddr, str::FromStr};

use clap::Args;

use crate::bench::keys::{Keys, Mix};

#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// rls=IP:PORT, tls-rls=IP:PORT, check=IP:PORT, browser-check=IP:PORT, incrby=IP:PORT or evalsha=IP:PORT
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
    /// allowed, half, denied, once or pairs
    #[arg(long, default_value = "allowed")]
    pub mix: Mix,
    #[arg(long, default_value_t = 1)]
    pub descriptors: usize,
    #[arg(long, default_value_t = 400)]
    pub warm_up_ms: u64,
    #[arg(long, default_value_t = 2_000)]
    pub measure_ms: u64,
    /// Requests per second, sent at random times independently of the answers, instead of `concurrency`
    #[arg(long)]
    pub rate: Option<f64>,
    /// End after this number of requests
    #[arg(long)]
    pub most: Option<u64>,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Process id of the service, to measure its CPU time and memory
    #[arg(long)]
    pub service_pid: Option<u32>,
    /// Process id of each Redis that decides for the service
    #[arg(long, value_delimiter = ',')]
    pub redis_pid: Vec<u32>,
    /// Their addresses, in the same order
    #[arg(long, value_delimiter = ',')]
    pub redis: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Rls(SocketAddr),
    RlsOverTls(SocketAddr),
    Check(SocketAddr),
    CheckForBrowser(SocketAddr),
    Incrby(SocketAddr),
    Evalsha(SocketAddr),
}

fn listed(values: &[impl fmt::Display]) -> Option<String> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    (!values.is_empty()).then(|| values.join(","))
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
        flag("redis-pid", listed(&self.redis_pid));
        flag("redis", listed(&self.redis));
        words
    }
}

// === impl Target ===

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Rls(addr) => write!(f, "rls={addr}"),
            Target::RlsOverTls(addr) => write!(f, "tls-rls={addr}"),
            Target::Check(addr) => write!(f, "check={addr}"),
            Target::CheckForBrowser(addr) => write!(f, "browser-check={addr}"),
            Target::Incrby(addr) => write!(f, "incrby={addr}"),
            Target::Evalsha(addr) => write!(f, "evalsha={addr}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// Accepts only loopback addresses, because this is a load generator.
    fn from_str(text: &str) -> Result<Target, String> {
        let (name, addr) = text.split_once('=').unwrap_or((text, ""));
        let addr: SocketAddr = addr.parse().map_err(|error| format!("{addr:?}: {error}"))?;
        if !addr.ip().is_loopback() {
            return Err(format!("{addr} is not on this machine"));
        }
        match name {
            "rls" => Ok(Target::Rls(addr)),
            "tls-rls" => Ok(Target::RlsOverTls(addr)),
            "check" => Ok(Target::Check(addr)),
            "browser-check" => Ok(Target::CheckForBrowser(addr)),
            "incrby" => Ok(Target::Incrby(addr)),
            "evalsha" => Ok(Target::Evalsha(addr)),
            _ => Err("rls=, tls-rls=, check=, browser-check=, incrby= or evalsha=".to_owned()),
        }
    }
}
