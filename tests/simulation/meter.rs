//! A second account of one bucket, without `full_at`: how long it would take to fill, and the worst interval so far.
//!
//! All times are in parts of a microsecond that make every sum whole under each of the bucket's limits. After a
//! backward step of the store's clock it is not known how much later a bucket fills, and a change of limits may round
//! a fraction of a microsecond up. So there are two accounts: the least and the most that may be missing.

use tollgate_core::{descriptor::Hits, limit::Limit};

#[derive(Debug, Clone)]
pub(super) struct Meter {
    /// Parts of a microsecond.
    parts: i128,
    /// The longest time that the burst of a limit takes to fill, and how much longer that is than the shortest.
    largest: i128,
    raised: i128,
    least: i128,
    most: i128,
    /// The bucket has been missing since the store began anew, and counts as used up at that time: the burst of
    /// whichever limit is asked for is added to the accounts, which are negative.
    is_lost: bool,
    at_us: u64,
    /// The limit of the last charge or give-back: the time that its burst takes to fill, and its R.
    burst: i128,
    per_us: u32,
    /// The largest value of charged − given back − passed over all intervals that end with the last charge.
    surplus: i128,
}

impl Meter {
    /// The account of a bucket that may be asked for under these limits.
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

    /// The time that these hits take to come back, computed from the configuration: `Limit` might be wrong.
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

    /// The store's clock stepped. Time that it gained has passed; time that it lost may have to pass again.
    pub(super) fn step(&mut self, before_us: u64, after_us: u64) {
        self.advance(before_us);
        if after_us < before_us {
            self.most += i128::from(before_us - after_us) * self.parts;
            self.at_us = after_us;
        }
    }

    /// The store has lost the bucket, which is not guarded: an interval that contains the loss may admit another burst.
    pub(super) fn lose(&mut self, now_us: u64) {
        self.advance(now_us);
        (self.least, self.most) = (0, 0);
        self.surplus -= self.largest;
    }

    /// The store begins anew, and the bucket counts as used up. If it does so under a smaller burst, a larger burst
    /// has room at once for the difference.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.advance(now_us);
        (self.least, self.most, self.is_lost) = (0, 0, true);
        self.surplus -= self.raised;
    }

    /// The store forgets the bucket, which then counts as used up when the store began. True if that is a full bucket
    /// under the limit that asked last; under a larger burst it may not be full.
    pub(super) fn forget(&mut self, epoch_us: u64, now_us: u64) -> bool {
        self.advance(now_us);
        let since_epoch = (i128::from(now_us) - i128::from(epoch_us)) * self.parts;
        (self.least, self.most, self.is_lost) = (-since_epoch, -since_epoch, true);
        since_epoch >= self.burst
    }

    // === takes ===

    /// Whether such a take may fit, and whether it must fit.
    pub(super) fn fits(&mut self, hits: Hits, limit: &Limit, now_us: u64) -> (bool, bool) {
        self.advance(now_us);
        let burst = self.burst_of(limit);
        let cost = match hits {
            Hits::Take(hits) => self.time(limit, hits),
            Hits::One | Hits::Peek => self.time(limit, 1),
            Hits::GiveBack(_) => return (true, true),
        };
        let (least, most) = self.missing(limit);
        (least + cost <= burst, most + cost <= burst)
    }

    /// The least and the most that is missing under this limit.
    fn missing(&self, limit: &Limit) -> (i128, i128) {
        let burst = self.burst_of(limit);
        let missing = |account: i128| if self.is_lost { (burst + account).max(0) } else { account };
        let (least, most) = (missing(self.least), missing(self.most));
        let rounds_up = !self.is_lost && most > 0 && self.per_us != limit.per_us();
        (least, if rounds_up { most + self.parts - 1 } else { most })
    }

    /// The store admitted this take.
    pub(super) fn charge(&mut self, hits: Hits, limit: &Limit, now_us: u64) {
        self.advance(now_us);
        let cost = match hits {
            Hits::Take(0) | Hits::Peek => return,
            Hits::One => self.time(limit, 1),
            Hits::Take(hits) => self.time(limit, hits),
            Hits::GiveBack(_) if limit.burst() == 0 => return,
            Hits::GiveBack(hits) => -self.time(limit, hits),
        };
        let (least, most) = self.missing(limit);
        (self.least, self.most) = ((least + cost).max(0), (most + cost).max(0));
        (self.is_lost, self.burst, self.per_us) = (false, self.burst_of(limit), limit.per_us());
        self.surplus = if cost > 0 { self.surplus.max(0) + cost } else { self.surplus + cost };
    }

    /// Whether over every interval that ends now the admitted hits, each counted as the time that it cost, are at
    /// most the interval's length and the largest burst.
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
