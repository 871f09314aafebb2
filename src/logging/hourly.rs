//! Bounds log lines that could come with every request: the first time, and then once an hour with the count.
//!
//! The time is a parameter, and the caller writes the line. The times after the last line are told with the next one,
//! if there is a next one; a metric beside it counts them without delay.

use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest time between two lines, in microseconds: one hour.
pub const EVERY_US: u64 = 60 * 60 * 1_000_000;

/// One kind of line, shared by all threads. If one kind has many subjects, each subject has its own `Hourly`.
///
/// ```
/// # use tollgate::{clock::Clock, logging::hourly::Hourly};
/// # let (clock, plain_text) = (Clock::start(), Hourly::new());
/// if let Some(times) = plain_text.occurs(clock.now_us()) {
///     tracing::warn!(times, "a client speaks HTTP/1.1; set http2_protocol_options on its cluster");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Hourly {
    untold: AtomicU64,
    /// When the next line is due. 0: nothing was told yet.
    next_us: AtomicU64,
}

impl Hourly {
    /// The first occurrence is told.
    pub const fn new() -> Hourly {
        Hourly { untold: AtomicU64::new(0), next_us: AtomicU64::new(0) }
    }

    /// Counts that it happened once more, at an instant in microseconds of a clock that does not step back. If a line
    /// is due, returns how often it happened since the last line, this time included.
    pub fn occurs(&self, now_us: u64) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let next_us = self.next_us.load(Ordering::Relaxed);
        if now_us < next_us {
            return None;
        }
        // Of several threads at the same time, only one writes the line.
        let told = now_us.saturating_add(EVERY_US);
        self.next_us.compare_exchange(next_us, told, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(self.untold.swap(0, Ordering::Relaxed).max(1))
    }
}

// For `Subjects`, which keeps many of them.
impl Hourly {
    /// Whether the next line was already due at that instant. False if nothing was told yet, because the thread that
    /// took this is about to tell.
    pub(super) fn is_idle(&self, at_us: u64) -> bool {
        let next_us = self.next_us.load(Ordering::Relaxed);
        next_us > 0 && next_us <= at_us
    }

    /// Keeps when the next line is due, so that of several threads at the same time only one writes it.
    pub(super) fn forget_count(&self) {
        self.untold.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_told_and_then_once_an_hour_with_the_count() {
        let hourly = Hourly::new();
        assert_eq!(hourly.occurs(5), Some(1));
        for minute in 0..60 {
            assert_eq!(hourly.occurs(5 + minute * 60_000_000), None, "minute {minute}");
        }
        assert_eq!(hourly.occurs(5 + EVERY_US), Some(61));
        assert_eq!(hourly.occurs(5 + EVERY_US), None);
        assert_eq!(hourly.occurs(5 + 9 * EVERY_US), Some(2), "an hour without it is not made up for");
    }

    #[test]
    fn at_time_zero_too_it_is_told_once() {
        let hourly = Hourly::new();
        assert_eq!(hourly.occurs(0), Some(1));
        assert_eq!(hourly.occurs(0), None);
    }

    #[test]
    fn only_one_of_several_threads_tells_and_no_count_is_lost() {
        let hourly = Hourly::new();
        let all = |now_us| {
            std::thread::scope(|scope| {
                let each = || (0..1_000).filter_map(|_| hourly.occurs(now_us)).collect::<Vec<u64>>();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(each)).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<u64>>()
            })
        };
        let first = all(1);
        let later = all(1 + EVERY_US);
        assert_eq!((first.len(), later.len()), (1, 1));
        let untold = hourly.untold.load(Ordering::Relaxed);
        assert_eq!(first[0] + later[0] + untold, 16_000);
    }
}
