//! Where buckets live: in this process, or in Redis.
//!
//! A store takes one request's buckets, all or none, and gives one answer. It knows nothing of rules,
//! domains or headers. Time belongs to whoever holds the bucket: Redis asks its own clock inside the
//! script, memory asks its [`Clock`](crate::clock::Clock).

pub mod health;
pub mod memory;
pub mod redis;
pub mod refusal;

use std::{path::Path, sync::Arc, time::Duration};

use thiserror::Error;

use self::redis::{
    AddressError, PasswordError, PasswordFile, RedisBackend, RedisStore, RedisTarget,
    replica_count::ReplicaCount,
};
use health::StoreHealth;
use memory::{Full, MemoryStore};
use refusal::Refusal;
use tollgate_core::{
    decision::{Answer, Takes},
    descriptor::BucketKey,
};

/// Why a store has no answer. One variant for each reaction; [`StoreError::kind`] is the metric's label.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Whether the take was charged is not known: it must not be sent again.
    #[error("no reply from Redis within the store deadline")]
    Deadline,
    /// There is no connection at the moment, or it broke before the reply.
    #[error("no connection to Redis")]
    Disconnected,
    /// More arrives than the store can decide: the take was queued for too long, and was not sent.
    #[error("queued for too long: the store cannot keep up")]
    Overload,
    /// The store was silent lately, so it was not asked.
    #[error("the store does not answer, and is given a moment")]
    Tripped,
    /// A bucket is needed that memory does not hold, and it holds as many as it may.
    #[error("the memory store is full")]
    Full,
    /// Redis said no: LOADING, READONLY, OOM and their like.
    #[error("Redis refused: {}", .0.code())]
    Refused(Refusal),
    /// Whoever was to answer it ended, by a bug or with the store. Whether the take was charged is not known.
    #[error("the request was given up by a task that ended")]
    Abandoned,
    /// A reply that the script cannot have made.
    #[error("Redis sent a reply that is not the script's: {0}")]
    Reply(&'static str),
}

impl StoreError {
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::Deadline => "deadline",
            StoreError::Abandoned => "abandoned",
            StoreError::Disconnected => "disconnected",
            StoreError::Overload => "overload",
            StoreError::Full => "full",
            StoreError::Tripped => "tripped",
            StoreError::Refused(_) => "refused",
            StoreError::Reply(_) => "reply",
        }
    }

    /// Redis did not know the script, so nothing ran. Every other error leaves open whether a take was charged,
    /// or would come again.
    pub fn may_be_sent_again(&self) -> bool {
        matches!(self, StoreError::Refused(Refusal::NoScript))
    }
}

/// A store's address in text is wrong.
#[derive(Debug, Error)]
pub enum TargetError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("memory takes no password")]
    NoPassword,
    #[error("the store's URL holds a password too; leave one of them out")]
    TwoPasswords,
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Which store, as configured; opened once on each runtime.
#[derive(Debug, Clone)]
pub enum Backend {
    Memory(Arc<MemoryStore>),
    Redis(RedisBackend),
}

impl Backend {
    /// Reads `memory` or a `redis://` URL. The error never repeats a password.
    pub fn parse(text: &str) -> Result<Backend, TargetError> {
        if text == "memory" {
            return Ok(Backend::memory(memory::MOST_BUCKETS));
        }
        Ok(Backend::Redis(RedisBackend::new(RedisTarget::parse(text)?)))
    }

    /// Redis lets in who knows what is in this file, which is read again for each connection. Fails if it cannot
    /// be read now.
    pub fn password_in(self, file: &Path) -> Result<Backend, TargetError> {
        match self {
            Backend::Memory(_) => Err(TargetError::NoPassword),
            Backend::Redis(backend) => Ok(Backend::Redis(backend.password_in(PasswordFile::new(file))?)),
        }
    }

    /// In this process, at most so many buckets.
    pub fn memory(most_buckets: usize) -> Backend {
        Backend::Memory(Arc::new(MemoryStore::bounded(most_buckets)))
    }

    /// Every take is asked of Redis, also one that memory could deny. Memory itself has nothing to remember.
    #[must_use]
    pub fn without_denial_cache(self) -> Backend {
        match self {
            Backend::Redis(backend) => Backend::Redis(backend.without_denial_cache()),
            memory @ Backend::Memory(_) => memory,
        }
    }

    /// Buckets that this process keeps as a store.
    pub fn memory_buckets(&self) -> usize {
        match self {
            Backend::Memory(store) => store.len(),
            Backend::Redis(_) => 0,
        }
    }

    /// How many replicas share the store, as they count themselves; memory is shared by none.
    pub fn replica_count(&self) -> Option<Arc<ReplicaCount>> {
        match self {
            Backend::Memory(_) => None,
            Backend::Redis(backend) => Some(Arc::clone(backend.replica_count())),
        }
    }

    /// Whether the store can be reached; what [`Backend::open`] gives keeps it up to date.
    pub fn health(&self) -> Arc<StoreHealth> {
        match self {
            Backend::Memory(_) => Arc::new(StoreHealth::always()),
            Backend::Redis(backend) => backend.health(),
        }
    }

    /// This runtime's handle. Must be called within the runtime whose requests it will serve: it drives
    /// the connection.
    pub fn open(&self, deadline: Duration) -> Store {
        match self {
            Backend::Memory(store) => {
                memory::keep_swept(store);
                Store::Memory(Arc::clone(store))
            }
            Backend::Redis(backend) => Store::Redis(RedisStore::open(backend, deadline)),
        }
    }
}

/// One runtime's way to the buckets.
#[derive(Debug)]
pub enum Store {
    Memory(Arc<MemoryStore>),
    Redis(RedisStore),
}

impl Store {
    /// Whether memory knows this bucket, which the store keeps, as one without room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        match self {
            Store::Memory(_) => false,
            Store::Redis(store) => store.is_known_empty(key),
        }
    }

    /// Takes all or none, atomically with every other request on any node.
    pub async fn take(&self, takes: Takes) -> Result<Answer, StoreError> {
        match self {
            Store::Memory(store) => store.take(&takes).map_err(|Full { .. }| StoreError::Full),
            Store::Redis(store) => store.take(takes).await,
        }
    }
}
