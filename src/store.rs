//! Where buckets live: in this process, or in Redis.
//!
//! A store charges all buckets of a request or none, and gives one answer. It knows nothing of rules, domains or
//! headers. Time belongs to the holder of the bucket: the script reads Redis' clock, and memory reads its
//! [`Clock`](crate::clock::Clock).

mod asking;
pub mod health;
pub mod memory;
pub mod redis;
pub mod refusal;

use std::{path::Path, sync::Arc, time::Duration};

use thiserror::Error;

use self::redis::{
    AddressError, PasswordError, PasswordFile, RedisBackend, RedisStore, RedisTarget, board::Board,
    cluster::ClusterStore, leases::LeasedHits, masters::Masters, replica_count::ReplicaCount,
};
use crate::{
    certificates::{CertificateError, ClientTls},
    traces::{SpanContext, Tracer},
};
pub use asking::Asking;
use health::StoreHealth;
use memory::{Full, MemoryStore};
use refusal::Refusal;
use tollgate_core::{
    decision::Takes,
    descriptor::{BucketKey, KeyForm},
};

/// Why a store has no answer. One variant for each reaction; [`StoreError::kind`] is the metric's label.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// It is not known whether the take was charged, so it must not be sent again.
    #[error("no reply from Redis within the store deadline")]
    Deadline,
    /// The take was charged, and too few of Redis' replicas had it in time.
    #[error("too few replicas of Redis acknowledged the take within the store deadline")]
    Unacknowledged,
    /// No master of the Redis Cluster serves the slot of the bucket.
    #[error("no master of the Redis Cluster serves the slot of the bucket")]
    Unserved,
    /// There is no connection at the moment, or it broke before the reply arrived.
    #[error("no connection to Redis")]
    Disconnected,
    /// More requests arrive than the store can decide: the take was queued for too long, and was not sent.
    #[error("queued for too long: the store cannot keep up")]
    Overload,
    /// The store was silent recently, so it was not asked.
    #[error("the store did not answer recently, so it was not asked")]
    Tripped,
    /// The request needs a new bucket, and the memory store already holds as many as it may.
    #[error("the memory store is full")]
    Full,
    /// Redis refused, for example with LOADING, READONLY or OOM.
    #[error("Redis refused: {}", .0.code())]
    Refused(Refusal),
    /// The task that carried the request ended, because of a bug or with the store. It is not known whether the take
    /// was charged.
    #[error("the task that carried the request to Redis ended")]
    Abandoned,
    /// The script cannot have made this reply.
    #[error("Redis sent a reply that is not the script's: {0}")]
    Reply(&'static str),
}

impl StoreError {
    /// The `kind` label of the metric that counts store errors.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::Deadline => "deadline",
            StoreError::Unacknowledged => "unacknowledged",
            StoreError::Abandoned => "abandoned",
            StoreError::Unserved => "unserved",
            StoreError::Disconnected => "disconnected",
            StoreError::Overload => "overload",
            StoreError::Full => "full",
            StoreError::Tripped => "tripped",
            StoreError::Refused(_) => "refused",
            StoreError::Reply(_) => "reply",
        }
    }

    /// Whether the answer did not come in time, so that further requests would wait in vain as well.
    pub fn is_silence(&self) -> bool {
        matches!(self, StoreError::Deadline | StoreError::Unacknowledged)
    }

    /// Whether the call may be sent again: Redis did not know the script, so nothing ran. After any other error the
    /// take may have been charged, or the error would come again.
    pub fn may_be_sent_again(&self) -> bool {
        matches!(self, StoreError::Refused(Refusal::NoScript))
    }
}

