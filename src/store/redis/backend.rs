//! How Redis is used: what the stores of all runtimes share.

use std::{sync::Arc, time::Duration};

use super::{
    RedisStore, address::RedisTarget, advice::Advice, board::Board, cluster::ClusterStore,
    denial_cache::Shared, discovery::Discovery, leases::LeasedHits, masters::Masters, password::PasswordFile,
    replica_count::ReplicaCount,
};
use crate::{
    certificates::ClientTls,
    clock::Clock,
    store::{Store, TargetError, health::StoreHealth},
    traces::Tracer,
};
use tollgate_core::descriptor::KeyForm;

/// How Redis is used; the same on every runtime.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    pub(super) target: RedisTarget,
    pub(super) discovery: Discovery,
    pub(super) health: Arc<StoreHealth>,
    /// None if the denial cache is off.
    pub(super) denials: Option<Arc<Shared>>,
    pub(super) replica_count: Arc<ReplicaCount>,
    pub(super) board: Arc<Board>,
    pub(super) advice: Arc<Advice>,
    pub(super) masters: Arc<Masters>,
    pub(super) leased_hits: Arc<LeasedHits>,
    /// The number of replicas that must acknowledge each batch.
    pub(super) acks: u32,
    /// One clock for all runtimes, since each tells the others what it has learnt, and when.
    pub(super) clock: Arc<Clock>,
    /// None: batches are not recorded.
    pub(super) tracer: Option<Tracer>,
}

impl RedisBackend {
    /// A Redis at this address, with a denial cache.
    pub fn new(target: RedisTarget) -> RedisBackend {
        let health = Arc::new(StoreHealth::new(target.to_string()));
        RedisBackend {
            discovery: Discovery::new(&target, &health),
            health,
            target,
            denials: Some(Arc::default()),
            replica_count: Arc::default(),
            board: Arc::default(),
            advice: Arc::default(),
            masters: Arc::default(),
            leased_hits: Arc::default(),
            acks: 0,
            clock: Arc::new(Clock::start()),
            tracer: None,
        }
    }

    pub(in crate::store) fn traced(self, tracer: Option<Tracer>) -> RedisBackend {
        RedisBackend { tracer, ..self }
    }

    pub(in crate::store) fn password_in(self, file: PasswordFile) -> Result<RedisBackend, TargetError> {
        if self.target.has_password() {
            return Err(TargetError::TwoPasswords);
        }
        file.read()?;
        Ok(self.reached_by(|target| target.password_in(file)))
    }

    /// Uses TLS like this. Fails if the address asks for no TLS, or if a file cannot be used now.
    pub(in crate::store) fn with_tls(self, tls: ClientTls) -> Result<RedisBackend, TargetError> {
        if !self.target.uses_tls() {
            return Err(TargetError::NoTls);
        }
        tls.config()?;
        Ok(self.reached_by(|target| target.with_tls(tls)))
    }

    /// Logs in to the Sentinels with the password in this file. Fails if it cannot be read now.
    pub(in crate::store) fn sentinel_password_in(
        self,
        file: PasswordFile,
    ) -> Result<RedisBackend, TargetError> {
        match self.target.has_sentinel_password() {
            None => return Err(TargetError::NoSentinels),
            Some(true) => return Err(TargetError::TwoPasswords),
            Some(false) => {}
        }
        file.read()?;
        Ok(self.reached_by(|target| target.sentinel_password_in(file)))
    }

    fn reached_by(self, change: impl FnOnce(RedisTarget) -> RedisTarget) -> RedisBackend {
        let target = change(self.target);
        RedisBackend { discovery: Discovery::new(&target, &self.health), target, ..self }
    }

    /// The form of the keys of its buckets.
    pub fn key_form(&self) -> KeyForm {
        match self.discovery {
            Discovery::Named(_) | Discovery::Sentinels(_) => KeyForm::Whole,
            Discovery::Cluster(_) | Discovery::Node(..) => KeyForm::Tagged,
        }
    }

    /// Where replicas show each other their seconds.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The number of replicas, as they count themselves.
    pub fn replica_count(&self) -> &Arc<ReplicaCount> {
        &self.replica_count
    }

    /// What became of the hits of all leases.
    pub fn leased_hits(&self) -> &Arc<LeasedHits> {
        &self.leased_hits
    }

    /// The masters behind the name of this Redis.
    pub fn masters(&self) -> &Arc<Masters> {
        &self.masters
    }

    /// The store of one runtime.
    pub(in crate::store) fn open(&self, deadline: Duration) -> Store {
        match &self.discovery {
            Discovery::Cluster(slots) => Store::Cluster(ClusterStore::open(self, slots, deadline)),
            _ => Store::Redis(RedisStore::open(self, deadline)),
        }
    }

    pub(in crate::store) fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.health)
    }

    /// Admits what this number of replicas has acknowledged.
    #[must_use]
    pub(in crate::store) fn acknowledged_by(self, replicas: u32) -> RedisBackend {
        RedisBackend { acks: replicas, ..self }
    }

    /// Asks Redis about every take, even if memory could deny it.
    #[must_use]
    pub fn without_denial_cache(self) -> RedisBackend {
        RedisBackend { denials: None, ..self }
    }
}
