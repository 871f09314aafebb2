//! The processes of the demo, which `lab up` keeps in the foreground.

use std::{path::PathBuf, thread, time::Duration};

use tollgate_core::limit::{Limit, Unit};

use super::DemoError;
use crate::{
    binaries::{self, Part},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};

/// Long, so that a busy machine causes no fallback answers: the demo is about exactness.
pub const GENEROUS: Duration = Duration::from_secs(5);

/// All variants, each with three nodes and a load balancer.
#[derive(Debug)]
pub struct Stack {
    pub redis: Redis,
    /// The Tollgate that all nodes of `global` and `authz` ask. Its buckets are in Redis.
    pub tollgate: Tollgate,
    pub global: Topology,
    pub authz: Topology,
    pub naive: Topology,
}

impl Stack {
    pub async fn start() -> Result<Stack, DemoError> {
        let redis = Redis::start().await?;
        let tollgate = Tollgate::start(&serve().store(redis.url())).await?;
        let per_second = Limit::new(10, Unit::Second, None).expect("ten a second is a limit");
        let global = Variant::Global(Global::new([tollgate.grpc()]).timeout(GENEROUS));
        let authz = Variant::Global(Global::by_authz([tollgate.grpc()]).timeout(GENEROUS));
        let naive = Variant::Naive(per_second);
        let (global, authz, naive) =
            tokio::try_join!(Topology::start(&global), Topology::start(&authz), Topology::start(&naive))?;
        Ok(Stack { redis, tollgate, global, authz, naive })
    }

    /// All of its processes.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.redis.pid(), self.tollgate.pid()];
        pids.extend(self.global.pids());
        pids.extend(self.authz.pids());
        pids.extend(self.naive.pids());
        pids
    }

    /// The machine on which the figures were measured.
    pub fn machine(&self) -> String {
        let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let version = |part: Part| part.version().unwrap_or_else(|| "of unknown version".to_owned());
        format!("{cores} cores, Envoy {}, Redis {}", version(Part::Envoy), version(Part::Redis))
    }
}

/// A Tollgate with the limits of the demo.
pub fn serve() -> Serve {
    Serve::new(limits()).args(&["--store-deadline", "5s", "--authz-address-header", "x-tollgate-client"])
}

fn limits() -> PathBuf {
    binaries::checkout().join("examples/demo.yaml")
}