/// A configured store cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The address is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A password was given for the memory store.
    #[error("the memory store takes no password; leave out the password file, or give a redis:// address")]
    NoPassword,
    /// The URL and a file both give a password.
    #[error("the store's URL contains a password, and a password file is given too; leave one of them out")]
    TwoPasswords,
    /// The password file cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A password for Sentinels was given, and the store is not reached through any.
    #[error("the store's URL names no Sentinels; write redis+sentinel://host,host/MASTER, or leave this out")]
    NoSentinels,
    /// The memory store has no replicas that could acknowledge anything.
    #[error("the memory store has no replicas; leave this out, or give the address of a Redis that has some")]
    NoReplicas,
    /// TLS was set up for a store that is reached without it.
    #[error("the store is reached without TLS; write rediss:// in its URL, or leave this out")]
    NoTls,
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

// === impl TargetError ===

impl TargetError {
    /// Whether flags contradict each other, whatever the machine and its files are like.
    pub fn is_misuse(&self) -> bool {
        !matches!(self, TargetError::Address(_) | TargetError::Password(_) | TargetError::Certificate(_))
    }
}

/// The configured store, which each runtime opens once.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Buckets in this process, shared by its runtimes.
    Memory(Arc<MemoryStore>),
    /// Buckets in Redis, shared by all replicas.
    Redis(Box<RedisBackend>),
}

impl Backend {
    /// Reads `memory` or a `redis://` URL. The error never repeats a password.
    pub fn parse(text: &str) -> Result<Backend, TargetError> {
        if text == "memory" {
            return Ok(Backend::memory(memory::MOST_BUCKETS));
        }
        Ok(Backend::Redis(Box::new(RedisBackend::new(RedisTarget::parse(text)?))))
    }

    /// Logs in to Redis with the password in this file, which is read again for each connection. Fails if it cannot be
    /// read now.
    pub fn password_in(self, file: &Path) -> Result<Backend, TargetError> {
        match self {
            Backend::Memory(_) => Err(TargetError::NoPassword),
            Backend::Redis(backend) => {
                Ok(Backend::Redis(Box::new(backend.password_in(PasswordFile::new(file))?)))
            }
        }
    }

    /// Logs in to the Sentinels with the password in this file, as [`password_in`](Self::password_in) does for Redis.
    pub fn sentinel_password_in(self, file: &Path) -> Result<Backend, TargetError> {
        match self {
            Backend::Memory(_) => Err(TargetError::NoSentinels),
            Backend::Redis(backend) => {
                Ok(Backend::Redis(Box::new(backend.sentinel_password_in(PasswordFile::new(file))?)))
            }
        }
    }

    /// Connects by TLS like this. Fails if the store's URL asks for no TLS, or if a file cannot be used now.
    pub fn with_tls(self, tls: ClientTls) -> Result<Backend, TargetError> {
        match self {
            Backend::Memory(_) => Err(TargetError::NoTls),
            Backend::Redis(backend) => Ok(Backend::Redis(Box::new(backend.with_tls(tls)?))),
        }
    }

    /// A store in this process, for at most this number of buckets.
    pub fn memory(most_buckets: usize) -> Backend {
        Backend::Memory(Arc::new(MemoryStore::bounded(most_buckets)))
    }

    /// Asks Redis about every take, even if memory could deny it. Changes nothing for the memory store.
    #[must_use]
    pub fn without_denial_cache(self) -> Backend {
        match self {
            Backend::Redis(backend) => Backend::Redis(Box::new(backend.without_denial_cache())),
            memory @ Backend::Memory(_) => memory,
        }
    }

    /// Admits what this number of replicas has acknowledged. Fails for the memory store, which has none.
    pub fn acknowledged_by(self, replicas: u32) -> Result<Backend, TargetError> {
        match self {
            Backend::Redis(backend) => Ok(Backend::Redis(Box::new(backend.acknowledged_by(replicas)))),
            Backend::Memory(_) if replicas == 0 => Ok(self),
            Backend::Memory(_) => Err(TargetError::NoReplicas),
        }
    }

