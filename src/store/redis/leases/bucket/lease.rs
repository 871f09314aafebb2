//! The lease of a bucket: what is spent from it, what is set aside until there is a verdict, and how it ends.

use super::Bucket;
use tollgate_core::{
    decision::{Demand, Found, Kind, Measure, Seen, Verdict, fixed_window::Window},
    limit::Exact,
};

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) generation_us: u64,
    /// The hits that Redis holds, with those that are spent.
    pub(super) held: u32,
    pub(super) spent: u32,
    /// When so many are spent, it is time to ask for more.
    pub(super) renews_at: u32,
    /// Of the rest, those that wait for a verdict.
    pub(super) aside: u32,
    /// By the local clock.
    pub(super) ends_us: u64,
    /// What Redis showed, with what was spent since: `full_at`, or the count of a window.
    pub(super) level: Exact,
    /// Redis' clock then, and the local clock after that answer had arrived.
    pub(super) told_us: u64,
    pub(super) arrived_us: u64,
    /// 0 for a token bucket.
    pub(super) window_ends_us: u64,
    /// Whether Redis holds what is noted here. If a call was lost, that is not known.
    pub(super) is_certain: bool,
}

/// Hits that are set aside for one take.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::redis::leases) struct Aside {
    hits: u32,
    serial: u64,
    cost: Exact,
    pub(in crate::store::redis::leases) found: Found,
    /// The earliest instant that Redis' clock may show by now.
    pub(in crate::store::redis::leases) now_us: u64,
}

impl Bucket {
    /// Sets the hits of a take aside, if the lease holds them.
    pub(in crate::store::redis::leases) fn set_aside(
        &mut self,
        demand: &Demand,
        now_us: u64,
    ) -> Option<Aside> {
        if demand.lease_us == 0 || !self.is_for(demand) {
            return None;
        }
        let serial = self.serial;
        let lease = self.lease.as_mut().filter(|lease| now_us < lease.ends_us)?;
        let free = lease.held - lease.spent - lease.aside;
        if demand.hits() > free {
            return None;
        }
        let seen = match &demand.measure {
            Measure::TokenBucket(_) => Seen::TokenBucket { full_at: lease.level },
            Measure::FixedWindow(_) | Measure::SlidingLog(_) => Seen::FixedWindow(Window {
                ends_us: lease.window_ends_us,
                count: u32::try_from(lease.level.whole_us).unwrap_or(u32::MAX),
            }),
        };
        let (hits, cost) = match demand.kind {
            Kind::Take => (demand.hits(), demand.cost()),
            _ => (0, Exact::default()),
        };
        lease.aside += hits;
        lease.level = lease.level.plus(cost, self.one.per_us());
        let found = Found { fits: true, seen, is_reserved: true };
        let passed_us = now_us.saturating_sub(lease.arrived_us).saturating_sub(1);
        let at_least_us = lease.told_us.saturating_add(passed_us - passed_us.div_ceil(1_000));
        Some(Aside { hits, serial, cost, found, now_us: at_least_us })
    }

    /// Whether a take of this many hits does not fit into what the lease has left, though there is something left.
    pub(in crate::store::redis::leases) fn is_too_much(&self, demand: &Demand, now_us: u64) -> bool {
        let lease = self.lease.as_ref().filter(|lease| now_us < lease.ends_us);
        lease.is_some_and(|lease| (1..demand.hits()).contains(&(lease.held - lease.spent - lease.aside)))
    }

    /// The store charged a take at this instant of its clock.
    pub(in crate::store::redis::leases) fn was_charged(&mut self, demand: &Demand, store_us: u64) {
        let per_us = self.one.per_us();
        if let Some(lease) = self.lease.as_mut().filter(|lease| store_us > lease.told_us) {
            lease.level = lease.level.plus(demand.cost(), per_us);
        }
    }

    /// Spends what was set aside, or puts it back. Returns the hits that are spent.
    pub(in crate::store::redis::leases) fn settle(
        &mut self,
        aside: &Aside,
        verdict: Verdict,
        now_us: u64,
    ) -> u32 {
        let per_us = self.one.per_us();
        if let Some(lease) = self.lease.as_mut().filter(|_| aside.serial == self.serial) {
            lease.aside -= aside.hits;
            match verdict {
                Verdict::Allow => lease.spent += aside.hits,
                Verdict::Deny => lease.level = lease.level.minus(aside.cost, per_us),
            }
        }
        // If its lease is over, Redis was told that it is spent.
        if verdict == Verdict::Deny {
            return 0;
        }
        self.demanded.add(aside.hits, self.lease_us(), now_us);
        aside.hits
    }

    /// Drops a lease that is over and that nothing can be reported about. Returns its hits that nobody has spent.
    pub(in crate::store::redis::leases) fn give_up(&mut self, now_us: u64) -> u32 {
        let Some(lease) = self.lease.take_if(|lease| !lease.is_certain && now_us >= lease.ends_us) else {
            return 0;
        };
        self.serial = self.serial.wrapping_add(1);
        lease.held - lease.spent
    }

    /// The lease is over from now on, and none follows for a while.
    pub(in crate::store::redis::leases) fn retire(&mut self, now_us: u64) {
        if let Some(lease) = &mut self.lease {
            lease.ends_us = lease.ends_us.min(now_us);
        }
        self.barren_until_us = now_us + self.lease_us();
    }
}
