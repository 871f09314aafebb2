//! One bucket: how much it is asked for, the lease of it, and the call about it that is under way.

use crate::store::redis::denial_cache::Trip;
use tollgate_core::{
    decision::{
        Demand, Found, Granted, Kind, LeaseCall, Measure, Seen, Verdict,
        fixed_window::Window,
        lease::{FEWEST_LEASED, MOST_LEASED, worth},
    },
    descriptor::BucketKey,
    limit::Exact,
};

#[derive(Debug)]
pub(super) struct Bucket {
    /// A take of one hit, under the limit that the lease is for.
    one: Demand,
    /// The hits asked for since `since_us`, for a lease's time, and in the lease's time before.
    asked: u32,
    asked_before: u32,
    since_us: u64,
    lease: Option<Lease>,
    call: Call,
    /// Nothing was granted, so nothing is asked for until then.
    barren_until_us: u64,
    /// Counts the leases, so that what was set aside from an earlier one is not spent from a later.
    serial: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    None,
    Due,
    UnderWay,
}

#[derive(Debug)]
struct Lease {
    generation_us: u64,
    /// The hits that Redis holds, with those that are spent.
    held: u32,
    spent: u32,
    /// Of the rest, those that wait for a verdict.
    aside: u32,
    /// By the local clock.
    ends_us: u64,
    /// What Redis showed, with what was spent since: `full_at`, or the count of a window.
    level: Exact,
    /// Redis' clock then.
    told_us: u64,
    /// 0 for a token bucket.
    window_ends_us: u64,
    /// Whether Redis holds what is noted here. If a call was lost, that is not known.
    is_certain: bool,
}

