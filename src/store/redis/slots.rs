//! Which master of a Redis Cluster serves which slot, as this process knows it.
//!
//! Each runtime looks up the slots of each request. The nodes are asked every ten seconds, and at once, but at most every
//! 100 ms, when something shows that the map may be old: a call was sent elsewhere or refused, or a connection was lost.
//! What a node says about one slot by MOVED counts at once. A node may be cut off and know little, so an answer that
//! leaves slots unserved counts only if no other node knows more.

mod reading;
mod rounds;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::{
    address::{Place, RedisTarget, Server},
    keys::SLOTS,
};
use crate::{clock::Clock, store::health::StoreHealth};
use reading::Reading;
pub(super) use reading::place;

/// How long a node is kept that a redirect named and that serves no slot: it may be about to.
const NAMED_FOR_US: u64 = 30_000_000;
/// The most nodes that are remembered; a Redis Cluster has at most 1,000.
const MOST_NODES: usize = 2_000;

/// A node of the Cluster; the number is never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// Shared by the runtimes of a process.
#[derive(Debug)]
pub(super) struct Slots {
    target: RedisTarget,
    seeds: Vec<Place>,
    /// The number of the node that serves each slot; 0: none.
    owners: Box<[AtomicU32]>,
    nodes: Mutex<Nodes>,
    changes: watch::Sender<u64>,
    doubt: Notify,
    /// Whether a request asked for a bucket that counts as used up if it is missing, so that each slot needs an epoch.
    needs_epochs: AtomicBool,
    is_watched: AtomicBool,
    health: Arc<StoreHealth>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Nodes {
    by_id: HashMap<NodeId, Node>,
    last_id: u32,
    /// Who probably knows more, because another node named it.
    hint: Option<Place>,
}

#[derive(Debug)]
struct Node {
    place: Place,
    /// When a redirect named it last; 0 for never.
    named_us: u64,
}

// === impl Slots ===

impl Slots {
    pub(super) fn new(target: &RedisTarget, seeds: &[Place], health: &Arc<StoreHealth>) -> Slots {
        Slots {
            target: target.clone(),
            seeds: seeds.to_vec(),
            owners: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            nodes: Mutex::default(),
            changes: watch::Sender::default(),
            doubt: Notify::new(),
            needs_epochs: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            health: Arc::clone(health),
            clock: Clock::start(),
        }
    }

    /// The node that serves a slot. None if there is no such node, or it is not known.
    pub(super) fn owner(&self, slot: u16) -> Option<NodeId> {
        let id = self.owners.get(usize::from(slot))?.load(Ordering::Relaxed);
        (id != 0).then_some(NodeId(id))
    }

    /// A slot that this node serves.
    pub(super) fn slot_of(&self, node: NodeId) -> Option<u16> {
        (0..SLOTS).find(|slot| self.owner(*slot) == Some(node))
    }

    /// How to connect to a node, if it is still known.
    pub(super) fn server(&self, node: NodeId) -> Option<Server> {
        let place = self.nodes().by_id.get(&node)?.place.clone();
        Some(self.target.server(place))
    }

    /// All nodes that are known.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes().by_id.keys().copied().collect()
    }

    /// Tells when nodes have come or gone, or slots have moved.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn needs_epochs(&self) -> bool {
        self.needs_epochs.load(Ordering::Relaxed)
    }

    /// A request asks for a bucket that counts as used up if it is missing.
    pub(super) fn asks_for_epochs(&self) {
        self.needs_epochs.store(true, Ordering::Relaxed);
    }

    /// Whether a map was read.
    pub(super) fn is_known(&self) -> bool {
        *self.changes.borrow() > 0
    }

    /// A redirect names this node. None if there are too many.
    pub(super) fn named(&self, place: Place) -> Option<NodeId> {
        let now_us = self.clock.now_us();
        let mut nodes = self.nodes();
        let before = nodes.by_id.len();
        let id = nodes.id_of(place)?;
        if let Some(node) = nodes.by_id.get_mut(&id) {
            node.named_us = now_us;
        }
        let is_new = nodes.by_id.len() > before;
        drop(nodes);
        if is_new {
            self.has_changed();
        }
        Some(id)
    }

    /// A node says that another one serves this slot now.
    pub(super) fn moved(&self, slot: u16, to: Place) -> Option<NodeId> {
        let id = self.named(to.clone())?;
        if let Some(owner) = self.owners.get(usize::from(slot)) {
            owner.store(id.0, Ordering::Relaxed);
        }
        self.nodes().hint = Some(to);
        self.may_be_old();
        Some(id)
    }

    /// Something shows that the map may be old: it is read again soon.
    pub(super) fn may_be_old(&self) {
        self.doubt.notify_one();
    }

    /// Whether nobody watches yet. If so, the caller must from now on.
    pub(super) fn is_free(&self) -> bool {
        !self.is_watched.swap(true, Ordering::Relaxed)
    }

    fn learn(&self, reading: &Reading) {
        let now_us = self.clock.now_us();
        let mut owners = vec![0; usize::from(SLOTS)];
        let mut nodes = self.nodes();
        for (range, place) in &reading.ranges {
            let Some(id) = nodes.id_of(place.clone()) else { continue };
            owners[usize::from(*range.start())..=usize::from(*range.end())].fill(id.0);
        }
        let count = nodes.by_id.len();
        nodes
            .by_id
            .retain(|id, node| now_us.saturating_sub(node.named_us) < NAMED_FOR_US || owners.contains(&id.0));
        let mut has_changed = nodes.by_id.len() != count || !self.is_known();
        drop(nodes);
        for (known, read) in self.owners.iter().zip(&owners) {
            has_changed |= known.swap(*read, Ordering::Relaxed) != *read;
        }
        self.tell_of_unserved(owners.iter().filter(|owner| **owner == 0).count());
        if has_changed {
            self.has_changed();
        }
    }

    fn tell_of_unserved(&self, unserved: usize) {
        let before = self.health.unserved();
        self.health.are_unserved(unserved);
        if unserved > 0 && before == 0 {
            tracing::warn!(
                slots = unserved,
                "the Redis Cluster has slots that no master serves: the store fails for their buckets. Repair it with \
                 redis-cli --cluster fix"
            );
        } else if unserved == 0 && before > 0 {
            tracing::info!("masters serve all slots of the Redis Cluster again");
        }
    }

    fn has_changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Nodes ===

impl Nodes {
    /// None if there are too many.
    fn id_of(&mut self, place: Place) -> Option<NodeId> {
        if let Some((id, _)) = self.by_id.iter().find(|(_, node)| node.place == place) {
            return Some(*id);
        }
        let next = self.last_id.checked_add(1).filter(|_| self.by_id.len() < MOST_NODES)?;
        self.last_id = next;
        self.by_id.insert(NodeId(next), Node { place, named_us: 0 });
        Some(NodeId(next))
    }
}

#[cfg(test)]
mod tests;
