//! Microseconds since the run began, by the monotonic clock.

use std::time::{Duration, Instant};

use tollgate_core::{audit::Clocks, duration::micros};

use crate::clock;

#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    zero: Instant,
    /// By the system's clock, since the Unix epoch.
    zero_unix_us: u64,
}

impl Timeline {
    pub(super) fn start() -> Timeline {
        Timeline { zero: clock::monotonic(), zero_unix_us: clock::unix_us() }
    }

    pub(super) fn clocks(&self) -> Clocks {
        let expected_us = self.zero_unix_us.saturating_add(self.before_us());
        Clocks { began_us: self.zero_unix_us, stepped_us: clock::unix_us().abs_diff(expected_us) }
    }

    /// Now, rounded down: for what has not happened yet.
    pub(super) fn before_us(&self) -> u64 {
        micros(self.zero.elapsed())
    }

    /// Now, rounded up: for what has happened.
    pub(super) fn after_us(&self) -> u64 {
        micros(self.zero.elapsed().saturating_add(Duration::from_nanos(999)))
    }
}
