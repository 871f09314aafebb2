//! What the runtimes of a process know together about buckets without room, so that they ask Redis together once.
//!
//! A runtime looks here only when what it knows itself has run out. Without more, each would then ask Redis at the same
//! instant, when the next token is due, for one admission. So whoever asks says so first, and requests in other runtimes
//! wait for that answer: each for two calls of other runtimes at most, and never for long. Then they are denied from
//! what was learnt, or sent.
//!
//! No request waits for a lock: where one stays taken for a microsecond, a runtime goes on as if it were alone, which
//! costs calls and denies nothing. Only what was learnt, and that a question is over, is written whatever it takes.

use std::{
    collections::HashMap,
    hint, mem,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::{
    known::{Entries, Known},
    refunds::{Exchange, Refund, Refunds, lock},
};
use tollgate_core::descriptor::BucketKey;

/// A runtime that does not get on holds up others for no longer than this.
pub const WAITS_US: u64 = 10_000;
const SHARDS: usize = 32;
/// How often a lock is tried that another runtime holds: it does so for some 100 ns, unless it was stopped meanwhile.
const TRIES: usize = 20;
/// The number of entries in one of the two generations of a shard: together as many as in one runtime's cache.
const MOST: usize = super::MOST / SHARDS;

/// What the denial caches of one process share.
#[derive(Debug, Default)]
pub struct Shared {
    refunds: Arc<Refunds>,
    denials: Arc<Denials>,
}

/// A runtime among those that share.
#[derive(Debug)]
pub(super) struct Member {
    exchange: Exchange,
    denials: Arc<Denials>,
    /// Wakes this runtime, and tells it from the others.
    pub(super) waker: Arc<Notify>,
}

#[derive(Debug)]
struct Denials {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    questions: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    entries: Entries,
    questions: HashMap<BucketKey, Call, RandomState>,
}

/// A call of another runtime about a bucket, which has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// No two questions of a process have the same.
    pub number: u64,
    /// From then on it holds up nobody.
    pub until_us: u64,
}

/// A call about a bucket that is under way.
#[derive(Debug)]
struct Call {
    number: u64,
    by: Arc<Notify>,
    since_us: u64,
    waiting: Vec<Arc<Notify>>,
}

/// Calls `wake` whenever another runtime was answered what requests of this one wait for, forever.
pub async fn when_answered(answered: Arc<Notify>, wake: impl Fn()) {
    loop {
        answered.notified().await;
        wake();
    }
}

// === impl Member ===

impl Member {
    pub(super) fn join(shared: &Shared) -> Member {
        Member {
            exchange: Exchange::join(&shared.refunds),
            denials: Arc::clone(&shared.denials),
            waker: Arc::default(),
        }
    }

    /// That a bucket is without room, by an entry that is newer than this one.
    pub(super) fn newer(&self, key: &BucketKey, known: &Known) -> Option<Known> {
        let shard = self.denials.try_shard(key)?;
        let other = shard.entries.known(key)?;
        (other.room().is_some() && other != known && known.gives_way_to(other)).then(|| other.clone())
    }

    pub(super) fn tell(&self, key: BucketKey, known: &Known) {
        self.denials.shard(&key).entries.insert(key, known.clone());
    }

    pub(super) fn tell_refund(&self, refund: Refund) {
        self.tell(refund.key, &refund.known());
        self.exchange.tell(refund);
    }

    /// What the others have given back since the last call.
    pub(super) fn refunds(&self) -> Vec<Refund> {
        self.exchange.receive()
    }

    // === questions ===

    /// Says that this runtime asks. Returns the question of another that asks already, whose answer wakes this runtime.
    pub(super) fn asks(&self, key: BucketKey, local_us: u64) -> Option<Question> {
        let mut shard = self.denials.try_shard(&key)?;
        let mut old = shard.questions.get_mut(&key);
        if let Some(call) = old.as_mut().filter(|call| call.holds_up(self, local_us)) {
            if !call.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, &self.waker)) {
                call.waiting.push(Arc::clone(&self.waker));
            }
            return Some(Question { number: call.number, until_us: call.since_us.saturating_add(WAITS_US) });
        }
        let waiting = old.map(|old| mem::take(&mut old.waiting)).unwrap_or_default();
        let number = self.denials.questions.fetch_add(1, Ordering::Relaxed);
        let by = Arc::clone(&self.waker);
        shard.questions.insert(key, Call { number, by, since_us: local_us, waiting });
        None
    }

    pub(super) fn has_asked(&self, key: &BucketKey) {
        let mut shard = self.denials.shard(key);
        let is_mine = |call: &Call| Arc::ptr_eq(&call.by, &self.waker);
        let over =
            if shard.questions.get(key).is_some_and(is_mine) { shard.questions.remove(key) } else { None };
        drop(shard);
        for waiting in over.into_iter().flat_map(|call| call.waiting) {
            waiting.notify_one();
        }
    }
}

impl Call {
    fn holds_up(&self, member: &Member, local_us: u64) -> bool {
        !Arc::ptr_eq(&self.by, &member.waker) && local_us.saturating_sub(self.since_us) < WAITS_US
    }
}

// === impl Denials ===

impl Default for Denials {
    fn default() -> Denials {
        let shard = |_| Mutex::new(Shard { entries: Entries::new(MOST), questions: HashMap::default() });
        Denials {
            shards: std::array::from_fn(shard),
            hasher: RandomState::default(),
            questions: AtomicU64::new(1),
        }
    }
}

impl Denials {
    fn of(&self, key: &BucketKey) -> &Mutex<Shard> {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }

    fn shard(&self, key: &BucketKey) -> MutexGuard<'_, Shard> {
        lock(self.of(key))
    }

    /// None if another runtime is at it, and does not get on.
    fn try_shard(&self, key: &BucketKey) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.of(key);
        for _ in 0..TRIES {
            match shard.try_lock() {
                Ok(shard) => return Some(shard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => hint::spin_loop(),
            }
        }
        None
    }
}
