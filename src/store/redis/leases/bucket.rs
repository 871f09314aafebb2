//! One bucket: how much it is asked for, the lease of it, and the call about it that is under way.

mod lease;

use std::mem;

use super::demanded::Demanded;
use crate::store::redis::denial_cache::Trip;
pub(super) use lease::Aside;
use lease::Lease;
use tollgate_core::{
    decision::{
        Demand, Granted, LeaseCall, Seen,
        lease::{FEWEST_LEASED, worth},
    },
    descriptor::BucketKey,
    limit::Exact,
};

/// A key without a lease gets one if it is asked for so often in half a lease. A lease costs two entries in calls at least, and
/// keys that are asked for less often get many by chance, which end unspent.
const FEWEST_TAKES: u32 = 6;

#[derive(Debug)]
pub(super) struct Bucket {
    /// A take of one hit, under the limit that the lease is for.
    one: Demand,
    demanded: Demanded,
    lease: Option<Lease>,
    call: Call,
    /// Nothing was granted, so nothing is asked for until then.
    barren_until_us: u64,
    /// Counts the leases of all buckets that this key has had here, so that what was set aside from an earlier one is not
    /// spent from a later.
    serial: u64,
    /// Whether somebody will look when its lease ends.
    pub(super) is_timed: bool,
}

/// Why a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To report what was spent, and to ask for more.
    Renew,
    /// To report what was spent before hits are given back to the bucket: hits that are not yet charged could not be.
    Report,
    /// To return everything before a take that does not fit into the lease: it would be denied what is held for it here.
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    None,
    Due,
    UnderWay,
}

// === impl Bucket ===

impl Bucket {
    /// `number` tells it from all other buckets, also from those that this key had before.
    pub(super) fn new(demand: &Demand, number: u32, now_us: u64) -> Bucket {
        Bucket {
            one: demand.one(),
            demanded: Demanded::new(now_us),
            lease: None,
            call: Call::None,
            barren_until_us: 0,
            serial: u64::from(number) << 32,
            is_timed: false,
        }
    }

    fn lease_us(&self) -> u64 {
        u64::from(self.one.lease_us)
    }

    pub(super) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    /// Whether a call about it has yet to be answered.
    pub(super) fn is_under_way(&self) -> bool {
        self.call == Call::UnderWay
    }

    /// Counts a demand.
    pub(super) fn is_asked(&mut self, demand: &Demand, now_us: u64) {
        if !self.is_for(demand) {
            if self.lease.is_some() || self.call == Call::UnderWay {
                return self.retire(now_us);
            }
            let Bucket { serial, is_timed, .. } = *self;
            *self = Bucket { serial, is_timed, ..Bucket::new(demand, 0, now_us) };
        }
        self.demanded.add(demand.hits(), self.lease_us(), now_us);
    }

    /// Whether the lease is for a demand under these numbers.
    fn is_for(&self, demand: &Demand) -> bool {
        self.one == demand.one()
    }

    // === calls ===

    /// Whether a call about this bucket has become due; it says so once.
    pub(super) fn is_due(&mut self, now_us: u64) -> bool {
        let Some(lease) = &self.lease else { return false };
        let is_over = now_us >= lease.ends_us;
        let runs_out = lease.spent >= lease.renews_at && now_us >= self.barren_until_us;
        let is_due = self.call == Call::None && lease.is_certain && (is_over || runs_out);
        if is_due {
            self.call = Call::Due;
        }
        is_due
    }

    /// Whether a call about it waits to be sent.
    pub(super) fn has_due(&self) -> bool {
        self.call == Call::Due
    }

    /// Whether it has no lease, and a call that asks for one has become due; it says so once.
    pub(super) fn is_wanting(&mut self, now_us: u64) -> bool {
        let is_wanting = self.lease.is_none() && self.call == Call::None && self.wants(0, now_us) > 0;
        if is_wanting {
            self.call = Call::Due;
        }
        is_wanting
    }

    /// What there is to report and to ask for, if anything; then it is under way.
    pub(super) fn call(&mut self, key: &BucketKey, purpose: Purpose, now_us: u64) -> Option<LeaseCall> {
        if self.call == Call::UnderWay {
            return None;
        }
        let was = mem::replace(&mut self.call, Call::None);
        let is_over = self.lease.as_ref().is_some_and(|lease| now_us >= lease.ends_us);
        let returns_all = is_over || purpose == Purpose::Release;
        let mut call =
            LeaseCall { key: *key, one: self.one, generation_us: 0, held: 0, spent: 0, kept: 0, wants: 0 };
        let mut free = 0;
        if let Some(lease) = &mut self.lease {
            if !lease.is_certain {
                return None;
            }
            if returns_all {
                // What waits for a verdict may yet be admitted.
                lease.spent += lease.aside;
                lease.aside = 0;
                lease.ends_us = lease.ends_us.min(now_us);
                self.serial = self.serial.wrapping_add(1);
            }
            let rest = lease.held - lease.spent;
            call.kept = if returns_all { 0 } else { rest };
            free = call.kept - lease.aside;
            (call.generation_us, call.held, call.spent) = (lease.generation_us, lease.held, lease.spent);
        }
        match purpose {
            Purpose::Renew => {
                call.wants = self.wants(free, now_us);
                if self.lease.is_some() && !is_over && call.wants == 0 {
                    self.barren_until_us = self.barren_until_us.max(now_us + self.lease_us() / 4);
                    return None;
                }
            }
            Purpose::Release => self.barren_until_us = now_us + self.lease_us(),
            Purpose::Report if call.spent == 0 => {
                self.call = was;
                return None;
            }
            Purpose::Report => {}
        }
        if call.held == 0 && call.wants == 0 {
            return None;
        }
        self.call = Call::UnderWay;
        Some(call)
    }

