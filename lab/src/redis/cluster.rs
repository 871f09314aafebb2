//! A Redis Cluster of our own.

use std::{
    net::SocketAddr,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{Redis, RedisError};
use crate::{bench::resp, binaries::Part, ports, process::run_folder};

pub(super) const SLOTS: usize = 16_384;
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a node must be silent until the others count it as gone.
const NODE_TIMEOUT_MS: &str = "1000";

/// Masters that share the slots evenly, and then as many replicas of each as were asked for, in the same order.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Redis>,
    masters: usize,
}

// === impl Cluster ===

impl Cluster {
    /// Returns when each node knows all others and serves.
    pub async fn start(masters: usize, replicas_each: usize) -> Result<Cluster, RedisError> {
        Cluster::start_with(masters, replicas_each, &[]).await
    }

    /// With further arguments for each redis-server.
    pub async fn start_with(
        masters: usize,
        replicas_each: usize,
        args: &[&str],
    ) -> Result<Cluster, RedisError> {
        Cluster::start_program(&Part::Redis.find()?, masters, replicas_each, args).await
    }

    /// With another program than the one that tests use, such as Valkey's.
    pub async fn start_program(
        program: &Path,
        masters: usize,
        replicas_each: usize,
        args: &[&str],
    ) -> Result<Cluster, RedisError> {
        let mut nodes = Vec::new();
        for _ in 0..masters * (1 + replicas_each) {
            nodes.push(start_node(program, args).await?);
        }
        let cluster = Cluster { nodes, masters };
        for number in 0..masters {
            let (first, behind) = (number * SLOTS / masters, (number + 1) * SLOTS / masters);
            let (first, last) = (first.to_string(), (behind - 1).to_string());
            cluster.tell(number, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        for (number, node) in cluster.nodes.iter().enumerate() {
            cluster.tell(number, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            cluster.meet(node.addr())?;
        }
        cluster.until_all_know(cluster.nodes.len()).await?;
        for number in masters..cluster.nodes.len() {
            let master = cluster.id(number % masters)?;
            cluster.tell(number, &["CLUSTER", "REPLICATE", &master])?;
        }
        cluster.until_whole().await?;
        Ok(cluster)
    }

    /// One more node, which serves no slot. Returns its number.
    pub async fn add(&mut self) -> Result<usize, RedisError> {
        let node = start_node(&Part::Redis.find()?, &[]).await?;
        self.meet(node.addr())?;
        self.nodes.push(node);
        self.until_all_know(self.nodes.len()).await?;
        self.until_whole().await?;
        Ok(self.nodes.len() - 1)
    }

    fn meet(&self, addr: SocketAddr) -> Result<(), RedisError> {
        let first = self.nodes.first().map_or(addr, Redis::addr);
        if first != addr {
            let settings = resp::list(addr, &["CONFIG", "GET", "cluster-port"])?;
            let bus = settings.get(1).map_or("", String::as_str);
            let (host, port) = (addr.ip().to_string(), addr.port().to_string());
            resp::tell(first, &["CLUSTER", "MEET", &host, &port, bus])?;
        }
        Ok(())
    }

    /// As `tollgate --store` takes it: two of its nodes.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// The same with a login, such as `user:password@`.
    pub fn url_as(&self, login: &str) -> String {
        let nodes: Vec<String> = self.nodes.iter().take(2).map(|node| node.addr().to_string()).collect();
        format!("redis+cluster://{login}{}", nodes.join(","))
    }

    /// Sends a command to one node. Its answer is one line or one string.
    pub fn tell(&self, node: usize, command: &[&str]) -> Result<String, RedisError> {
        Ok(resp::tell(self.nodes[node].addr(), command)?)
    }

    /// Sends a command to all nodes.
    pub fn tell_all(&self, command: &[&str]) -> Result<(), RedisError> {
        (0..self.nodes.len()).try_for_each(|node| self.tell(node, command).map(drop))
    }

    pub fn id(&self, node: usize) -> Result<String, RedisError> {
        self.tell(node, &["CLUSTER", "MYID"])
    }

    /// Which of the masters serves a slot as long as none has moved.
    pub fn first_master_of(&self, slot: u16) -> usize {
        let of = |master: usize| master * SLOTS / self.masters..(master + 1) * SLOTS / self.masters;
        (0..self.masters).find(|master| of(*master).contains(&usize::from(slot))).unwrap_or(0)
    }

    /// Begins to move a slot: from now on missing keys are asked for at the target.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) -> Result<(), RedisError> {
        let slot = slot.to_string();
        self.tell(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.tell(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])?;
        Ok(())
    }

    /// Moves at most this number of the keys of a slot that is being moved. Returns how many there were.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> Result<usize, RedisError> {
        let (slot, most) = (slot.to_string(), most.to_string());
        let keys = resp::list(self.nodes[from].addr(), &["CLUSTER", "GETKEYSINSLOT", &slot, &most])?;
        let target = self.nodes[to].addr();
        let (host, port) = (target.ip().to_string(), target.port().to_string());
        if !keys.is_empty() {
            let mut migrate = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            self.tell(from, &migrate)?;
        }
        Ok(keys.len())
    }

    /// Ends the move of a slot whose keys have all been moved.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) -> Result<(), RedisError> {
        let (slot, id) = (slot.to_string(), self.id(to)?);
        let others = (0..self.masters).filter(|node| ![from, to].contains(node));
        // The target first, as redis-cli does: if it stopped in between, no slot would be without an owner.
        [to, from]
            .into_iter()
            .chain(others)
            .try_for_each(|node| self.tell(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &id]).map(drop))
    }

    /// Moves a slot with all its keys.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<(), RedisError> {
        self.begin_to_move(slot, from, to)?;
        while self.move_keys(slot, from, to, 100)? > 0 {}
        self.end_move(slot, from, to)
    }

    /// Returns when all nodes serve, and each replica follows its master.
    pub async fn until_whole(&self) -> Result<(), RedisError> {
        self.until(&["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok")).await?;
        let is_linked = |info: &str| info.contains("role:master") || info.contains("master_link_status:up");
        self.until(&["INFO", "replication"], is_linked).await
    }

    async fn until_all_know(&self, nodes: usize) -> Result<(), RedisError> {
        let known = format!("cluster_known_nodes:{nodes}\r");
        self.until(&["CLUSTER", "INFO"], |info| info.contains(&known)).await
    }

    pub(super) async fn until(
        &self,
        command: &[&str],
        is_so: impl Fn(&str) -> bool,
    ) -> Result<(), RedisError> {
        self.until_these(0..self.nodes.len(), command, is_so).await
    }

    pub(super) async fn until_one(
        &self,
        node: usize,
        command: &[&str],
        is_so: impl Fn(&str) -> bool,
    ) -> Result<(), RedisError> {
        self.until_these(node..node + 1, command, is_so).await
    }

    async fn until_these(
        &self,
        nodes: Range<usize>,
        command: &[&str],
        is_so: impl Fn(&str) -> bool,
    ) -> Result<(), RedisError> {
        let started = Instant::now();
        loop {
            let infos = nodes.clone().map(|node| self.tell(node, command));
            if infos.collect::<Result<Vec<_>, _>>()?.iter().all(|info| is_so(info)) {
                return Ok(());
            }
            if started.elapsed() > WHOLE_WITHIN {
                return Err(RedisError::NotWhole { within: WHOLE_WITHIN });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn start_node(program: &Path, args: &[&str]) -> Result<Redis, RedisError> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let folder = run_folder()?;
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let file = folder.join(format!("nodes-{}-{number}.conf", std::process::id())).display().to_string();
    // A node that is told no port for the others takes its own plus 10,000, where outgoing connections begin.
    let bus = ports::free().ok_or(RedisError::NoPort)?.to_string();
    let own = ["--cluster-enabled", "yes", "--cluster-config-file", &file, "--cluster-port", &bus];
    let timeout = ["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-require-full-coverage", "no"];
    let all: Vec<&str> = own.into_iter().chain(timeout).chain(args.iter().copied()).collect();
    Redis::start_program(program, &all).await
}
