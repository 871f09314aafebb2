//! Slots that move from one master of a Cluster to another, in the ways that operators move them.

use std::{env, path::PathBuf};

use super::{Cluster, RedisError, cluster::SLOTS};
use crate::binaries::checkout;

/// `redis-cli`, if `scripts/setup` has brought it or it is on PATH.
pub fn redis_cli() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(checkout().join(".tools/bin"))
        .chain(env::split_paths(&path))
        .map(|folder| folder.join("redis-cli"))
        .find(|program| program.is_file())
}

// === impl Cluster ===

impl Cluster {
    /// Moves this number of slots from the second master to the first: by `redis-cli --cluster reshard` if it is here,
    /// otherwise by the commands that it sends. Returns what moved them.
    pub async fn reshard(&self, slots: u16) -> Result<&'static str, RedisError> {
        let Some(redis_cli) = redis_cli() else {
            let first = u16::try_from(SLOTS / 3).unwrap_or(u16::MAX);
            for slot in first..first + slots {
                self.move_slot(slot, 1, 0)?;
                tokio::task::yield_now().await;
            }
            return Ok("the commands of `redis-cli --cluster reshard`");
        };
        let asked = tokio::process::Command::new(redis_cli)
            .args(["--cluster", "reshard", &self.nodes[0].addr().to_string()])
            .args(["--cluster-from", &self.id(1)?, "--cluster-to", &self.id(0)?])
            .args(["--cluster-slots", &slots.to_string(), "--cluster-yes"])
            .kill_on_drop(true)
            .output();
        let ended = asked.await.map_err(|error| RedisError::NotMoved { why: error.to_string() })?;
        if ended.status.success() {
            return Ok("`redis-cli --cluster reshard`");
        }
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Err(RedisError::NotMoved { why: said.lines().last().unwrap_or("it says nothing").to_owned() })
    }

    /// The same by Valkey's `CLUSTER MIGRATESLOTS`, which moves all of them at one instant.
    pub async fn migrate_slots(&self, slots: usize) -> Result<(), RedisError> {
        let first = SLOTS / 3;
        let (from, last) = (first.to_string(), (first + slots - 1).to_string());
        self.tell(1, &["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &from, &last, "NODE", &self.id(0)?])?;
        let moved = format!(" 0-{last}");
        self.until_one(0, &["CLUSTER", "NODES"], |nodes| {
            nodes.lines().any(|line| line.contains("myself") && line.contains(&moved))
        })
        .await
    }

    /// Makes a replica take the place of its master, which still serves.
    pub async fn fail_over(&self, replica: usize) -> Result<(), RedisError> {
        self.tell(replica, &["CLUSTER", "FAILOVER"])?;
        self.until_master(replica).await
    }

    pub async fn until_master(&self, node: usize) -> Result<(), RedisError> {
        self.until_one(node, &["INFO", "replication"], |info| info.contains("role:master")).await
    }

    /// Tells the others and clients that a node is reached at another port of its address.
    pub async fn announce(&self, node: usize, port: u16) -> Result<(), RedisError> {
        self.tell(node, &["CONFIG", "SET", "cluster-announce-port", &port.to_string()])?;
        let announced = format!(":{port}@");
        self.until(&["CLUSTER", "NODES"], |nodes| nodes.contains(&announced)).await
    }
}
