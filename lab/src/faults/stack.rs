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
    pub(super) async fn start(limits: &Path, replicas: usize) -> Result<Stack, FaultsError> {
        let redis = Redis::start().await?;
        let serve = Serve::new(limits).store(redis.url());
        let started = replicas_on(&serve, replicas).await?;
        let addresses: Vec<_> = started.iter().map(Tollgate::grpc).collect();
        let topology = Topology::start(&Variant::Global(Global::new(addresses))).await?;
        Ok(Stack { topology, replicas: started, serve, redis })
    }

    /// A metric of each replica.
    pub(super) async fn counts(&self, name: &str) -> Result<Vec<u64>, FaultsError> {
        counts(&self.replicas, name).await
    }
}

/// So many, once they have counted themselves, which takes some looks.
pub(super) async fn replicas_on(serve: &Serve, count: usize) -> Result<Vec<Tollgate>, FaultsError> {
    let mut started = Vec::new();
    for _ in 0..count {
        started.push(Tollgate::start(serve).await?);
    }
    while counts(&started, "tollgate_replicas").await?.iter().any(|known| *known != count as u64) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(started)
}

async fn counts(replicas: &[Tollgate], name: &str) -> Result<Vec<u64>, FaultsError> {
    let mut counts = Vec::new();
    for replica in replicas {
        let page = http::get(replica.admin(), "/metrics", &[]).await?.text();
        counts.push(sum(&page, name));
    }
    Ok(counts)
}

/// The sum of all series with that name or label.
pub(super) fn sum(page: &str, name: &str) -> u64 {
    let is_meant = |line: &&str| {
        let behind = line.find(name).map(|at| &line[at + name.len()..]);
        !line.starts_with('#') && behind.is_some_and(|behind| behind.starts_with(['{', ' ', '}', ',']))
    };
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
    page.lines().filter(is_meant).filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_are_told_by_their_name_or_a_label() {
        let page = "# TYPE a counter\na{source=\"store\",verdict=\"allow\"} 3\na{source=\"local\"} 4\nab 5\nb{x=\"1\",source=\"store\"} 6\n";
        assert_eq!(sum(page, "a"), 7);
        assert_eq!(sum(page, "ab"), 5);
        assert_eq!(sum(page, "source=\"store\""), 9);
    }
}
