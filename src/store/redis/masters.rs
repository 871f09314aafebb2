//! Looks whether the addresses of the store's name lead to several masters. Each of them would hold buckets of its own,
//! so replicas that end at different ones would together admit a multiple of each limit.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis::{AsyncConnectionConfig, cmd};
use tokio::time::{sleep, timeout};

use super::{
    address::{Place, Server},
    connection::log_in,
    dial::{addresses, dial_first_of},
};
use crate::{clock::Clock, logging::hourly::Hourly};

const EVERY: Duration = Duration::from_secs(60);
/// The time for asking one address.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the last look has shown; shared by the runtimes of a process.
#[derive(Debug, Default)]
pub struct Masters {
    found: AtomicU32,
    told: Hourly,
}

/// The addresses of each master, by the id that it gave itself when it started.
type ByRunId = BTreeMap<String, Vec<SocketAddr>>;

// === impl Masters ===

impl Masters {
    /// The number of masters among the addresses of the store's name; 0 if it has only one address.
    pub fn found(&self) -> u32 {
        self.found.load(Ordering::Relaxed)
    }

    /// Looks forever. A store with a single address is left alone.
    pub(super) async fn watch(self: Arc<Self>, server: Server) {
        let clock = Clock::start();
        let Place::Host { name, port } = server.place() else { return };
        loop {
            // Whoever connects says why a name cannot be resolved.
            let addresses = addresses(name, *port).await.unwrap_or_default();
            let masters =
                if addresses.len() > 1 { ask(&server, name, addresses).await } else { ByRunId::new() };
            self.see(&masters, name, clock.now_us());
            sleep(EVERY).await;
        }
    }

    fn see(&self, masters: &ByRunId, name: &str, now_us: u64) {
        let found = u32::try_from(masters.len()).unwrap_or(u32::MAX);
        let before = self.found.swap(found, Ordering::Relaxed);
        if found > 1 && self.told.occurs(now_us).is_some() {
            let addresses: Vec<_> = masters.values().flatten().map(ToString::to_string).collect();
            tracing::warn!(
                addresses = addresses.join(", "),
                "the store's name {name} leads to {found} masters, each with buckets of its own: replicas of Tollgate \
                 that end at different ones admit a multiple of each limit. Give a name or an address of one master"
            );
        } else if found <= 1 && before > 1 {
            tracing::info!("the store's name {name} no longer leads to several masters");
        }
    }
}

/// Asks each of these addresses of a name. Those that do not answer, and replicas, are left out.
async fn ask(server: &Server, name: &str, addresses: Vec<SocketAddr>) -> ByRunId {
    let mut masters = ByRunId::new();
    for address in addresses {
        if let Ok(Some(run_id)) = timeout(PATIENCE, run_id(server, name, address)).await {
            masters.entry(run_id).or_default().push(address);
        }
    }
    masters
}

/// None if this is no master, or if it cannot be asked.
async fn run_id(server: &Server, name: &str, address: SocketAddr) -> Option<String> {
    let stream = dial_first_of(server, name, vec![address]).await.ok()?;
    let mut dialled = log_in(server, stream, AsyncConnectionConfig::new()).await.ok()?;
    let info: String = cmd("INFO").query_async(&mut dialled.inner).await.ok()?;
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    (value("role")? == "master").then(|| value("run_id").map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lab::redis::Redis;

    use super::{super::address::RedisTarget, *};

    async fn masters_at(addresses: Vec<SocketAddr>) -> ByRunId {
        let place = Place::Host { name: "redis.test".to_owned(), port: 6379 };
        let server = RedisTarget::parse("redis://redis.test").expect("an address").server(place);
        ask(&server, "redis.test", addresses).await
    }

    #[tokio::test]
    async fn two_masters_behind_one_name_are_told_apart_from_one_with_two_addresses_and_from_a_replica() {
        if !lab::real::available(&[lab::binaries::Part::Redis]) {
            return;
        }
        let one = Redis::start_with(&["--bind", "127.0.0.1", "127.0.0.2"]).await.expect("starts");
        let other = Redis::start().await.expect("starts");
        let (host, port) = (one.addr().ip().to_string(), one.addr().port().to_string());
        let replica = Redis::start_with(&["--replicaof", &host, &port]).await.expect("starts");
        let alias = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), one.addr().port()));
        assert_eq!(masters_at(vec![one.addr(), alias]).await.len(), 1, "one master, two addresses");
        assert_eq!(masters_at(vec![one.addr(), replica.addr()]).await.len(), 1, "a replica is no master");
        let both = masters_at(vec![one.addr(), alias, other.addr()]).await;
        assert_eq!(both.len(), 2);

        let masters = Masters::default();
        masters.see(&both, "redis.test", 1);
        assert_eq!(masters.found(), 2);
        masters.see(&masters_at(vec![one.addr()]).await, "redis.test", 2);
        assert_eq!(masters.found(), 1);
    }
}
