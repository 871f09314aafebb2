//! One bucket, told again without `full_at`: what of it is used, and the worst interval so far.
//!
//! All in parts of a token that make every sum whole: a period's microseconds are a token, and as many parts as
//! there are requests per period come back each microsecond. Where the store's clock has stepped back nobody knows
//! how much later a bucket fills, so there are two accounts: the least and the most that may be used.

use crate::{descriptor::Hits, limit::Limit};

#[derive(Debug, Clone)]
pub(super) struct Meter {
    token: i128,
    refill: i128,
    least: i128,
    most: i128,
    /// The bucket is missing since the store began anew, and counts as used up then: a burst, whichever is asked,
    /// stands above what the accounts say, which are negative.
    is_lost: bool,
    at_us: u64,
    /// Of whoever last charged it or gave back, in parts.
    burst: i128,
    /// Over all intervals that end with the last charge: the largest charged − given back − refilled.
    surplus: i128,
}

impl Meter {
    pub(super) fn new(limit: &Limit) -> Meter {
        let token = i128::from(limit.unit().seconds()) * 1_000_000;
        let refill = i128::from(limit.requests_per_unit());
        Meter { token, refill, least: 0, most: 0, is_lost: false, at_us: 0, burst: 0, surplus: 0 }
    }

    // === the passing of time, and worse ===

    fn advance(&mut self, now_us: u64) {
        let refilled = i128::from(now_us.saturating_sub(self.at_us)) * self.refill;
        self.at_us = now_us;
        (self.least, self.most) = (self.least - refilled, self.most - refilled);
        if !self.is_lost {
            (self.least, self.most) = (self.least.max(0), self.most.max(0));
        }
        self.surplus -= refilled;
    }

    /// The store's clock stepped. What it has gained is refilled; what it has lost may have to pass once more.
    pub(super) fn step(&mut self, before_us: u64, after_us: u64) {
        self.advance(before_us);
        if after_us < before_us {
            self.most += i128::from(before_us - after_us) * self.refill;
            self.at_us = after_us;
        }
    }

    /// The store has lost it, and nothing guards it: over an interval that holds the loss one more burst may pass.
    pub(super) fn lose(&mut self, now_us: u64, burst: u32) {
        self.advance(now_us);
        (self.least, self.most) = (0, 0);
        self.surplus -= i128::from(burst) * self.token;
    }

    /// The store begins anew, and it counts as used up. One that does so by a small burst has room at once for what a
    /// larger one is more.
    pub(super) fn begin(&mut self, now_us: u64, raised: u32) {
        self.advance(now_us);
        (self.least, self.most, self.is_lost) = (0, 0, true);
        self.surplus -= i128::from(raised) * self.token;
    }

    /// The store forgets it, and it counts as used up when the store began: whether that is a full bucket to whoever
    /// asked for it last. To one with a larger burst it may be none.
    pub(super) fn forget(&mut self, epoch_us: u64, now_us: u64) -> bool {
        self.advance(now_us);
        let since_epoch = (i128::from(now_us) - i128::from(epoch_us)) * self.refill;
        (self.least, self.most, self.is_lost) = (-since_epoch, -since_epoch, true);
        since_epoch >= self.burst
    }

    // === takes ===

    /// Whether such a take may fit, and whether it must.
    pub(super) fn fits(&mut self, hits: Hits, burst: u32, now_us: u64) -> (bool, bool) {
        self.advance(now_us);
        let burst = i128::from(burst) * self.token;
        let cost = match hits {
            Hits::Take(hits) => i128::from(hits) * self.token,
            Hits::Peek => self.token,
            Hits::GiveBack(_) => return (true, true),
        };
        let fits = |used: i128| self.used(used, burst) + cost <= burst;
        (fits(self.least), fits(self.most))
    }

    fn used(&self, account: i128, burst: i128) -> i128 {
        if self.is_lost { (burst + account).max(0) } else { account }
    }

    /// The store let this take pass.
    pub(super) fn charge(&mut self, hits: Hits, burst: u32, now_us: u64) {
        self.advance(now_us);
        let cost = match hits {
            Hits::Take(0) | Hits::Peek => return,
            Hits::Take(hits) => i128::from(hits) * self.token,
            Hits::GiveBack(_) if burst == 0 => return,
            Hits::GiveBack(hits) => -i128::from(hits) * self.token,
        };
        let burst = i128::from(burst) * self.token;
        self.burst = burst;
        (self.least, self.most) = (self.used(self.least, burst), self.used(self.most, burst));
        self.is_lost = false;
        (self.least, self.most) = ((self.least + cost).max(0), (self.most + cost).max(0));
        self.surplus = if cost > 0 { self.surplus.max(0) + cost } else { self.surplus + cost };
    }

    /// Over every interval that ends now, no more passed than this burst and the refill.
    pub(super) fn holds(&self, burst: u32) -> bool {
        self.surplus <= i128::from(burst) * self.token
    }
}
