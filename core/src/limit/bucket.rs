//! The arithmetic of a token bucket: what hits are worth in time, and what is left at an instant.

use super::{Exact, Limit};

/// No instant is later: above, the doubles of Redis' Lua are not exact.
const END_OF_TIME_US: u64 = (1 << 53) - 1;

impl Limit {
    /// R of [`Exact`]: tokens per period, in lowest terms; at least 1.
    pub fn per_us(&self) -> u32 {
        self.tokens
    }

    /// What the full burst is worth in time: how long an empty bucket takes to fill.
    pub fn worth_of_burst(&self) -> Exact {
        self.worth_of_burst
    }

    /// What a take of `hits` costs in time. Hits above the burst cost as much as burst + 1, which never fits
    /// either, so the result is bounded.
    pub fn cost(&self, hits: u64) -> Exact {
        if hits == 1 {
            return self.cost_of_one;
        }
        self.time_for(hits.min(u64::from(self.burst) + 1))
    }

    /// What `hits` are worth in time, however many: those that are given back may have been taken under another
    /// burst, or another rate. At most 2^53 µs, since no bucket is further from full.
    pub fn worth(&self, hits: u64) -> Exact {
        if hits == 1 {
            return self.cost_of_one;
        }
        self.time_for(hits).min(Exact::at_us(END_OF_TIME_US))
    }

    /// Whole tokens in a bucket that is full again at `full_at`, at the instant `now`.
    pub fn level(&self, full_at: Exact, now_us: u64) -> u32 {
        let missing = self.missing_ticks(full_at, now_us);
        let worth = self.worth_of_burst.ticks(self.tokens);
        let tokens = worth.saturating_sub(missing) / self.period_us;
        u32::try_from(tokens).unwrap_or(self.burst)
    }

    /// Thousandths of a token in a bucket that is full again at `full_at`, rounded down; below zero if it owes.
    pub fn level_thousandths(&self, full_at: Exact, now_us: u64) -> i64 {
        let missing = self.missing_ticks(full_at, now_us).saturating_mul(1_000).div_ceil(self.period_us);
        let missing = i64::try_from(missing).unwrap_or(i64::MAX);
        (i64::from(self.burst) * 1_000).saturating_sub(missing)
    }

    /// Microseconds, rounded up, until the bucket holds one whole token more; 0 when it is full.
    pub fn next_token_us(&self, full_at: Exact, now_us: u64) -> u64 {
        let missing = self.missing_ticks(full_at, now_us);
        if missing == 0 {
            return 0;
        }
        let owed = missing.saturating_sub(self.worth_of_burst.ticks(self.tokens));
        let Some(short) = (missing - owed).checked_sub(1) else { return self.ticks_to_us(missing) };
        self.ticks_to_us(owed + short % self.period_us + 1)
    }

    /// Microseconds, rounded up, until a take of `cost` fits a bucket that is full at `full_at`.
    pub fn wait_us(&self, full_at: Exact, cost: Exact, now_us: u64) -> u64 {
        let missing = self.missing_ticks(full_at, now_us) + cost.ticks(self.tokens);
        self.ticks_to_us(missing.saturating_sub(self.worth_of_burst.ticks(self.tokens)))
    }

    /// What is missing from a full bucket, in time.
    fn missing_ticks(&self, full_at: Exact, now_us: u64) -> u128 {
        full_at.ticks(self.tokens).saturating_sub(Exact::at_us(now_us).ticks(self.tokens))
    }

    fn ticks_to_us(&self, ticks: u128) -> u64 {
        u64::try_from(ticks.div_ceil(u128::from(self.tokens))).unwrap_or(u64::MAX)
    }

    /// hits · P/R µs. What does not fit 64 bits of microseconds is cut to as many as do.
    pub(super) fn time_for(&self, hits: u64) -> Exact {
        let ticks = u128::from(hits).saturating_mul(self.period_us);
        let whole_us = ticks / u128::from(self.tokens);
        let fraction = ticks % u128::from(self.tokens);
        Exact {
            whole_us: u64::try_from(whole_us).unwrap_or(u64::MAX),
            fraction: u32::try_from(fraction).expect("a remainder by a u32"),
        }
    }
}
