//! Asks the nodes of a Redis Cluster for the map of slots.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    NodeId, Slots,
    reading::{self, Reading},
};
use crate::{
    store::{
        health::LineHealth,
        redis::{
            address::Place,
            connection::{Dialled, NoConnection},
            keys::SLOTS,
        },
    },
    tasks::{self, Task},
};

const EVERY: Duration = Duration::from_secs(10);
/// The time between two rounds while nothing is known.
const SOON: Duration = Duration::from_millis(250);
const AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// The time for the answer of one node, including the connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a node has until the next one is asked as well.
const STAGGER: Duration = Duration::from_millis(100);

impl Slots {
    /// Reads the map, for a process that does not watch it.
    pub(in crate::store::redis) async fn read_once(&self) -> Result<(), NoConnection> {
        let reading = self.read(self.candidates(0), &mut HashMap::new()).await?;
        self.learn(&reading);
        Ok(())
    }

    /// Reads the map forever.
    pub(in crate::store::redis) async fn watch(self: Arc<Self>) {
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
                    if mem::take(&mut is_silent) {
                        tracing::info!(
                            "a node of the Redis Cluster says again which master serves which slot"
                        );
                    }
                }
                Err(none) => match (&unmet, none) {
                    (Some(line), NoConnection::Away(error)) => line.is_unreachable(&error),
                    (Some(line), NoConnection::Denied(complaint)) => line.is_denied(&complaint),
                    (None, none) if !mem::replace(&mut is_silent, true) => tracing::warn!(
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
    pub(super) fn candidates(&self, turn: usize) -> Vec<Place> {
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
}
