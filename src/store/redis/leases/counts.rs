//! What became of the hits of leases, and of the calls about them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the hits of all leases; it only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Granted by Redis.
    pub reserved: u64,
    /// Admitted from a lease.
    pub spent: u64,
    /// Not reported in time, so Redis counts them as spent.
    pub lapsed: u64,
    /// Calls about leases, not hits, that were answered.
    pub answered: u64,
    /// Such calls that were refused or lost.
    pub lost: u64,
}

/// The [`Counts`] of all runtimes of a process.
#[derive(Debug, Default)]
pub struct LeasedHits {
    reserved: AtomicU64,
    spent: AtomicU64,
    lapsed: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
}

impl LeasedHits {
    /// The hits, each count with its word in metrics.
    pub fn hits(&self) -> [(&'static str, u64); 3] {
        [("reserved", &self.reserved), ("spent", &self.spent), ("lapsed", &self.lapsed)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// The calls, each count with its word in metrics.
    pub fn calls(&self) -> [(&'static str, u64); 2] {
        [("answered", &self.answered), ("lost", &self.lost)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    pub(super) fn add(&self, counts: Counts, told: Counts) {
        let add = |to: &AtomicU64, now: u64, told: u64| {
            to.fetch_add(now - told, Ordering::Relaxed);
        };
        add(&self.reserved, counts.reserved, told.reserved);
        add(&self.spent, counts.spent, told.spent);
        add(&self.lapsed, counts.lapsed, told.lapsed);
        add(&self.answered, counts.answered, told.answered);
        add(&self.lost, counts.lost, told.lost);
    }
}
