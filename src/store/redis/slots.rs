//! Which master of a Redis Cluster serves which slot, as this process knows it.
//!
//! Each runtime looks up the slots of each request. The nodes are asked every ten seconds, and at once, but at most every
//! 100 ms, when something shows that the map may be old: a call was sent elsewhere or refused, or a connection was lost.
//! What a node says about one slot by MOVED counts at once. A node may be cut off and know little, so an answer that
//! leaves slots unserved counts only if no other node knows more.

mod reading;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    address::{Place, RedisTarget, Server},
    connection::{Dialled, NoConnection},
    keys::SLOTS,
};
use crate::{
    clock::Clock,
    store::health::{LineHealth, StoreHealth},
    tasks::{self, Task},
};
use reading::Reading;
pub(super) use reading::place;

const EVERY: Duration = Duration::from_secs(10);
/// The time between two rounds while nothing is known.
const SOON: Duration = Duration::from_millis(250);
const AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// The time for the answer of one node, including the connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a node has until the next one is asked as well.
const STAGGER: Duration = Duration::from_millis(100);
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

    /// Reads the map, for a process that does not watch it.
    pub(super) async fn read_once(&self) -> Result<(), NoConnection> {
        let reading = self.read(self.candidates(0), &mut HashMap::new()).await?;
        self.learn(&reading);
        Ok(())
    }

    /// Reads the map forever.
    pub(super) async fn watch(self: Arc<Self>) {
        // Until a map is known, the store counts as one that nobody has met.
        let mut unmet = (!self.is_known()).then(|| LineHealth::new(&self.health));
        let (mut kept, mut turn, mut is_silent) = (HashMap::new(), 0, false);
        loop {
            tasks::may_panic(Task::StoreConnection);
            let started_us = self.clock.now_us();
            match self.read(self.candidates(turn), &mut kept).await {
                Ok(reading) => {
                    self.learn(&reading);
                    unmet = None;
                    if std::mem::take(&mut is_silent) {
                        tracing::info!(
                            "a node of the Redis Cluster says again which master serves which slot"
                        );
                    }
                }
                Err(none) => match (&unmet, none) {
                    (Some(line), NoConnection::Away(error)) => line.is_unreachable(&error),
                    (Some(line), NoConnection::Denied(complaint)) => line.is_denied(&complaint),
                    (None, none) if !std::mem::replace(&mut is_silent, true) => tracing::warn!(
                        error = %none,
                        "no node of the Redis Cluster says which master serves which slot; Tollgate goes on by what it \
                         knows, and by where its masters send it"
                    ),
                    (None, _) => {}
                },
            }
            turn += 1;
            let pause = if unmet.is_some() { SOON } else { EVERY };
            // Fails if nobody doubts in time.
            let _ = timeout(pause, self.doubt.notified()).await;
            let since = Duration::from_micros(self.clock.now_us().saturating_sub(started_us));
            sleep(AT_MOST_EVERY.saturating_sub(since)).await;
        }
    }

    /// Whom to ask, in order: who was named last; then all that are known, each time another one first; then those that
    /// were configured.
    fn candidates(&self, turn: usize) -> Vec<Place> {
        let mut nodes = self.nodes();
        let mut known: Vec<(NodeId, Place)> =
            nodes.by_id.iter().map(|(id, node)| (*id, node.place.clone())).collect();
        known.sort_unstable_by_key(|(id, _)| *id);
        let first = turn.checked_rem(known.len()).unwrap_or(0);
        known.rotate_left(first);
        let known = known.into_iter().map(|(_, place)| place);
        let mut places = Vec::new();
        for place in nodes.hint.take().into_iter().chain(known).chain(self.seeds.iter().cloned()) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// The first answer in which all slots are served, or else the one with the most.
    async fn read(
        &self,
        places: Vec<Place>,
        kept: &mut HashMap<Place, Dialled>,
    ) -> Result<Reading, NoConnection> {
        kept.retain(|place, _| places.contains(place));
        let mut places = places.into_iter();
        let mut asked = JoinSet::new();
        let mut best: Option<Reading> = None;
        let mut why = NoConnection::Away("no node was asked".to_owned());
        loop {
            let next = places.next();
            let is_last = next.is_none();
            if let Some(place) = next {
                let (server, connection) = (self.target.server(place.clone()), kept.remove(&place));
                asked.spawn(async move {
                    let answer = timeout(PATIENCE, reading::ask(server, connection)).await;
                    let late = || format!("no answer within {} ms", PATIENCE.as_millis());
                    let answer = answer.unwrap_or_else(|_elapsed| Err(NoConnection::Away(late())));
                    (place, answer)
                });
            } else if asked.is_empty() {
                return best.ok_or(why);
            }
            let stagger = if is_last { PATIENCE * 2 } else { STAGGER };
            match timeout(stagger, asked.join_next()).await {
                Ok(Some(Ok((place, Ok((reading, connection)))))) => {
                    kept.insert(place, connection);
                    if reading.served() == usize::from(SLOTS) {
                        return Ok(reading);
                    }
                    if best.as_ref().is_none_or(|best| best.served() < reading.served()) {
                        best = Some(reading);
                    }
                }
                Ok(Some(Ok((place, Err(NoConnection::Away(error)))))) => {
                    if let NoConnection::Away(_) = why {
                        why = NoConnection::Away(format!("{place}: {error}"));
                    }
                }
                Ok(Some(Ok((_, Err(denied))))) => why = denied,
                Ok(Some(Err(_)) | None) | Err(_) => {}
            }
        }
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