    /// The hits to ask for, beside those that are free. 0 if a lease is not worth a call, or none is to be had.
    fn wants(&mut self, free: u32, now_us: u64) -> u32 {
        let need = self.demanded.in_half_a_lease(self.lease_us(), now_us);
        let wants = need.hits.saturating_sub(free);
        let fewest = if self.lease.is_some() { FEWEST_LEASED } else { FEWEST_TAKES };
        let is_worth_it = wants >= FEWEST_LEASED && need.takes >= fewest;
        if is_worth_it && now_us >= self.barren_until_us { wants } else { 0 }
    }

    /// Takes over what Redis answered. Returns the hits of a lease that has lapsed unreported.
    pub(super) fn landed(&mut self, call: &LeaseCall, granted: Option<&Granted>, trip: Trip) -> u32 {
        self.call = Call::None;
        let Some(granted) = granted else {
            if let Some(lease) = &mut self.lease {
                lease.is_certain = false;
            }
            self.barren_until_us = trip.arrived_us + self.lease_us();
            return self.give_up(trip.arrived_us);
        };
        let before = self.lease.take();
        let mut lapsed = 0;
        let (kept, spent, aside, old_end_us) = match before {
            Some(lease) if granted.is_found && call.kept > 0 => {
                (call.kept, lease.spent - call.spent, lease.aside, lease.ends_us)
            }
            Some(lease) if !granted.is_found && call.held > 0 => {
                // At the end of its window nobody is denied what was held for it.
                let has_window_ended = (1..=granted.now_us).contains(&lease.window_ends_us);
                lapsed = if has_window_ended { 0 } else { lease.held - lease.spent };
                self.serial = self.serial.wrapping_add(1);
                (0, 0, 0, 0)
            }
            _ => (0, 0, 0, 0),
        };
        if granted.granted == 0 && call.wants > 0 {
            self.barren_until_us = trip.arrived_us + self.lease_us() / 2;
        }
        let held = kept + granted.granted;
        if held == 0 {
            return lapsed;
        }
        let mine = worth(&self.one, held);
        let (level, window_ends_us) = match granted.seen {
            Seen::TokenBucket { full_at } => (full_at.minus(mine, self.one.per_us()), 0),
            Seen::FixedWindow(window) => {
                (Exact::at_us(u64::from(window.count)).minus(mine, 1), window.ends_us)
            }
            Seen::SlidingLog { .. } => return lapsed,
        };
        let level = level.plus(worth(&self.one, spent + aside), self.one.per_us());
        let ends_us =
            if granted.is_extended { self.ends_us(granted, window_ends_us, trip) } else { old_end_us };
        let generation_us = granted.generation_us;
        // What asks for nothing comes before the requests of its call: these are charged at a later instant.
        let told_us = granted.now_us.saturating_sub(u64::from(call.wants == 0));
        let renews_at = held - self.needed_meanwhile(held, trip);
        self.lease = Some(Lease {
            generation_us,
            held,
            spent,
            renews_at,
            aside,
            ends_us,
            level,
            told_us,
            arrived_us: trip.arrived_us,
            window_ends_us,
            is_certain: true,
        });
        lapsed
    }

    /// How many of these hits must be left when more are asked for: what will be asked for until that call is answered. At least
    /// an eighth of them, because the load may grow, and at most half.
    fn needed_meanwhile(&mut self, held: u32, trip: Trip) -> u32 {
        let lease_us = self.lease_us();
        let meanwhile_us = 2 * trip.arrived_us.saturating_sub(trip.sent_us) + lease_us / 16;
        let need = self.demanded.in_half_a_lease(lease_us, trip.arrived_us).hits;
        let needed = u64::from(need).saturating_mul(meanwhile_us) / (lease_us / 2);
        u32::try_from(needed).unwrap_or(u32::MAX).clamp(held / 8, held / 2)
    }

    /// When the lease ends by the local clock, if it was granted now: a lease after the call was sent, and before the
    /// window ends, whichever way the clocks drift by one in a thousand. Clocks show whole microseconds, so up to one more
    /// has passed.
    fn ends_us(&self, granted: &Granted, window_ends_us: u64, trip: Trip) -> u64 {
        let until_us = if window_ends_us > 0 {
            window_ends_us.saturating_sub(granted.now_us).min(self.lease_us())
        } else {
            self.lease_us()
        };
        (trip.sent_us + until_us - until_us.div_ceil(1_000)).saturating_sub(2)
    }

    pub(super) fn not_sent(&mut self) {
        self.call = Call::Due;
    }

    /// Its server is away, so its due call waits no longer.
    pub(super) fn is_away(&mut self) {
        self.call = Call::None;
    }

    /// When its lease ends, or a while from now if that has passed.
    pub(super) fn ends_us_after(&self, now_us: u64) -> Option<u64> {
        self.lease.as_ref().map(|lease| lease.ends_us.max(now_us + self.lease_us() / 8))
    }

    /// Whether it is worth remembering.
    pub(super) fn is_used(&self, now_us: u64) -> bool {
        self.lease.is_some()
            || self.call == Call::UnderWay
            || self.demanded.is_recent(self.lease_us(), now_us)
            || now_us < self.barren_until_us
    }
}
