//! Buckets in this process that decide while the store is unavailable, each with this replica's share of its limit.
//!
//! A full bucket in each of three replicas would admit three times the limit. So a share is at most burst / N, with a
//! refill of refill / N, where N is the number of replicas that share the store. While N is unknown, nothing is decided
//! here. A bucket keeps its level between outages until it would be full.

use std::{fmt, num::NonZeroU32, sync::Arc};

use crate::store::memory::{self, Full, MemoryStore};
use tollgate_core::{
    decision::{Answer, Take},
    descriptor::BucketKey,
};

/// The local buckets of a process, shared by its runtimes.
pub struct Local {
    buckets: Arc<MemoryStore>,
    replicas: Replicas,
}

/// Returns the number of replicas that share each limit, or none while it is unknown.
pub type Replicas = Box<dyn Fn() -> Option<NonZeroU32> + Send + Sync>;

impl Local {
    /// No buckets yet, and at most `most_buckets` that are not full.
    pub fn new(most_buckets: usize, replicas: Replicas) -> Local {
        Local { buckets: Arc::new(MemoryStore::bounded(most_buckets)), replicas }
    }

    /// Starts to remove buckets that are full, also if no more local answers are asked for. It must be called within a
    /// tokio runtime, which does the work; only the first call has an effect.
    pub fn keep_swept(&self) {
        memory::keep_swept(&self.buckets);
    }

    /// The number of replicas that share each limit, or none while it is unknown.
    pub fn replicas(&self) -> Option<NonZeroU32> {
        (self.replicas)()
    }

    /// Takes all or none. A bucket that does not exist yet starts empty if it `is_known_empty` in the store.
    ///
    /// Fails, and charges nothing, if there is no room for one more bucket.
    pub fn take(&self, takes: &[Take], is_known_empty: impl Fn(&BucketKey) -> bool) -> Result<Answer, Full> {
        self.start_empty(takes, is_known_empty, self.buckets.now_us());
        self.buckets.take(takes)
    }

    /// The same as [`take`](Self::take), at an instant that must not be before that of an earlier call.
    pub fn take_at(
        &self,
        takes: &[Take],
        is_known_empty: impl Fn(&BucketKey) -> bool,
        now_us: u64,
    ) -> Result<Answer, Full> {
        self.start_empty(takes, is_known_empty, now_us);
        self.buckets.take_at(takes, now_us)
    }

    fn start_empty(&self, takes: &[Take], is_known_empty: impl Fn(&BucketKey) -> bool, now_us: u64) {
        for take in takes.iter().filter(|take| is_known_empty(&take.key)) {
            self.buckets.start_empty(take, now_us);
        }
    }

    /// The number of buckets that are kept at the moment.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no bucket is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("replicas", &self.replicas()).finish_non_exhaustive()
    }
}
