//! Decides a request on a copy of its buckets, by the limiter that serves.

use std::sync::Arc;

use super::ExplainError;
use crate::{
    clock,
    fallback::{Fallback, local::Local},
    limiter::{Limiter, Outcome},
    store::{
        Store,
        memory::MemoryStore,
        redis::{RedisBackend, look::Looked},
    },
};
use tollgate_core::{
    applied::{AppliedLimit, QuotaMode},
    decision::{Demand, State, Take},
    descriptor::{BadRequest, BucketKey, Hits, KeyForm, Request},
    matcher::Matcher,
    rules::OnStoreFailure,
};

/// Where the levels of the buckets come from.
#[derive(Debug)]
pub(super) enum Levels {
    /// All buckets are full.
    Full,
    /// A Redis, which is read.
    Live { store: String, backend: Box<RedisBackend> },
    /// A store in this process.
    Here { store: Arc<MemoryStore> },
}

/// The buckets of one request, as they are at one time, and the mode in which they are asked.
#[derive(Debug)]
pub(super) struct Buckets {
    looked: Looked,
    quota_mode: QuotaMode,
    key_form: KeyForm,
}

// === impl Levels ===

impl Levels {
    /// The form of the keys of the buckets.
    pub(super) fn key_form(&self) -> KeyForm {
        match self {
            Levels::Full | Levels::Here { .. } => KeyForm::Whole,
            Levels::Live { backend, .. } => backend.key_form(),
        }
    }

    pub(super) async fn buckets(
        &self,
        takes: &[Take],
        quota_mode: QuotaMode,
    ) -> Result<Buckets, ExplainError> {
        match self {
            Levels::Full => {
                // An epoch of 0 is so long ago that every missing bucket counts as full.
                let now_us = clock::unix_us();
                let looked = Looked { now_us, epoch_us: 0, states: Vec::new(), malformed: 0 };
                Ok(Buckets { looked, quota_mode, key_form: self.key_form() })
            }
            Levels::Here { store } => {
                let (now_us, epoch_us, states) = store.look(takes);
                let looked = Looked { now_us, epoch_us, states, malformed: 0 };
                Ok(Buckets { looked, quota_mode, key_form: self.key_form() })
            }
            Levels::Live { store, backend } => {
                let looked = backend.look(takes).await;
                let looked = looked.map_err(|source| ExplainError::Look { store: store.clone(), source })?;
                Ok(Buckets { looked, quota_mode, key_form: self.key_form() })
            }
        }
    }
}

// === impl Buckets ===

impl Buckets {
    /// The number of buckets whose value in Redis makes no sense.
    pub(super) fn malformed(&self) -> u32 {
        self.looked.malformed
    }

    /// How many hits of this bucket leases hold.
    pub(super) fn reserved(&self, applied: &AppliedLimit<'_>) -> u64 {
        let state = self.looked.states.iter().find(|(key, _)| *key == applied.take.key);
        let one = Demand::new(Hits::One, &applied.limit.limit);
        state.map_or(0, |(_, state)| state.reserved(&one, self.looked.now_us))
    }

    /// The outcome of this request if it came now.
    pub(super) async fn decide<'m>(
        &self,
        matcher: &'m Matcher,
        request: &Request<'_>,
    ) -> Result<Outcome<'m>, BadRequest> {
        self.decide_with(self.looked.states.iter().cloned(), matcher, request).await
    }

    /// The outcome if all of its buckets were used up.
    pub(super) async fn decide_used_up<'m>(
        &self,
        limits: &[AppliedLimit<'_>],
        matcher: &'m Matcher,
        request: &Request<'_>,
    ) -> Result<Outcome<'m>, BadRequest> {
        let used_up = limits.iter().filter_map(|limit| {
            let state = limit.take.demand.empty(self.looked.now_us)?;
            Some((limit.take.key, state))
        });
        self.decide_with(used_up, matcher, request).await
    }

    async fn decide_with<'m>(
        &self,
        states: impl IntoIterator<Item = (BucketKey, State)>,
        matcher: &'m Matcher,
        request: &Request<'_>,
    ) -> Result<Outcome<'m>, BadRequest> {
        let copy = MemoryStore::copy_of(self.looked.now_us, self.looked.epoch_us, states);
        // A copy in memory always answers.
        let local = Arc::new(Local::new(0, Box::new(|| None)));
        let fallback = Fallback { default: OnStoreFailure::Error, local };
        let limiter = Limiter::new(Store::Memory(Arc::new(copy)), fallback);
        let limiter = limiter.quota_mode(self.quota_mode).key_form(self.key_form);
        limiter.decide(matcher, request).await
    }
}
