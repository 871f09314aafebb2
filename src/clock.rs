//! The only place that reads the machine's clocks.
//!
//! Everything else takes `now` as a parameter, or is handed a [`Clock`].

#![allow(clippy::disallowed_methods, reason = "this is the one module that may")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tollgate_core::duration::micros;

/// Microseconds since the Unix epoch that never step back: read once from the system's clock, then
/// counted by the monotonic one.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_us: u64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now(), start_us: unix_us() }
    }

    pub fn now_us(&self) -> u64 {
        self.start_us.saturating_add(micros(self.start.elapsed()))
    }
}

/// The monotonic clock, for measuring how long something took.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The system's clock in microseconds since the Unix epoch; 0 if it stands before that.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}
