//! Finds the Redis to connect to: the one that was named, the master that the Sentinels name at the time, or a node of a
//! Redis Cluster.

use std::sync::Arc;

use super::{
    address::{RedisTarget, Server, Topology},
    keys::tag_in,
    sentinel::Sentinels,
    slots::{NodeId, Slots},
};
use crate::store::{health::StoreHealth, refusal::Refusal};

/// Shared by the runtimes of a process.
#[derive(Debug, Clone)]
pub(super) enum Discovery {
    Named(Server),
    Sentinels(Arc<Sentinels>),
    /// All masters of a Redis Cluster.
    Cluster(Arc<Slots>),
    /// One of them.
    Node(Server, NodeId, Arc<Slots>),
}

/// What a server must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Alone,
    NodeOfACluster,
}

impl Discovery {
    pub(super) fn new(target: &RedisTarget, health: &Arc<StoreHealth>) -> Discovery {
        match target.topology() {
            Topology::One(place) => Discovery::Named(target.server(place.clone())),
            Topology::Sentinels(sentinels) => {
                Discovery::Sentinels(Arc::new(Sentinels::new(target, sentinels)))
            }
            Topology::Cluster(seeds) => Discovery::Cluster(Arc::new(Slots::new(target, seeds, health))),
        }
    }

    /// The server to connect to now. Fails if nobody knows it, with the reason.
    pub(super) async fn server(&self) -> Result<Server, String> {
        match self {
            Discovery::Named(server) | Discovery::Node(server, ..) => Ok(server.clone()),
            Discovery::Sentinels(sentinels) => sentinels.master().await,
            Discovery::Cluster(_) => Err("a Redis Cluster has several masters".to_owned()),
        }
    }

    pub(super) fn expected(&self) -> Expected {
        match self {
            Discovery::Named(_) | Discovery::Sentinels(_) => Expected::Alone,
            Discovery::Cluster(_) | Discovery::Node(..) => Expected::NodeOfACluster,
        }
    }

    /// Whether a server that refused so may accept the next call.
    pub(super) fn may_grant_again(&self, refusal: Refusal) -> bool {
        let is_down = refusal == Refusal::ClusterDown && self.expected() == Expected::NodeOfACluster;
        is_down || refusal.will_pass()
    }

    /// Keys for the probe. In a Redis Cluster they lie in a slot of this node; elsewhere in different slots, so that a node
    /// of a Cluster refuses them even if it does not say what it is.
    pub(super) fn probe_keys(&self) -> [String; 2] {
        match self {
            Discovery::Node(_, id, slots) => {
                let tag = slots.slot_of(*id).map_or(0, tag_in);
                [format!("tg:{{{tag}}}:probe"), format!("tg:{{{tag}}}:probe:2")]
            }
            _ => ["tg:probe".to_owned(), "tg:probe:2".to_owned()],
        }
    }

    /// The connection was lost, or cannot be opened.
    pub(super) fn is_lost(&self) {
        if let Discovery::Node(_, _, slots) = self {
            slots.may_be_old();
        }
    }

    /// Returns when another server than this one must be used.
    pub(super) async fn moved(&self, from: &Server) {
        match self {
            Discovery::Sentinels(sentinels) => sentinels.moved(from.place()).await,
            // A master that serves no slot any more is left to others.
            Discovery::Named(_) | Discovery::Cluster(_) | Discovery::Node(..) => std::future::pending().await,
        }
    }
}
