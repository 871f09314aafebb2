//! A second account of one bucket, with a list of what is reserved in it; written from the promises, not from the code.

use super::{bounds::Parts, plan::Bucket};
use tollgate_core::decision::{Demand, Granted, LeaseCall};

#[derive(Debug, Clone)]
pub(super) struct Account {
    parts: Parts,
    /// Tokens: when the bucket would be full again, in parts of a microsecond. A window: its hits.
    counted: i128,
    /// When the window ends.
    ends_us: u64,
    /// The longest lease of a limit of this bucket.
    longest_us: u64,
    /// What is reserved, and until when, in no order.
    reserved: Vec<(u64, i128)>,
}

// === impl Account ===

impl Account {
    pub(super) fn new(bucket: &Bucket) -> Account {
        let longest_us = bucket.limits.iter().map(|limit| u64::from(limit.lease_us())).max().unwrap_or(0);
        Account { parts: Parts::new(bucket), counted: 0, ends_us: 0, longest_us, reserved: Vec::new() }
    }

    /// The store knows nothing of it any more. If it must start empty, it counts as used up at the time of the epoch.
    pub(super) fn lose(&mut self) {
        (self.counted, self.ends_us) = (0, 0);
        self.reserved.clear();
    }

    /// All that was charged is given back.
    pub(super) fn forgive(&mut self, now_us: u64) {
        self.advance(now_us, self.parts.length_us);
        self.counted = 0;
    }

    pub(super) fn begin(&mut self, epoch_us: u64, bucket: &Bucket) {
        if !self.parts.is_window {
            self.counted = i128::from(epoch_us) * self.parts.of_us + self.parts.burst(&bucket.limits[0]);
        }
    }

    /// What was reserved until now and not reported counts as spent from then on.
    fn advance(&mut self, now_us: u64, length_us: u64) {
        if self.parts.is_window {
            let ends_us = (now_us / length_us + 1) * length_us;
            if self.ends_us != ends_us {
                (self.counted, self.ends_us) = (0, ends_us);
                self.reserved.clear();
            }
        }
        self.reserved.sort_unstable();
        while let Some(&(until_us, amount)) =
            self.reserved.first().filter(|(until_us, _)| *until_us <= now_us)
        {
            self.add(until_us, amount);
            self.reserved.remove(0);
        }
    }

    fn add(&mut self, at_us: u64, amount: i128) {
        let floor = if self.parts.is_window { 0 } else { i128::from(at_us) * self.parts.of_us };
        self.counted = self.counted.max(floor) + amount;
    }

    /// What is left under the limit of this demand, when all that is reserved counts as spent.
    fn left(&mut self, demand: &Demand, now_us: u64) -> i128 {
        self.advance(now_us, self.parts.length_us);
        let now = if self.parts.is_window { 0 } else { i128::from(now_us) * self.parts.of_us };
        let reserved: i128 = self.reserved.iter().map(|(_, amount)| amount).sum();
        now + self.parts.most(demand) - self.counted.max(now) - reserved
    }

    pub(super) fn fits(&mut self, demand: &Demand, now_us: u64) -> bool {
        self.parts.cost(demand) <= self.left(demand, now_us)
    }

    pub(super) fn charge(&mut self, demand: &Demand, now_us: u64) {
        self.advance(now_us, self.parts.length_us);
        self.add(now_us, self.parts.cost(demand));
    }

    // === leases ===

    /// Does to the account what the store answered to a call about a lease. Fails if the store must not answer so.
    pub(super) fn settle(
        &mut self,
        call: &LeaseCall,
        granted: &Granted,
        now_us: u64,
    ) -> Result<(), &'static str> {
        let lease_us = u64::from(call.one.lease_us);
        let worth = |account: &Account, hits: u32| account.parts.cost(&call.one) * i128::from(hits);
        self.advance(now_us, self.parts.length_us);
        let held = worth(self, call.held);
        let place = self.reserved.iter().position(|(until_us, amount)| {
            call.held > 0 && *until_us == call.generation_us && *amount >= held
        });
        if granted.is_found != place.is_some() {
            return Err("a reservation is found until it lapses");
        }
        if let Some(place) = place {
            self.reserved[place].1 -= held;
            if call.spent > 0 {
                self.add(now_us, worth(self, call.spent));
            }
        }
        let kept = if granted.is_found { worth(self, call.kept) } else { 0 };
        let left = self.left(&call.one, now_us) - kept;
        let more = worth(self, granted.granted);
        if granted.granted > call.wants || (more > 0 && 4 * more > left) {
            return Err("a lease is given at most a quarter of what is left, and what it asks for");
        }
        if granted.is_extended {
            let lasts_us = granted.generation_us.saturating_sub(now_us);
            if lasts_us < lease_us + lease_us / 4 || lasts_us > 2 * self.longest_us + self.longest_us / 2 {
                return Err("a reservation lapses a quarter of a lease after it, and within two and a half");
            }
        } else if granted.granted > 0 || granted.generation_us != call.generation_us {
            return Err("what is not extended stays as it was");
        }
        if kept + more > 0 {
            match self.reserved.iter_mut().find(|(until_us, _)| *until_us == granted.generation_us) {
                Some((_, amount)) => *amount += kept + more,
                None => self.reserved.push((granted.generation_us, kept + more)),
            }
        }
        self.reserved.retain(|(_, amount)| *amount > 0);
        if self.reserved.len() > 2 {
            return Err("a bucket has two generations of reservations");
        }
        Ok(())
    }
}
