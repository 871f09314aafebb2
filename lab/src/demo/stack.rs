//! What the demo runs on, and what `lab up` keeps in the foreground.

use std::{net::SocketAddr, path::PathBuf, thread, time::Duration};

use tollgate::limit::{Limit, Unit};

use super::DemoError;
use crate::{
    binaries::{self, Part},
    envoy::{Config, Envoy, EnvoyError},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};

/// So that a busy machine makes no guesses: the demo is about exactness. README.md says what to use instead.
const GENEROUS: Duration = Duration::from_secs(5);

/// Both variants, each with three nodes and a load balancer, and two single nodes to compare latency with.
#[derive(Debug)]
pub struct Stack {
    pub redis: Redis,
    /// Asked by all nodes of `global`; its buckets live in Redis.
    pub tollgate: Tollgate,
    /// Asked by `memory_node`.
    pub tollgate_in_memory: Tollgate,
    pub global: Topology,
    pub naive: Topology,
    pub memory_node: Envoy,
    /// A node that limits nothing.
    pub plain_node: Envoy,
    /// A node that counts for itself, up to a limit that is never in the way.
    pub counting_node: Envoy,
}

impl Stack {
    pub async fn start() -> Result<Stack, DemoError> {
        let redis = Redis::start().await?;
        let serve = Serve::new(limits()).args(&["--store-deadline", "5s"]);
        let (tollgate, tollgate_in_memory) =
            tokio::try_join!(async { Tollgate::start(&serve.clone().store(redis.url())).await }, async {
                Tollgate::start(&serve).await
            })?;
        let per_second = Limit::new(10, Unit::Second, None).expect("ten a second is a limit");
        let global = Variant::Global(Global::new([tollgate.grpc()]).timeout(GENEROUS));
        let naive = Variant::Naive(per_second);
        let (global, naive) = tokio::try_join!(Topology::start(&global), Topology::start(&naive))?;

        let upstream = global.upstream.listen();
        let (memory_node, plain_node, counting_node) = tokio::try_join!(
            memory_node(upstream, &tollgate_in_memory),
            plain_node(upstream, &tollgate),
            counting_node(upstream)
        )?;
        Ok(Stack {
            redis,
            tollgate,
            tollgate_in_memory,
            global,
            naive,
            memory_node,
            plain_node,
            counting_node,
        })
    }

    /// On what the figures were measured.
    pub fn machine(&self) -> String {
        let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let version = |part: Part| part.version().unwrap_or_else(|| "of unknown version".to_owned());
        format!("{cores} cores, Envoy {}, Redis {}", version(Part::Envoy), version(Part::Redis))
    }
}

async fn memory_node(upstream: SocketAddr, tollgate: &Tollgate) -> Result<Envoy, EnvoyError> {
    let config = Config::global_node("memory", upstream, &[tollgate.grpc()])?;
    Envoy::start(&config.patience(GENEROUS)?).await
}

async fn plain_node(upstream: SocketAddr, tollgate: &Tollgate) -> Result<Envoy, EnvoyError> {
    let config = Config::global_node("plain", upstream, &[tollgate.grpc()])?;
    // A filter that is disabled is skipped, as if it were not in the chain.
    let filter = "- name: envoy.filters.http.ratelimit\n";
    Envoy::start(&config.replace(filter, &format!("{filter}            disabled: true\n"))?).await
}

async fn counting_node(upstream: SocketAddr) -> Result<Envoy, EnvoyError> {
    let ample = Limit::new(1_000_000, Unit::Second, None).expect("a million a second is a limit");
    Envoy::start(&Config::naive_node("counting", upstream, &ample)?).await
}

/// The limits of the demo.
pub fn limits() -> PathBuf {
    binaries::checkout().join("examples/demo.yaml")
}
