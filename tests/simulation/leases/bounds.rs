//! What was admitted from one bucket, held against its limits over every interval of the store's clock.

use super::plan::Bucket;
use tollgate_core::{
    decision::{Demand, Measure},
    limit::Limit,
};

/// The unit in which every sum is whole: parts of a microsecond for tokens, and hits for windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) is_window: bool,
    pub(super) of_us: i128,
    pub(super) length_us: u64,
}

/// Hits that were admitted, and a loss of the bucket, with the time of the store's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    pub(super) at_us: u64,
    pub(super) worth: i128,
    /// How many bursts more an interval that contains this may admit.
    pub(super) losses: i128,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(bucket: &Bucket) -> Parts {
        // The limits of a bucket have either the same rate, or costs of whole microseconds.
        let of_us = bucket.limits.iter().map(|limit| i128::from(limit.per_us())).max().unwrap_or(1);
        let length_us = bucket.limits[0].period().seconds() * 1_000_000;
        Parts { is_window: bucket.is_window(), of_us, length_us }
    }

    /// The worth of the hits of a demand.
    pub(super) fn cost(self, demand: &Demand) -> i128 {
        match &demand.measure {
            Measure::TokenBucket(tokens) => {
                let per_us = i128::from(tokens.per_us);
                (i128::from(tokens.cost.whole_us) * per_us + i128::from(tokens.cost.fraction)) * self.of_us
                    / per_us
            }
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => i128::from(count.hits),
        }
    }

    /// The worth of what the limit of a demand admits at once.
    pub(super) fn most(self, demand: &Demand) -> i128 {
        match &demand.measure {
            Measure::TokenBucket(tokens) => {
                let per_us = i128::from(tokens.per_us);
                (i128::from(tokens.burst.whole_us) * per_us + i128::from(tokens.burst.fraction)) * self.of_us
                    / per_us
            }
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => i128::from(count.limit),
        }
    }

    pub(super) fn burst(self, limit: &Limit) -> i128 {
        let burst = i128::from(limit.burst());
        if self.is_window {
            return burst;
        }
        burst * i128::from(self.length_us) * self.of_us / i128::from(limit.requests_per_unit())
    }
}

/// The most that was admitted over what the limits allow in any interval, or in any window; at most 0 if they hold. In
/// parts, in which the largest of the limits counts.
pub(super) fn excess(bucket: &Bucket, admitted: &mut [Admitted]) -> i128 {
    let parts = Parts::new(bucket);
    let burst = bucket.limits.iter().map(|limit| parts.burst(limit)).max().unwrap_or(0);
    admitted.sort_by_key(|admitted| admitted.at_us);
    let (mut last_us, mut sum, mut worst) = (0, 0, i128::MIN);
    for Admitted { at_us, worth, losses } in admitted.iter().copied() {
        if parts.is_window {
            sum = if at_us / parts.length_us == last_us / parts.length_us { sum } else { 0 };
        } else {
            sum -= i128::from(at_us - last_us) * parts.of_us;
        }
        sum -= burst * losses;
        if worth > 0 {
            // An interval that begins now, or the worst one so far.
            sum = sum.max(0) + worth;
        }
        (last_us, worst) = (at_us, worst.max(sum - burst));
    }
    worst
}
