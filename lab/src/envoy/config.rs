//! A file under `envoy/`, with other addresses and numbers in it.
//!
//! The files are what users read, and they run as they stand; so they hold plain values rather than
//! placeholders, and those known here are replaced as text. A value that is not there is an error: an edit that
//! does nothing would leave a test that tests something else.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tollgate_core::limit::Limit;

use crate::{binaries::checkout, ports};

// The ports in the files, as envoy/README.md lists them.
const LB: u16 = 10_000;
const NODES: [u16; 3] = [10_001, 10_002, 10_003];
const UPSTREAM: u16 = 9_000;
const TOLLGATE: u16 = 8_081;
const LB_ADMIN: u16 = 9_900;
const NODE_ADMIN: u16 = 9_901;
const UPSTREAM_ADMIN: u16 = 9_909;
const RECIPES_TCP: u16 = 10_030;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("no port is free")]
    NoPort,
    #[error("envoy/{file}: '{text}' stands there {found} times, not once")]
    NotOnce { file: &'static str, text: String, found: usize },
}

#[derive(Debug, Clone)]
pub struct Config {
    name: String,
    file: &'static str,
    text: String,
}

// === impl Config ===

impl Config {
    /// In front of the nodes, round robin.
    pub fn load_balancer(nodes: [SocketAddr; 3]) -> Result<Config, ConfigError> {
        let mut config = Config::read("lb", "lb.yaml")?.at_any_port(LB, LB_ADMIN)?;
        for (port, node) in NODES.into_iter().zip(nodes) {
            config = config.endpoint(port, &[node])?;
        }
        Ok(config)
    }

    /// A node that asks the Tollgates at `rls`.
    pub fn global_node(name: &str, upstream: SocketAddr, rls: &[SocketAddr]) -> Result<Config, ConfigError> {
        Config::asking_node(name, "global/node.yaml", upstream, rls)
    }

    /// A node that asks the Tollgates at `rls` by ext_authz.
    pub fn authz_node(name: &str, upstream: SocketAddr, rls: &[SocketAddr]) -> Result<Config, ConfigError> {
        Config::asking_node(name, "authz/node.yaml", upstream, rls)
    }

    fn asking_node(
        name: &str,
        file: &'static str,
        upstream: SocketAddr,
        rls: &[SocketAddr],
    ) -> Result<Config, ConfigError> {
        Config::read(name, file)?
            .at_any_port(NODES[0], NODE_ADMIN)?
            .endpoint(UPSTREAM, &[upstream])?
            .endpoint(TOLLGATE, rls)
    }

    /// A node that counts for itself.
    pub fn naive_node(name: &str, upstream: SocketAddr, limit: &Limit) -> Result<Config, ConfigError> {
        let bucket = format!(
            "{{ max_tokens: {}, tokens_per_fill: {}, fill_interval: {}s }}",
            limit.burst(),
            limit.requests_per_unit(),
            limit.unit().seconds()
        );
        Config::read(name, "naive/node.yaml")?
            .at_any_port(NODES[0], NODE_ADMIN)?
            .endpoint(UPSTREAM, &[upstream])?
            .replace("{ max_tokens: 10, tokens_per_fill: 10, fill_interval: 1s }", &bucket)
    }

    /// `examples/envoy.yaml`, a node with its application inside, which asks the Tollgate at `rls`.
    pub fn example(rls: SocketAddr) -> Result<Config, ConfigError> {
        let mut config = Config::read("example", "../examples/envoy.yaml")?.at_any_port(LB, NODE_ADMIN)?;
        // It stands there twice: where it listens, and where it is asked.
        let application = ports::free().ok_or(ConfigError::NoPort)?;
        let [from, to] = [UPSTREAM, application].map(|port| socket_address("127.0.0.1", port));
        config.text = config.text.replace(&from, &to);
        config.endpoint(TOLLGATE, &[rls])
    }

    /// `examples/recipes/envoy.yaml`, a node with a route for each recipe, in front of that application.
    pub fn recipes(rls: SocketAddr, application: SocketAddr, tcp: SocketAddr) -> Result<Config, ConfigError> {
        Config::read("recipes", "../examples/recipes/envoy.yaml")?
            .at_any_port(LB, NODE_ADMIN)?
            .replace(&socket_address("127.0.0.1", RECIPES_TCP), &socket_address("127.0.0.1", tcp.port()))?
            .endpoint(UPSTREAM, &[application])?
            .endpoint(TOLLGATE, &[rls])
    }

    /// Answers everything with 200.
    pub fn upstream() -> Result<Config, ConfigError> {
        Config::read("upstream", "upstream.yaml")?.at_any_port(UPSTREAM, UPSTREAM_ADMIN)
    }

    /// How long a global node waits for Tollgate: for an answer, for each try, and for a connection.
    pub fn patience(self, timeout: Duration) -> Result<Config, ConfigError> {
        let timeout = format!("{}s", timeout.as_secs_f64());
        self.replace(" timeout: 0.2s\n", &format!(" timeout: {timeout}\n"))?
            .replace("max_interval: 0.1s", &format!("max_interval: {timeout}"))?
            .replace("connect_timeout: 0.1s", &format!("connect_timeout: {timeout}"))
    }

    /// `text`, which must stand there exactly once, becomes `put`.
    pub fn replace(mut self, text: &str, put: &str) -> Result<Config, ConfigError> {
        let found = self.text.matches(text).count();
        if found != 1 {
            return Err(ConfigError::NotOnce { file: self.file, text: text.trim().to_owned(), found });
        }
        self.text = self.text.replace(text, put);
        Ok(self)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    fn read(name: &str, file: &'static str) -> Result<Config, ConfigError> {
        let path = checkout().join("envoy").join(file);
        let text = read(&path)?;
        Ok(Config { name: name.to_owned(), file, text })
    }

    /// Takes requests and admin calls wherever the kernel says.
    fn at_any_port(self, listener: u16, admin: u16) -> Result<Config, ConfigError> {
        let any = socket_address("127.0.0.1", 0);
        self.replace(&socket_address("127.0.0.1", listener), &any)?
            .replace(&socket_address("127.0.0.1", admin), &any)
    }

    /// The line with that endpoint, once for each of `to`.
    fn endpoint(self, port: u16, to: &[SocketAddr]) -> Result<Config, ConfigError> {
        let address = socket_address("127.0.0.1", port);
        let line = self.text.lines().find(|line| line.contains(&address)).unwrap_or(&address).to_owned();
        let lines: Vec<String> = to
            .iter()
            .map(|to| line.replace(&address, &socket_address(&to.ip().to_string(), to.port())))
            .collect();
        self.replace(&line, &lines.join("\n"))
    }
}

/// As all files write it, on one line.
fn socket_address(host: &str, port: u16) -> String {
    format!("address: {host}, port_value: {port} }}")
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}