/// Hits that are set aside for one take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aside {
    hits: u32,
    serial: u32,
    cost: Exact,
    pub(super) found: Found,
    pub(super) told_us: u64,
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(demand: &Demand, now_us: u64) -> Bucket {
        Bucket {
            one: demand.one(),
            asked: 0,
            asked_before: 0,
            since_us: now_us,
            lease: None,
            call: Call::None,
            barren_until_us: 0,
            serial: 0,
        }
    }

    fn lease_us(&self) -> u64 {
        u64::from(self.one.lease_us)
    }

    pub(super) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    /// Counts a demand.
    pub(super) fn is_asked(&mut self, demand: &Demand, now_us: u64) {
        if !self.is_for(demand) {
            if self.lease.is_some() || self.call == Call::UnderWay {
                return self.retire(now_us);
            }
            *self = Bucket { serial: self.serial, ..Bucket::new(demand, now_us) };
        }
        self.turn(now_us);
        self.asked = self.asked.saturating_add(demand.hits());
    }

    fn turn(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us >= self.lease_us() {
            self.asked_before = if passed_us < 2 * self.lease_us() { self.asked } else { 0 };
            (self.asked, self.since_us) = (0, now_us);
        }
    }

    /// Whether the lease is for a demand under these numbers.
    fn is_for(&self, demand: &Demand) -> bool {
        self.one == demand.one()
    }

    // === spending ===

    /// Sets the hits of a take aside, if the lease holds them.
    pub(super) fn set_aside(&mut self, demand: &Demand, now_us: u64) -> Option<Aside> {
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
        Some(Aside { hits, serial, cost, found, told_us: lease.told_us })
    }

    /// Spends what was set aside, or puts it back. Returns the hits that are spent.
    pub(super) fn settle(&mut self, aside: &Aside, verdict: Verdict, now_us: u64) -> u32 {
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
        self.turn(now_us);
        self.asked = self.asked.saturating_add(aside.hits);
        aside.hits
    }

    // === calls ===

    /// Whether a call about this bucket has become due; it says so once.
    pub(super) fn is_due(&mut self, now_us: u64) -> bool {
        let Some(lease) = &self.lease else { return false };
        let is_over = now_us >= lease.ends_us;
        let is_half_spent = lease.spent.saturating_mul(2) >= lease.held && now_us >= self.barren_until_us;
        let is_due = self.call == Call::None && lease.is_certain && (is_over || is_half_spent);
        if is_due {
            self.call = Call::Due;
        }
        is_due
    }

    /// What there is to report and to ask for, if anything; then it is under way.
    pub(super) fn call(&mut self, key: &BucketKey, now_us: u64) -> Option<LeaseCall> {
        if self.call == Call::UnderWay {
            return None;
        }
        self.call = Call::None;
        let need = self.need(now_us);
        let mut call =
            LeaseCall { key: *key, one: self.one, generation_us: 0, held: 0, spent: 0, kept: 0, wants: need };
        if let Some(lease) = &mut self.lease {
            if !lease.is_certain {
                return None;
            }
            let is_over = now_us >= lease.ends_us;
            if is_over {
                // What waits for a verdict may yet be admitted.
                lease.spent += lease.aside;
                lease.aside = 0;
                self.serial = self.serial.wrapping_add(1);
            }
            let rest = lease.held - lease.spent;
            let kept = if is_over { 0 } else { rest };
            let wants = need.saturating_sub(kept - lease.aside);
            let (generation_us, held, spent) = (lease.generation_us, lease.held, lease.spent);
            call = LeaseCall { generation_us, held, spent, kept, wants, ..call };
            if !is_over && call.wants < FEWEST_LEASED {
                self.barren_until_us = now_us + u64::from(self.one.lease_us) / 4;
                return None;
            }
        }
        if call.wants < FEWEST_LEASED || now_us < self.barren_until_us {
            call.wants = 0;
        }
        if call.held == 0 && call.wants == 0 {
            return None;
        }
        self.call = Call::UnderWay;
        Some(call)
    }

    /// The hits that are expected in half a lease.
    fn need(&mut self, now_us: u64) -> u32 {
        self.turn(now_us);
        let hits = u64::from(self.asked) + u64::from(self.asked_before);
        let over_us = self.lease_us() + now_us.saturating_sub(self.since_us);
        let need = (hits * self.lease_us()).div_ceil(2 * over_us);
        u32::try_from(need).unwrap_or(u32::MAX).min(MOST_LEASED)
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
                lapsed = lease.held - lease.spent;
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
        let (generation_us, told_us) = (granted.generation_us, granted.now_us);
        self.lease = Some(Lease {
            generation_us,
            held,
            spent,
            aside,
            ends_us,
            level,
            told_us,
            window_ends_us,
            is_certain: true,
        });
        lapsed
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

    /// Drops a lease that is over and that nothing can be reported about. Returns its hits that nobody has spent.
    pub(super) fn give_up(&mut self, now_us: u64) -> u32 {
        let Some(lease) = self.lease.take_if(|lease| !lease.is_certain && now_us >= lease.ends_us) else {
            return 0;
        };
        self.serial = self.serial.wrapping_add(1);
        lease.held - lease.spent
    }

    /// The lease is over from now on, and none follows for a while.
    pub(super) fn retire(&mut self, now_us: u64) {
        if let Some(lease) = &mut self.lease {
            lease.ends_us = lease.ends_us.min(now_us);
        }
        self.barren_until_us = now_us + self.lease_us();
    }

    pub(super) fn not_sent(&mut self) {
        self.call = Call::Due;
    }

    /// When its lease ends, or a while from now if that has passed.
    pub(super) fn ends_us_after(&self, now_us: u64) -> Option<u64> {
        self.lease.as_ref().map(|lease| lease.ends_us.max(now_us + self.lease_us() / 8))
    }

    /// Whether it is worth remembering.
    pub(super) fn is_used(&self, now_us: u64) -> bool {
        self.lease.is_some()
            || self.call == Call::UnderWay
            || now_us.saturating_sub(self.since_us) < 2 * self.lease_us()
            || now_us < self.barren_until_us
    }
}
