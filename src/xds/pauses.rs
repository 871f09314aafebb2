//! How long to wait before the next attempt to connect.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(15);

/// Pauses that double, each by half at random, so that replicas do not all come back at once: from 0.2 s to 15 s.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    attempts: u32,
}

// === impl Pauses ===

impl Pauses {
    /// The pause after a connection that failed, or that lived for `lived`. A long life ends a row of short ones.
    pub(super) fn next(&mut self, lived: Duration) -> Duration {
        self.next_at(lived, rand::rng().random_range(0.5..1.0))
    }

    fn next_at(&mut self, lived: Duration, share: f64) -> Duration {
        if lived > LONGEST {
            self.attempts = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        pause.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_fifth_of_a_second_to_fifteen_and_begin_anew_after_a_long_life() {
        let mut pauses = Pauses::default();
        let low: Vec<u128> = (0..8).map(|_| pauses.next_at(Duration::ZERO, 0.5).as_millis()).collect();
        assert_eq!(low, [200, 400, 800, 1_600, 3_200, 6_400, 7_500, 7_500]);
        assert_eq!(pauses.next_at(LONGEST, 0.999), LONGEST.mul_f64(0.999), "closed after each answer");
        assert_eq!(pauses.next_at(LONGEST + Duration::from_millis(1), 1.0), FIRST);
        for _ in 0..200 {
            let pause = Pauses::default().next(Duration::ZERO);
            assert!(pause >= FIRST / 2 && pause < FIRST, "{pause:?}");
        }
    }
}
