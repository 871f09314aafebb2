//! Keeps what counts in windows of a day or longer away from their edges.
//!
//! All of those windows end at a midnight in UTC. A test, or a row of the fault matrix, that crossed one would find its
//! windows new again half-way through.

use std::time::Duration;

use tollgate::clock;

const DAY: Duration = Duration::from_secs(86_400);

/// Returns at once, unless a midnight in UTC is nearer than `long`, which is how long the caller will take: then
/// when it has passed.
pub async fn not_within(long: Duration) {
    let wait = until_clear(Duration::from_micros(clock::unix_us()), long);
    if !wait.is_zero() {
        eprintln!("waiting {wait:?} for midnight in UTC to pass");
    }
    tokio::time::sleep(wait).await;
}

/// A second more than is left of the day, since clocks need not agree to the millisecond.
fn until_clear(since_epoch: Duration, long: Duration) -> Duration {
    let into_day = Duration::from_secs(since_epoch.as_secs() % DAY.as_secs());
    let left = DAY - into_day;
    if left < long { left + Duration::from_secs(1) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_done_before_midnight_need_not_wait_and_whoever_is_not_begins_after_it() {
        let midnight = DAY * 20_785;
        for (before_s, long_s, waits_s) in [(0, 30, 0), (31, 30, 0), (30, 30, 0), (29, 30, 30), (1, 30, 2)] {
            let now = midnight - Duration::from_secs(before_s);
            let (long, waits) = (Duration::from_secs(long_s), Duration::from_secs(waits_s));
            assert_eq!(until_clear(now, long), waits, "{before_s} s before it, for {long_s} s");
        }
    }
}
