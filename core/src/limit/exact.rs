//! Time without rounding.

/// A time or an amount of time: whole microseconds and a fraction in 1/R µs, R being that of one limit.
///
/// Two of them compare and add only under the same limit. The order of the fields is the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact {
    /// Whole microseconds.
    pub whole_us: u64,
    /// The rest, in parts of a microsecond that the rate determines; below R.
    pub fraction: u32,
}

/// An instant as a bucket keeps it: with the R of its fraction, because the limit may have changed when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kept {
    whole_us: u64,
    fraction: u32,
    per_us: u32,
}

// === impl Exact ===

impl Exact {
    /// This many microseconds, without a fraction.
    pub const fn at_us(whole_us: u64) -> Exact {
        Exact { whole_us, fraction: 0 }
    }

    /// Whole microseconds, rounded up.
    pub fn ceil_us(self) -> u64 {
        self.whole_us.saturating_add(u64::from(self.fraction > 0))
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

    /// The nearest double. The script computes it by the same operations.
    #[allow(clippy::cast_precision_loss, reason = "whole microseconds stay below 2^53")]
    pub(crate) fn as_f64(self, per_us: u32) -> f64 {
        self.whole_us as f64 + f64::from(self.fraction) / f64::from(per_us)
    }

    /// In ticks of 1/R µs.
    pub(crate) fn ticks(self, per_us: u32) -> u128 {
        u128::from(self.whole_us) * u128::from(per_us) + u128::from(self.fraction)
    }
}

impl Exact {
    /// From ticks of 1/R µs.
    pub(crate) fn from_ticks(ticks: u128, per_us: u32) -> Exact {
        let per_us = u128::from(per_us.max(1));
        Exact {
            whole_us: u64::try_from(ticks / per_us).unwrap_or(u64::MAX),
            fraction: u32::try_from(ticks % per_us).unwrap_or(u32::MAX),
        }
    }
}

// === impl Kept ===

impl Kept {
    /// `at` under a rate of `per_us` (R).
    pub const fn new(at: Exact, per_us: u32) -> Kept {
        Kept { whole_us: at.whole_us, fraction: at.fraction, per_us }
    }

    /// As a rate of `per_us` (R) has it: under another than its own a fraction rounds up, so that no less time is owed
    /// than was.
    pub fn under(self, per_us: u32) -> Exact {
        let at = Exact { whole_us: self.whole_us, fraction: self.fraction };
        if self.per_us == per_us { at } else { Exact::at_us(at.ceil_us()) }
    }

    /// R that its fraction was written under.
    pub const fn per_us(self) -> u32 {
        self.per_us
    }

    /// Whole microseconds, rounded up.
    pub fn ceil_us(self) -> u64 {
        self.whole_us.saturating_add(u64::from(self.fraction > 0))
    }
}
