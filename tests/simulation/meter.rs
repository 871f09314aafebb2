//! One bucket, told again without `full_at`: how long it would take to fill, and the worst interval so far.
//!
//! All in parts of a microsecond that make every sum whole, under each of the bucket's limits. Where the store's clock
//! has stepped back nobody knows how much later a bucket fills, and where one limit follows another a fraction of a
//! microsecond may round up; so there are two accounts: the least and the most that may be missing.

use tollgate_core::{descriptor::Hits, limit::Limit};

#[derive(Debug, Clone)]
pub(super) struct Meter {
    /// Parts of a microsecond.
    parts: i128,
    /// Of the limits that may be asked for, what the bursts take to fill: the most, and by how much they differ.
    largest: i128,
    raised: i128,
    least: i128,
    most: i128,
    /// The bucket is missing since the store began anew, and counts as used up then: a burst, whichever is asked,
    /// stands above what the accounts say, which are negative.
    is_lost: bool,
    at_us: u64,
    /// What the burst takes to fill of whoever last charged it or gave back, and R of that limit.
    burst: i128,
    per_us: u32,
    /// Over all intervals that end with the last charge: the largest charged − given back − passed.
    surplus: i128,
}

impl Meter {
    /// Of a bucket that may be asked for under these limits.
    pub(super) fn new<'l>(limits: impl Iterator<Item = &'l Limit> + Clone) -> Meter {
        let parts = limits.clone().fold(1, |parts, limit| common_multiple(parts, limit.per_us().into()));
        let mut meter = Meter {
            parts,
            largest: 0,
            raised: 0,
            least: 0,
            most: 0,
            is_lost: false,
            at_us: 0,
            burst: 0,
            per_us: 1,
            surplus: 0,
        };
        let bursts: Vec<i128> = limits.map(|limit| meter.burst_of(limit)).collect();
        meter.largest = bursts.iter().copied().max().unwrap_or(0);
        meter.raised = meter.largest - bursts.into_iter().min().unwrap_or(0);
        meter
    }

    /// What so many hits take to come back. Worked out from what is configured: `Limit` might be wrong.
    fn time(&self, limit: &Limit, hits: u64) -> i128 {
        let unit_us = i128::from(limit.period().seconds()) * 1_000_000;
        i128::from(hits) * unit_us * self.parts / i128::from(limit.requests_per_unit().max(1))
    }

    fn burst_of(&self, limit: &Limit) -> i128 {
        self.time(limit, limit.burst().into())
    }

    // === the passing of time, and worse ===

    fn advance(&mut self, now_us: u64) {
        let passed = i128::from(now_us.saturating_sub(self.at_us)) * self.parts;
        self.at_us = now_us;
        (self.least, self.most) = (self.least - passed, self.most - passed);
        if !self.is_lost {
            (self.least, self.most) = (self.least.max(0), self.most.max(0));
        }
        self.surplus -= passed;
    }

    /// The store's clock stepped. What it has gained has passed; what it has lost may have to pass once more.
    pub(super) fn step(&mut self, before_us: u64, after_us: u64) {
        self.advance(before_us);
        if after_us < before_us {
            self.most += i128::from(before_us - after_us) * self.parts;
            self.at_us = after_us;
        }
    }

    /// The store has lost it, and nothing guards it: over an interval that holds the loss one more burst may pass.
    pub(super) fn lose(&mut self, now_us: u64) {
        self.advance(now_us);
        (self.least, self.most) = (0, 0);
        self.surplus -= self.largest;
    }

    /// The store begins anew, and it counts as used up. One that does so by a small burst has room at once for what a
    /// larger one is more.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.advance(now_us);
        (self.least, self.most, self.is_lost) = (0, 0, true);
        self.surplus -= self.raised;
    }

    /// The store forgets it, and it counts as used up when the store began: whether that is a full bucket to whoever
    /// asked for it last. To one with a larger burst it may be none.
    pub(super) fn forget(&mut self, epoch_us: u64, now_us: u64) -> bool {
        self.advance(now_us);
        let since_epoch = (i128::from(now_us) - i128::from(epoch_us)) * self.parts;
        (self.least, self.most, self.is_lost) = (-since_epoch, -since_epoch, true);
        since_epoch >= self.burst
    }

    // === takes ===

    /// Whether such a take may fit, and whether it must.
    pub(super) fn fits(&mut self, hits: Hits, limit: &Limit, now_us: u64) -> (bool, bool) {
        self.advance(now_us);
        let burst = self.burst_of(limit);
        let cost = match hits {
            Hits::Take(hits) => self.time(limit, hits),
            Hits::Peek => self.time(limit, 1),
            Hits::GiveBack(_) => return (true, true),
        };
        let (least, most) = self.missing(limit);
        (least + cost <= burst, most + cost <= burst)
    }

    /// What is missing at least and at most, as this limit has it.
    fn missing(&self, limit: &Limit) -> (i128, i128) {
        let burst = self.burst_of(limit);
        let missing = |account: i128| if self.is_lost { (burst + account).max(0) } else { account };
        let (least, most) = (missing(self.least), missing(self.most));
        let rounds_up = !self.is_lost && most > 0 && self.per_us != limit.per_us();
        (least, if rounds_up { most + self.parts - 1 } else { most })
    }

    /// The store let this take pass.
    pub(super) fn charge(&mut self, hits: Hits, limit: &Limit, now_us: u64) {
        self.advance(now_us);
        let cost = match hits {
            Hits::Take(0) | Hits::Peek => return,
            Hits::Take(hits) => self.time(limit, hits),
            Hits::GiveBack(_) if limit.burst() == 0 => return,
            Hits::GiveBack(hits) => -self.time(limit, hits),
        };
        let (least, most) = self.missing(limit);
        (self.least, self.most) = ((least + cost).max(0), (most + cost).max(0));
        (self.is_lost, self.burst, self.per_us) = (false, self.burst_of(limit), limit.per_us());
        self.surplus = if cost > 0 { self.surplus.max(0) + cost } else { self.surplus + cost };
    }

    /// Over every interval that ends now, no more passed, each hit in the time that it cost, than the interval's length
    /// and the largest burst.
    pub(super) fn holds(&self) -> bool {
        self.surplus <= self.largest
    }
}

fn common_multiple(a: i128, b: i128) -> i128 {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor * b
}
