//! The whole picture: load balancer → three nodes → upstream, in the variants that are compared.

use std::{net::SocketAddr, time::Duration};

use tollgate_core::limit::Limit;

use crate::envoy::{Config, ConfigError, Envoy, EnvoyError};

#[derive(Debug, Clone)]
pub enum Variant {
    /// All nodes ask Tollgate, by its rate-limit service or by ext_authz.
    Global(Global),
    /// Each node counts for itself, with this limit per key and route.
    Naive(Limit),
}

/// Nodes that ask the Tollgates at `rls`.
#[derive(Debug, Clone)]
pub struct Global {
    pub rls: Vec<SocketAddr>,
    pub door: Door,
    /// How long nodes wait for Tollgate; none means as the file says, 0.2 s.
    pub timeout: Option<Duration>,
    /// Changes to the file of the nodes: what stands there once, and what to put there instead.
    pub edits: Vec<(String, String)>,
}

/// How a node asks Tollgate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Rls,
    Authz,
}

#[derive(Debug)]
pub struct Topology {
    pub upstream: Envoy,
    pub nodes: [Envoy; 3],
    pub lb: Envoy,
}

// === impl Global ===

impl Global {
    /// As the files stand.
    pub fn new(rls: impl Into<Vec<SocketAddr>>) -> Global {
        Global { rls: rls.into(), door: Door::Rls, timeout: None, edits: Vec::new() }
    }

    /// Nodes that ask by ext_authz.
    pub fn by_authz(rls: impl Into<Vec<SocketAddr>>) -> Global {
        Global { door: Door::Authz, ..Global::new(rls) }
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Global {
        self.timeout = Some(timeout);
        self
    }

    #[must_use]
    pub fn edit(mut self, text: &str, put: &str) -> Global {
        self.edits.push((text.to_owned(), put.to_owned()));
        self
    }

    fn node(&self, name: &str, upstream: SocketAddr) -> Result<Config, ConfigError> {
        let mut config = match self.door {
            Door::Rls => Config::global_node(name, upstream, &self.rls)?,
            Door::Authz => Config::authz_node(name, upstream, &self.rls)?,
        };
        if let Some(timeout) = self.timeout {
            config = config.patience(timeout)?;
        }
        self.edits.iter().try_fold(config, |config, (text, put)| config.replace(text, put))
    }
}

// === impl Topology ===

impl Topology {
    /// Returns when requests to [`Topology::addr`] reach the upstream.
    pub async fn start(variant: &Variant) -> Result<Topology, EnvoyError> {
        let upstream = Envoy::start(&Config::upstream()?).await?;
        let node = async |name: &str| {
            let config = match variant {
                Variant::Global(global) => global.node(name, upstream.listen())?,
                Variant::Naive(limit) => Config::naive_node(name, upstream.listen(), limit)?,
            };
            Envoy::start(&config).await
        };
        let (a, b, c) = tokio::try_join!(node("node1"), node("node2"), node("node3"))?;
        let nodes = [a, b, c];
        let lb = Envoy::start(&Config::load_balancer(nodes.each_ref().map(Envoy::listen))?).await?;
        Ok(Topology { upstream, nodes, lb })
    }

    /// Where clients send requests: the load balancer.
    pub const fn addr(&self) -> SocketAddr {
        self.lb.listen()
    }

    /// The sum over all nodes of the counter `name`, such as `cluster.upstream.ratelimit.failure_mode_allowed`.
    pub async fn counter(&self, name: &str) -> Result<u64, EnvoyError> {
        let mut sum = 0;
        for node in &self.nodes {
            sum += node.counter(name).await?;
        }
        Ok(sum)
    }

    /// All of its processes.
    pub fn pids(&self) -> Vec<u32> {
        let nodes = self.nodes.iter().map(Envoy::pid);
        nodes.chain([self.upstream.pid(), self.lb.pid()]).collect()
    }
}
