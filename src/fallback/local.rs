//! Buckets in this process that decide while the store is away, each with this replica's share of its limit.
//!
//! A full bucket in each of three replicas would admit three times the limit, so a share is burst / N at most
//! and refill / N, N being the replicas that share the store. While N is not known nothing is decided here. A
//! bucket keeps its level between outages until it would be full.

use std::{fmt, num::NonZeroU32, sync::Arc};

use crate::store::memory::{self, Full, MemoryStore};
use tollgate_core::decision::{Answer, Take};

/// The local buckets of a process, shared by its runtimes.
pub struct Local {
    buckets: Arc<MemoryStore>,
    replicas: Replicas,
}

/// Tells how many replicas share each limit; none as long as nobody knows.
pub type Replicas = Box<dyn Fn() -> Option<NonZeroU32> + Send + Sync>;

/// A take from a local bucket.
#[derive(Debug, Clone, Copy)]
pub struct LocalTake {
    pub take: Take,
    /// A bucket that does not exist yet starts empty: the store was seen to have no room.
    pub is_known_empty: bool,
}

impl Local {
    /// At most `most_buckets` that are not full.
    pub fn new(most_buckets: usize, replicas: Replicas) -> Local {
        Local { buckets: Arc::new(MemoryStore::bounded(most_buckets)), replicas }
    }

    /// Buckets that are full leave, also when nobody asks for local answers any more. Must be called within a
    /// runtime; the first one that does keeps to it.
    pub fn keep_swept(&self) {
        memory::keep_swept(&self.buckets);
    }

    pub fn replicas(&self) -> Option<NonZeroU32> {
        (self.replicas)()
    }

    /// Refused where there is no room for one more bucket.
    pub fn take(&self, takes: &[LocalTake]) -> Result<Answer, Full> {
        let takes = self.begun(takes, self.buckets.now_us());
        self.buckets.take(&takes)
    }

    /// As [`take`](Self::take), with the time as a parameter, which must not step back.
    pub fn take_at(&self, takes: &[LocalTake], now_us: u64) -> Result<Answer, Full> {
        let takes = self.begun(takes, now_us);
        self.buckets.take_at(&takes, now_us)
    }

    /// Those that start empty are there now.
    fn begun(&self, takes: &[LocalTake], now_us: u64) -> Vec<Take> {
        for take in takes.iter().filter(|take| take.is_known_empty) {
            self.buckets.start_empty(&take.take, now_us);
        }
        takes.iter().map(|take| take.take).collect()
    }

    /// Buckets that are kept at the moment.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("replicas", &self.replicas()).finish_non_exhaustive()
    }
}
