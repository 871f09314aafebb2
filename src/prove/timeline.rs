//! Microseconds since the run began, by the monotonic clock.

use std::time::Instant;

use crate::clock;

#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    zero: Instant,
}

impl Timeline {
    pub(super) fn start() -> Timeline {
        Timeline { zero: clock::monotonic() }
    }

    /// Now, rounded down: for what has not happened yet.
    pub(super) fn before_us(&self) -> u64 {
        micros(self.zero.elapsed().as_nanos() / 1000)
    }

    /// Now, rounded up: for what has happened.
    pub(super) fn after_us(&self) -> u64 {
        micros(self.zero.elapsed().as_nanos().div_ceil(1000))
    }
}

fn micros(us: u128) -> u64 {
    u64::try_from(us).unwrap_or(u64::MAX)
}
