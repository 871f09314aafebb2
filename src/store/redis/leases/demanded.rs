//! How much a bucket is asked for, and so how much of it is worth a lease.

use tollgate_core::decision::lease::MOST_LEASED;

#[derive(Debug)]
pub(super) struct Demanded {
    /// For a lease's time from `since_us` on, and in the lease's time before.
    now: Asked,
    before: Asked,
    since_us: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) takes: u32,
    pub(super) hits: u32,
}

// === impl Demanded ===

impl Demanded {
    pub(super) fn new(now_us: u64) -> Demanded {
        Demanded { now: Asked::default(), before: Asked::default(), since_us: now_us }
    }

    /// Counts a take of this many hits.
    pub(super) fn add(&mut self, hits: u32, lease_us: u64, now_us: u64) {
        self.turn(lease_us, now_us);
        self.now.takes = self.now.takes.saturating_add(1);
        self.now.hits = self.now.hits.saturating_add(hits);
    }

    fn turn(&mut self, lease_us: u64, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us >= lease_us {
            self.before = if passed_us < 2 * lease_us { self.now } else { Asked::default() };
            (self.now, self.since_us) = (Asked::default(), now_us);
        }
    }

    /// What is expected in half a lease.
    pub(super) fn in_half_a_lease(&mut self, lease_us: u64, now_us: u64) -> Asked {
        self.turn(lease_us, now_us);
        let over_us = lease_us + now_us.saturating_sub(self.since_us);
        let expected = |now: u32, before: u32| {
            let asked = u64::from(now) + u64::from(before);
            u32::try_from((asked * lease_us).div_ceil(2 * over_us)).unwrap_or(u32::MAX).min(MOST_LEASED)
        };
        Asked {
            takes: expected(self.now.takes, self.before.takes),
            hits: expected(self.now.hits, self.before.hits),
        }
    }

    pub(super) fn is_recent(&self, lease_us: u64, now_us: u64) -> bool {
        now_us.saturating_sub(self.since_us) < 2 * lease_us
    }
}
