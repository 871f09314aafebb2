//! A limit: how many hits at once, and how fast they come back.
//!
//! A [`Limit`] that exists is sound: its burst fills within 71 years and all arithmetic on it fits.
//! Amounts of time are exact: whole microseconds plus a fraction in 1/R µs, where R tokens come back
//! every P µs in lowest terms. Nothing is ever rounded, for every u32 of requests and every unit.

mod algorithm;
mod bucket;
mod default_algorithm;
mod defaults;
mod error;
mod exact;
mod overdraft;
mod period;
mod share;
mod windows;

use std::ops::RangeInclusive;

use crate::duration;
pub use algorithm::Algorithm;
pub use default_algorithm::{DefaultAlgorithm, UnknownDefault};
pub use defaults::Defaults;
pub use error::{LimitError, NoLease};
pub use exact::{Exact, Kept};
pub use overdraft::Overdraft;
pub use period::{Period, Unit};
pub use windows::{Per, Windows};

/// The longest time that a burst may need to fill: 2^51 µs, 71 years. Twice this, added to a clock
/// reading, still stays below 2^53, where the doubles of Redis' Lua stop being exact.
const LONGEST_FILL_US: u64 = 1 << 51;
/// With `overdraft: charge` or `auto` a bucket may owe a second burst, so the first must fill in half the time.
const LONGEST_FILL_WITH_DEBT_US: u64 = 1 << 50;
/// The most entries that a log keeps for one key.
pub const MOST_LOGGED: u32 = 10_000;
/// What a window counts must fit a u32, also at twice the limit.
const MOST_IN_WINDOW_WITH_DEBT: u32 = u32::MAX / 2;

/// How long a lease may last, in microseconds: more than a round trip, and so short that a client hardly notices what
/// others hold.
pub const LEASES_US: RangeInclusive<u32> = 10_000..=10_000_000;

/// The lease that a text says, in microseconds; 0 for `off`, in any case.
pub fn lease_us(text: &str) -> Result<u32, NoLease> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    let lease_us = duration::parse(text).ok().and_then(|lease| u32::try_from(duration::micros(lease)).ok());
    lease_us.filter(|lease_us| LEASES_US.contains(lease_us)).ok_or(NoLease)
}

/// What a bucket holds whose store has lost it, or never had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AfterStoreLoss {
    /// It is full: one more burst for each loss.
    #[default]
    Full,
    /// It was used up when the store began anew, and has been refilled since: no more than the limit, also
    /// over an interval that holds the loss.
    Empty,
}

impl AfterStoreLoss {
    /// Both, the default first.
    pub const ALL: [AfterStoreLoss; 2] = [AfterStoreLoss::Full, AfterStoreLoss::Empty];

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            AfterStoreLoss::Full => "full",
            AfterStoreLoss::Empty => "empty",
        }
    }
}

// === Limit ===

/// A limit as written, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSpec {
    /// Requests in a period; 0 denies every one.
    pub requests_per_unit: u32,
    /// The length of the period.
    pub period: Period,
    /// How requests are counted.
    pub algorithm: Algorithm,
    /// Where the windows of a fixed window begin.
    pub windows: Windows,
    /// None: as many as `requests_per_unit`.
    pub burst: Option<u32>,
    /// Whether a bucket may owe.
    pub overdraft: Overdraft,
    /// What a missing bucket counts as.
    pub after_store_loss: AfterStoreLoss,
    /// How long hits may be reserved, in microseconds; 0 for never.
    pub lease_us: u32,
}

/// Burst and refill, sound by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    requests_per_unit: u32,
    period: Period,
    algorithm: Algorithm,
    windows: Windows,
    overdraft: Overdraft,
    after_store_loss: AfterStoreLoss,
    lease_us: u32,
    burst: u32,
    /// R: tokens that come back in `period_us`, both divided by their greatest common divisor.
    tokens: u32,
    /// P, in microseconds; that of a share of N is up to N times 71 years.
    period_us: u128,
    cost_of_one: Exact,
    worth_of_burst: Exact,
}

impl LimitSpec {
    /// A token bucket that holds `requests_per_unit`.
    pub fn new(requests_per_unit: u32, period: impl Into<Period>) -> LimitSpec {
        LimitSpec {
            requests_per_unit,
            period: period.into(),
            algorithm: Algorithm::default(),
            windows: Windows::default(),
            burst: None,
            overdraft: Overdraft::default(),
            after_store_loss: AfterStoreLoss::default(),
            lease_us: 0,
        }
    }

