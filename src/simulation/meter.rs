//! One bucket, told again without `full_at`: the tokens in it, and the worst interval so far.
//!
//! All in parts of a token that make every sum whole: a period's microseconds are a token, and as many parts as
//! there are requests per period come back each microsecond.

use crate::{descriptor::Hits, limit::Limit};

#[derive(Debug)]
pub(super) struct Meter {
    token: i128,
    refill: i128,
    full: i128,
    level: i128,
    at_us: u64,
    /// Over all intervals that end with the last charge: the largest charged − given back − refilled.
    surplus: i128,
}

impl Meter {
    pub(super) fn new(limit: &Limit) -> Meter {
        let token = i128::from(limit.unit().seconds()) * 1_000_000;
        let full = i128::from(limit.burst()) * token;
        let refill = i128::from(limit.requests_per_unit());
        Meter { token, refill, full, level: full, at_us: 0, surplus: 0 }
    }

    pub(super) fn level(&self, now_us: u64) -> i128 {
        (self.level + self.refilled(now_us)).min(self.full)
    }

    /// What such a take leaves of a level; none if it does not fit.
    pub(super) fn after(&self, level: i128, hits: Hits) -> Option<i128> {
        match hits {
            Hits::Take(hits) => Some(level - i128::from(hits) * self.token).filter(|left| *left >= 0),
            Hits::Peek => (level >= self.token).then_some(level),
            Hits::GiveBack(hits) => Some((level + i128::from(hits) * self.token).min(self.full)),
        }
    }

    /// The store let this take pass. Whether over every interval no more than the burst and the refill did.
    pub(super) fn passed(&mut self, hits: Hits, now_us: u64) -> bool {
        let level = self.level(now_us);
        let faded = self.surplus - self.refilled(now_us);
        self.at_us = now_us;
        self.level = self.after(level, hits).unwrap_or(level);
        self.surplus = match hits {
            Hits::Take(hits) => faded.max(0) + i128::from(hits) * self.token,
            Hits::Peek => faded,
            Hits::GiveBack(hits) => faded - i128::from(hits) * self.token,
        };
        self.surplus <= self.full
    }

    fn refilled(&self, now_us: u64) -> i128 {
        i128::from(now_us.saturating_sub(self.at_us)) * self.refill
    }
}
