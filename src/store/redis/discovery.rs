//! Finds the Redis to connect to: the one that was named, or the master that the Sentinels name at the time.

use std::sync::Arc;

use super::{
    address::{RedisTarget, Server, Topology},
    sentinel::Sentinels,
};

/// Shared by the runtimes of a process.
#[derive(Debug, Clone)]
pub(super) enum Discovery {
    Named(Server),
    Sentinels(Arc<Sentinels>),
}

impl Discovery {
    pub(super) fn new(target: &RedisTarget) -> Discovery {
        match target.topology() {
            Topology::One(place) => Discovery::Named(target.server(place.clone())),
            Topology::Sentinels(sentinels) => {
                Discovery::Sentinels(Arc::new(Sentinels::new(target, sentinels)))
            }
        }
    }

    /// The server to connect to now. Fails if no Sentinel knows it, with the reason.
    pub(super) async fn server(&self) -> Result<Server, String> {
        match self {
            Discovery::Named(server) => Ok(server.clone()),
            Discovery::Sentinels(sentinels) => sentinels.master().await,
        }
    }

    /// Returns when another server than this one must be used.
    pub(super) async fn moved(&self, from: &Server) {
        match self {
            Discovery::Named(_) => std::future::pending().await,
            Discovery::Sentinels(sentinels) => sentinels.moved(from.place()).await,
        }
    }
}
