//! Clocks that start anywhere and drift apart.

/// Counts whole microseconds of its own time, like each clock of Tollgate and of Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct SkewedClock {
    /// The time that it shows at the start; in nanoseconds, so that clocks do not all tick at once.
    pub(super) offset_ns: u64,
    /// How much faster or slower than the true time it runs, in millionths.
    pub(super) drift_ppm: i64,
}

impl SkewedClock {
    pub(super) fn now_us(&self, at_ns: u64) -> u64 {
        let rate = 1_000_000_u64.saturating_add_signed(self.drift_ppm);
        // A run lasts seconds, so the product stays below 2^64.
        (self.offset_ns + at_ns * rate / 1_000_000) / 1_000
    }

    /// The instant at which it shows this time, to a nanosecond or two.
    pub(super) fn shows_ns(&self, us: u64) -> u64 {
        let rate = u128::from(1_000_000_u64.saturating_add_signed(self.drift_ppm));
        let passed_ns = u128::from((us * 1_000).saturating_sub(self.offset_ns));
        u64::try_from(passed_ns * 1_000_000 / rate).expect("a run lasts seconds")
    }
}