    /// Checks it; the errors say what is unsound.
    pub fn check(self) -> Result<Limit, LimitError> {
        let LimitSpec { requests_per_unit, period, algorithm, burst, overdraft, .. } = self;
        if period.seconds() > LONGEST_FILL_US / 1_000_000 {
            return Err(LimitError::PeriodTooLong { period });
        }
        self.check_windows()?;
        if self.lease_us > 0 && !LEASES_US.contains(&self.lease_us) {
            return Err(LimitError::LeaseLength { lease_us: self.lease_us });
        }
        match algorithm {
            Algorithm::TokenBucket => {}
            _ if burst.is_some() => return Err(LimitError::BurstNotTaken(algorithm)),
            Algorithm::SlidingWindowLog if overdraft.may_owe() => {
                return Err(LimitError::LogCannotOwe(overdraft));
            }
            Algorithm::SlidingWindowLog if self.lease_us > 0 => return Err(LimitError::LogLease),
            Algorithm::SlidingWindowLog if requests_per_unit > MOST_LOGGED => {
                return Err(LimitError::LogTooLong(requests_per_unit));
            }
            Algorithm::FixedWindow if overdraft.may_owe() && requests_per_unit > MOST_IN_WINDOW_WITH_DEBT => {
                return Err(LimitError::WindowTooLarge { overdraft, requests_per_unit });
            }
            Algorithm::SlidingWindowLog | Algorithm::FixedWindow => {}
        }
        let limit = Limit::unchecked(self);
        let (longest, years) = match overdraft {
            Overdraft::Never => (LONGEST_FILL_US, 71),
            Overdraft::Charge | Overdraft::Auto => (LONGEST_FILL_WITH_DEBT_US, 35),
        };
        match burst {
            Some(1..) if requests_per_unit == 0 => Err(LimitError::BurstWithoutRefill),
            Some(0) if requests_per_unit > 0 => Err(LimitError::BurstZero),
            // Nothing has to fill up in a window or a log.
            _ if algorithm == Algorithm::TokenBucket && limit.worth_of_burst.whole_us > longest => {
                let burst = limit.burst;
                Err(LimitError::FillsTooSlowly { burst, requests_per_unit, period, years })
            }
            _ => Ok(limit),
        }
    }
}

impl Limit {
    /// A token bucket. `burst: None` means as many as `requests_per_unit`. `requests_per_unit` 0 denies
    /// everything.
    ///
    /// Fails where the burst could never be refilled, or not within 71 years, or is 0 although there is
    /// something to refill.
    pub fn new(
        requests_per_unit: u32,
        period: impl Into<Period>,
        burst: Option<u32>,
    ) -> Result<Limit, LimitError> {
        LimitSpec { burst, ..LimitSpec::new(requests_per_unit, period) }.check()
    }

    fn unchecked(spec: LimitSpec) -> Limit {
        let LimitSpec { requests_per_unit, period, algorithm, windows, burst, overdraft, .. } = spec;
        // A limit of 0 becomes a bucket of burst 0: whatever its rate, no token ever fits.
        let (tokens, period_us) =
            lowest_terms(requests_per_unit.max(1), u128::from(period.seconds()) * 1_000_000);
        let limit = Limit {
            requests_per_unit,
            period,
            algorithm,
            windows,
            overdraft,
            after_store_loss: spec.after_store_loss,
            lease_us: spec.lease_us,
            burst: burst.unwrap_or(requests_per_unit),
            tokens,
            period_us,
            cost_of_one: Exact::default(),
            worth_of_burst: Exact::default(),
        };
        limit.timed()
    }

    /// With the times that burst and rate come to.
    fn timed(mut self) -> Limit {
        self.worth_of_burst = self.time_for(u64::from(self.burst));
        self.cost_of_one = self.time_for(1);
        self
    }

    /// Requests in a period, as configured.
    pub fn requests_per_unit(&self) -> u32 {
        self.requests_per_unit
    }

    /// The period, as configured.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The unit of the period, as configured.
    pub fn unit(&self) -> Unit {
        self.period.unit
    }

    /// How requests are counted.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the bucket may owe.
    pub fn overdraft(&self) -> Overdraft {
        self.overdraft
    }

    /// What a missing bucket counts as.
    pub fn after_store_loss(&self) -> AfterStoreLoss {
        self.after_store_loss
    }

    /// How long hits of its buckets may be reserved, in microseconds; 0 for never.
    pub fn lease_us(&self) -> u32 {
        self.lease_us
    }

    /// Both count in one way over the same periods, whatever their numbers: for the same entries, in one bucket.
    pub fn counts_like(&self, other: &Limit) -> bool {
        let how = |limit: &Limit| (limit.algorithm, limit.windows, limit.period.seconds());
        how(self) == how(other)
    }

    /// The most hits that fit at once; for windows and logs `requests_per_unit`.
    pub fn burst(&self) -> u32 {
        self.burst
    }
}

/// Tokens and the microseconds in which they come back, without a common divisor.
fn lowest_terms(tokens: u32, period_us: u128) -> (u32, u128) {
    let divisor = gcd(period_us, u128::from(tokens));
    let tokens = u32::try_from(u128::from(tokens) / divisor).expect("a u32 divided by an integer is a u32");
    (tokens, period_us / divisor)
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
