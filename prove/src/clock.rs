//! The only place of this crate that reads clocks.

#![allow(clippy::disallowed_methods, reason = "this is the one module that may")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tollgate_core::duration::micros;

/// The monotonic clock, for measuring how long something took.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// The system's clock in microseconds since the Unix epoch; 0 if it stands before that.
pub(crate) fn unix_us() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, micros)
}
