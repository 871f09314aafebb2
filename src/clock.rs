//! The only module that reads the machine's clocks.
//!
//! Everything else takes `now` as a parameter, or is given a [`Clock`].

#![allow(clippy::disallowed_methods, reason = "this is the one module that may")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tollgate_core::duration::micros;

/// Microseconds since the Unix epoch that never step back: the system's clock is read once, and the monotonic clock
/// counts from there.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// None: it stands still.
    start: Option<Instant>,
    start_us: u64,
}

impl Clock {
    /// Reads the system's clock.
    pub fn start() -> Clock {
        Clock { start: Some(Instant::now()), start_us: unix_us() }
    }

    /// A clock that shows this time forever.
    pub fn stopped_at(now_us: u64) -> Clock {
        Clock { start: None, start_us: now_us }
    }

    /// Microseconds since the Unix epoch.
    pub fn now_us(&self) -> u64 {
        self.start_us.saturating_add(self.start.map_or(0, |start| micros(start.elapsed())))
    }
}

/// An instant of the monotonic clock, to measure how long something takes.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The system's clock in microseconds since the Unix epoch; 0 if it is set to before that.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}
