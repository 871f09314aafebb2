//! Gives each slot its epoch: the time at which the Redis Cluster began to hold buckets. Otherwise the limits of each slot
//! would start used up at the first request for that slot, and not all at one time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Pipeline, RedisError, cmd};
use tokio::time::{sleep, timeout};

use super::Runtime;
use crate::{
    store::redis::{
        keys::SLOTS,
        line::{Connection, Line},
        script::epoch_key,
        slots::NodeId,
    },
    tasks::{self, Task},
};

/// The time between two looks until all epochs are set.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The time between two rounds. While slots move, there is something to do at each look.
const AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// The time for the commands to one master. It may be long, since no request waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
const IN_A_PIPELINE: usize = 512;

/// Sets missing epochs, forever: as soon as a request needs one, and again when slots have moved, or a master has come
/// back, which may have lost what it held.
pub(super) async fn keep(runtime: Arc<Runtime>) {
    // The slots, and the connection, for which each master's were set.
    let mut are_set: HashMap<NodeId, (Vec<u16>, u64)> = HashMap::new();
    loop {
        tasks::may_panic(Task::ReplicaCount);
        let is_set = runtime.slots.needs_epochs() && set_all(&runtime, &mut are_set).await;
        sleep(if is_set { AT_MOST_EVERY } else { LOOK_EVERY }).await;
    }
}

/// True if something was set.
async fn set_all(runtime: &Runtime, are_set: &mut HashMap<NodeId, (Vec<u16>, u64)>) -> bool {
    let mut by_master: HashMap<NodeId, Vec<u16>> = HashMap::new();
    for slot in 0..SLOTS {
        if let Some(owner) = runtime.slots.owner(slot) {
            by_master.entry(owner).or_default().push(slot);
        }
    }
    are_set.retain(|id, _| by_master.contains_key(id));
    let mut is_any = false;
    for (id, slots) in by_master {
        let Some(master) = runtime.known(id) else { continue };
        let Some(connection) = master.line.connection() else { continue };
        let wanted = (slots, connection.number);
        if are_set.get(&id) != Some(&wanted) && set(&master.line, &connection, &wanted.0).await {
            are_set.insert(id, wanted);
            is_any = true;
        }
    }
    is_any
}

async fn set(line: &Line, connection: &Connection, slots: &[u16]) -> bool {
    let asked = async {
        let mut inner = connection.dialled.inner.clone();
        let (seconds, micros) = cmd("TIME").query_async::<(u64, u64)>(&mut inner).await?;
        let now_us = seconds.saturating_mul(1_000_000).saturating_add(micros);
        for some in slots.chunks(IN_A_PIPELINE) {
            let mut pipeline = Pipeline::with_capacity(some.len());
            for slot in some {
                pipeline.cmd("SET").arg(epoch_key(*slot)).arg(now_us).arg("NX");
            }
            // A slot that has moved meanwhile is set by the next round.
            inner.send_packed_commands(&pipeline, 0, some.len()).await?;
        }
        Ok::<(), RedisError>(())
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            line.note(connection.number, &error);
            false
        }
        Err(_late) => false,
    }
}
