//! Refunds that one runtime of a process tells the others: what one of them gave back, no
//! other may go on denying.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Trip,
    known::{Known, Shown},
};
use tollgate_core::descriptor::BucketKey;

/// The inboxes of all runtimes of a process.
#[derive(Debug, Default)]
pub(super) struct Refunds(Mutex<Vec<Weak<Inbox>>>);

/// Hits were given back to a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refund {
    pub(super) key: BucketKey,
    /// By the store's clock.
    pub(super) told_us: u64,
    /// By the local clock, which all runtimes share.
    pub(super) trip: Trip,
}

/// Refunds that one runtime has yet to read.
#[derive(Debug, Default)]
struct Inbox {
    /// Spares a runtime the lock while nothing has come in.
    is_filled: AtomicBool,
    refunds: Mutex<Vec<Refund>>,
}

/// One runtime's end: it reads its own inbox and fills the others.
#[derive(Debug)]
pub(super) struct Exchange {
    refunds: Arc<Refunds>,
    inbox: Arc<Inbox>,
}

// === impl Exchange ===

impl Exchange {
    pub(super) fn join(refunds: &Arc<Refunds>) -> Exchange {
        let inbox = Arc::default();
        lock(&refunds.0).push(Arc::downgrade(&inbox));
        Exchange { refunds: Arc::clone(refunds), inbox }
    }

    /// Tells every other runtime.
    pub(super) fn tell(&self, refund: Refund) {
        // The inbox of a runtime that has ended is dropped.
        lock(&self.refunds.0).retain(|inbox| {
            let inbox = inbox.upgrade();
            if let Some(inbox) = inbox.as_ref().filter(|inbox| !Arc::ptr_eq(inbox, &self.inbox)) {
                let mut refunds = lock(&inbox.refunds);
                refunds.push(refund);
                inbox.is_filled.store(true, Ordering::Release);
            }
            inbox.is_some()
        });
    }

    /// What the others have told since the last call.
    pub(super) fn receive(&self) -> Vec<Refund> {
        if !self.inbox.is_filled.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut refunds = lock(&self.inbox.refunds);
        self.inbox.is_filled.store(false, Ordering::Relaxed);
        mem::take(&mut refunds)
    }
}

impl Refund {
    /// What is known of the bucket from then on.
    pub(super) fn known(self) -> Known {
        Known::new(Shown::GivenBack, true, self.told_us, self.trip)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
