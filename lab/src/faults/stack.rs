//! Redis, replicas of Tollgate on it, and three nodes with the shipped configuration in front of them.

use std::{path::Path, time::Duration};

use super::FaultsError;
use crate::{
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};

#[derive(Debug)]
pub(super) struct Stack {
    pub(super) topology: Topology,
    pub(super) replicas: Vec<Tollgate>,
    pub(super) serve: Serve,
    pub(super) redis: Redis,
}

impl Stack {
    /// Returns when the replicas have counted themselves, which takes some looks.
    pub(super) async fn start(limits: &Path, replicas: usize) -> Result<Stack, FaultsError> {
        let redis = Redis::start().await?;
        let serve = Serve::new(limits).store(redis.url());
        let mut started = Vec::new();
        for _ in 0..replicas {
            started.push(Tollgate::start(&serve).await?);
        }
        let addresses: Vec<_> = started.iter().map(Tollgate::grpc).collect();
        let topology = Topology::start(&Variant::Global(Global::new(addresses))).await?;
        let stack = Stack { topology, replicas: started, serve, redis };
        while stack.counts("tollgate_replicas").await? != vec![replicas as u64; replicas] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(stack)
    }

    /// A metric of each replica.
    pub(super) async fn counts(&self, name: &str) -> Result<Vec<u64>, FaultsError> {
        let mut counts = Vec::new();
        for replica in &self.replicas {
            let page = http::get(replica.admin(), "/metrics", &[]).await?.text();
            counts.push(sum(&page, name));
        }
        Ok(counts)
    }
}

/// What all series add up to whose line begins so, or has `{…name…}` such as `source="store"` in it.
pub(super) fn sum(page: &str, name: &str) -> u64 {
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| {
            line.starts_with(name)
                || line.contains(&format!("{name}}}"))
                || line.contains(&format!("{name},"))
        })
        .filter_map(value)
        .sum()
}