    /// Records the calls to Redis that carry a request that is recorded. Changes nothing for the memory store.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Backend {
        match self {
            Backend::Redis(backend) => Backend::Redis(Box::new(backend.traced(tracer))),
            memory @ Backend::Memory(_) => memory,
        }
    }

    /// The number of buckets in the memory store; 0 for Redis.
    pub fn memory_buckets(&self) -> usize {
        match self {
            Backend::Memory(store) => store.len(),
            Backend::Redis(_) => 0,
        }
    }

    /// The number of replicas that share the store, as they count themselves. None for memory, which is not shared.
    pub fn replica_count(&self) -> Option<Arc<ReplicaCount>> {
        match self {
            Backend::Memory(_) => None,
            Backend::Redis(backend) => Some(Arc::clone(backend.replica_count())),
        }
    }

    /// Where the replicas that share the store show each other their seconds. None for memory.
    pub fn board(&self) -> Option<Arc<Board>> {
        match self {
            Backend::Memory(_) => None,
            Backend::Redis(backend) => Some(Arc::clone(backend.board())),
        }
    }

    /// What became of the hits of leases. None for memory, which needs none.
    pub fn leased_hits(&self) -> Option<Arc<LeasedHits>> {
        match self {
            Backend::Memory(_) => None,
            Backend::Redis(backend) => Some(Arc::clone(backend.leased_hits())),
        }
    }

    /// Whether this is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Backend::Redis(backend) if backend.key_form() == KeyForm::Tagged)
    }

    /// The masters behind the store's name. None for memory, and for a Redis Cluster, which has several.
    pub fn masters(&self) -> Option<Arc<Masters>> {
        match self {
            Backend::Memory(_) => None,
            Backend::Redis(backend) => (!self.is_cluster()).then(|| Arc::clone(backend.masters())),
        }
    }

    /// Whether the store can be used. The stores that [`Backend::open`] returns keep it up to date.
    pub fn health(&self) -> Arc<StoreHealth> {
        match self {
            Backend::Memory(_) => Arc::new(StoreHealth::always()),
            Backend::Redis(backend) => backend.health(),
        }
    }

    /// The store of one runtime. Must be called within the runtime whose requests it will serve, since that drives the
    /// connection.
    pub fn open(&self, deadline: Duration) -> Store {
        match self {
            Backend::Memory(store) => {
                memory::keep_swept(store);
                Store::Memory(Arc::clone(store))
            }
            Backend::Redis(backend) => backend.open(deadline),
        }
    }
}

/// One runtime's access to the buckets.
#[derive(Debug)]
pub enum Store {
    /// Buckets in this process.
    Memory(Arc<MemoryStore>),
    /// Buckets in Redis.
    Redis(RedisStore),
    /// Buckets in a Redis Cluster.
    Cluster(ClusterStore),
}

impl Store {
    /// The form of the keys of its buckets.
    pub fn key_form(&self) -> KeyForm {
        match self {
            Store::Memory(_) => KeyForm::Whole,
            Store::Redis(store) => store.key_form(),
            Store::Cluster(store) => store.key_form(),
        }
    }

    /// Returns hits that are reserved and not spent, before the process ends.
    pub async fn finish(&self) {
        match self {
            Store::Memory(_) => {}
            Store::Redis(store) => store.end_leases().await,
            Store::Cluster(store) => store.end_leases().await,
        }
    }

    /// Whether the denial cache knows that this bucket has no room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        match self {
            Store::Memory(_) => false,
            Store::Redis(store) => store.is_known_empty(key),
            Store::Cluster(store) => store.is_known_empty(key),
        }
    }

    /// Charges all takes or none, atomically with every other request of any replica. Fails if the store has no answer.
    pub fn take(&self, takes: Takes) -> Asking<'_> {
        self.take_in(None, takes)
    }

    /// The same for a request that is recorded as this span: the span of its batch refers to it.
    pub fn take_in(&self, span: Option<SpanContext>, takes: Takes) -> Asking<'_> {
        match self {
            Store::Memory(store) => Asking::answered(store.take(&takes).map_err(|Full { .. }| {
                store.warn_of_refusal();
                StoreError::Full
            })),
            Store::Redis(store) => store.take(span, takes),
            Store::Cluster(store) => store.take(span, takes),
        }
    }
}
