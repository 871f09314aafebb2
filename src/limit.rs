//! A limit: how many hits at once, and how fast they come back.
//!
//! A [`Limit`] that exists is sound: its burst fills within 71 years and all arithmetic on it fits.
//! Amounts of time are exact: whole microseconds plus a fraction in 1/R µs, where R tokens come back
//! every P µs in lowest terms. Nothing is ever rounded, for every u32 of requests and every unit.

use std::fmt;

use thiserror::Error;

/// The longest time that a burst may need to fill: 2^51 µs, 71 years. Twice this, added to a clock
/// reading, still stays below 2^53, where the doubles of Redis' Lua stop being exact.
const LONGEST_FILL_US: u64 = 1 << 51;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitError {
    #[error("burst must be 0 when requests_per_unit is 0, since nothing would ever refill it")]
    BurstWithoutRefill,
    #[error("burst must be at least 1; to deny every request, say requests_per_unit: 0")]
    BurstZero,
    #[error("a burst of {burst} at {requests_per_unit} per {unit} would take over 71 years to fill")]
    FillsTooSlowly { burst: u32, requests_per_unit: u32, unit: Unit },
}

// === Unit ===

/// The period that `requests_per_unit` counts for. A month has 30 days, a year 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    pub const ALL: [Unit; 7] =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

    /// The unit of that name, in any case; none for a name that is no unit.
    pub fn from_name(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
            Unit::Year => "year",
        }
    }

    pub const fn seconds(self) -> u64 {
        match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Month => 30 * 86_400,
            Unit::Year => 365 * 86_400,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === Exact ===

/// A time or an amount of time: whole microseconds and a fraction in 1/R µs, R being that of one limit.
///
/// Two of them compare and add only under the same limit. The order of the fields is the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact {
    pub whole_us: u64,
    pub fraction: u32,
}

impl Exact {
    pub const fn at_us(whole_us: u64) -> Exact {
        Exact { whole_us, fraction: 0 }
    }

    /// Sum under a rate of `per_us` (R): both fractions are below R, and so is that of the sum.
    #[must_use]
    pub fn plus(self, other: Exact, per_us: u32) -> Exact {
        let mut whole_us = self.whole_us.saturating_add(other.whole_us);
        let mut fraction = u64::from(self.fraction) + u64::from(other.fraction);
        if fraction >= u64::from(per_us) {
            fraction -= u64::from(per_us);
            whole_us = whole_us.saturating_add(1);
        }
        // Below R once more, so it fits; a foreign fraction (a damaged bucket) is cut to the largest.
        Exact { whole_us, fraction: u32::try_from(fraction).unwrap_or(u32::MAX) }
    }

    /// Difference under a rate of `per_us` (R); zero if `other` is the larger.
    #[must_use]
    pub fn minus(self, other: Exact, per_us: u32) -> Exact {
        if other >= self {
            return Exact::default();
        }
        let whole_us = self.whole_us - other.whole_us;
        match self.fraction.checked_sub(other.fraction) {
            Some(fraction) => Exact { whole_us, fraction },
            // The fraction of `other` is the larger, so its whole part is the smaller.
            None => Exact { whole_us: whole_us - 1, fraction: self.fraction + (per_us - other.fraction) },
        }
    }

    /// In ticks of 1/R µs.
    fn ticks(self, per_us: u32) -> u128 {
        u128::from(self.whole_us) * u128::from(per_us) + u128::from(self.fraction)
    }
}

// === Limit ===

/// Burst and refill of a token bucket, sound by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    requests_per_unit: u32,
    unit: Unit,
    burst: u32,
    /// R: tokens that come back in `period_us`, both divided by their greatest common divisor.
    tokens: u32,
    /// P, in microseconds.
    period_us: u64,
    cost_of_one: Exact,
    worth_of_burst: Exact,
}

impl Limit {
    /// `burst: None` means as many as `requests_per_unit`. `requests_per_unit` 0 denies everything.
    ///
    /// Fails where the burst could never be refilled, or not within 71 years, or is 0 although there is
    /// something to refill.
    pub fn new(requests_per_unit: u32, unit: Unit, burst: Option<u32>) -> Result<Limit, LimitError> {
        let burst = burst.unwrap_or(requests_per_unit);
        if requests_per_unit == 0 && burst > 0 {
            return Err(LimitError::BurstWithoutRefill);
        }
        if requests_per_unit > 0 && burst == 0 {
            return Err(LimitError::BurstZero);
        }
        let unit_us = unit.seconds() * 1_000_000;
        // A limit of 0 becomes a bucket of burst 0: whatever its rate, no token ever fits.
        let divisor = gcd(unit_us, u64::from(requests_per_unit.max(1)));
        let period_us = unit_us / divisor;
        let tokens = u32::try_from(u64::from(requests_per_unit.max(1)) / divisor)
            .expect("a u32 divided by an integer is a u32");

        let mut limit = Limit {
            requests_per_unit,
            unit,
            burst,
            tokens,
            period_us,
            cost_of_one: Exact::default(),
            worth_of_burst: Exact::default(),
        };
        limit.worth_of_burst = limit.time_for(u64::from(burst));
        limit.cost_of_one = limit.time_for(1);
        if limit.worth_of_burst.whole_us > LONGEST_FILL_US {
            return Err(LimitError::FillsTooSlowly { burst, requests_per_unit, unit });
        }
        Ok(limit)
    }

    pub fn requests_per_unit(&self) -> u32 {
        self.requests_per_unit
    }

    pub fn unit(&self) -> Unit {
        self.unit
    }

    pub fn burst(&self) -> u32 {
        self.burst
    }

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

    /// What giving back `hits` is worth in time. Twice the burst and one more is as good as any larger number:
    /// no bucket is further from full, also after its burst was lowered.
    pub fn worth(&self, hits: u64) -> Exact {
        self.time_for(hits.min(2 * u64::from(self.burst) + 1))
    }

    /// Whole tokens in a bucket that is full again at `full_at`, at the instant `now`.
    pub fn level(&self, full_at: Exact, now_us: u64) -> u32 {
        let missing = self.missing_ticks(full_at, now_us);
        let worth = self.worth_of_burst.ticks(self.tokens);
        let tokens = worth.saturating_sub(missing) / u128::from(self.period_us);
        u32::try_from(tokens).unwrap_or(self.burst)
    }

    /// Microseconds, rounded up, until the bucket holds one whole token more; 0 when it is full.
    pub fn next_token_us(&self, full_at: Exact, now_us: u64) -> u64 {
        let missing = self.missing_ticks(full_at, now_us);
        if missing == 0 {
            return 0;
        }
        let period = u128::from(self.period_us);
        self.ticks_to_us((missing - 1) % period + 1)
    }

    /// Microseconds, rounded up, until the bucket is full.
    pub fn full_us(&self, full_at: Exact, now_us: u64) -> u64 {
        self.ticks_to_us(self.missing_ticks(full_at, now_us))
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

    /// hits · P/R µs. For hits up to 2·burst + 1, so at most twice 71 years and one period of a year.
    fn time_for(&self, hits: u64) -> Exact {
        let ticks = u128::from(hits) * u128::from(self.period_us);
        let whole_us = ticks / u128::from(self.tokens);
        let fraction = ticks % u128::from(self.tokens);
        Exact {
            // Before the burst is known to be sound it may take longer than 2^64 µs, which is refused then.
            whole_us: u64::try_from(whole_us).unwrap_or(u64::MAX),
            fraction: u32::try_from(fraction).expect("a remainder by a u32"),
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
