//! The breaker: a store that does not answer must cost microseconds, not a deadline for each request. Pure:
//! time is a parameter.
//!
//! | state | what happens | until |
//! |---|---|---|
//! | serving | all batches leave | [`TRIPS_AFTER`] batches in a row were lost |
//! | tripped | requests are refused at once | [`PROBE_EVERY_US`] have passed |
//! | probing | one batch is under way, other requests are refused | it is answered: serving; it is lost: tripped |
//!
//! Only silence counts. A refusal is an answer, and what waited too long for a slot was never sent.

/// Flights lost in a row, so that one that was unlucky trips nothing.
pub const TRIPS_AFTER: u32 = 3;
/// A store that has come back is found within this time, if anybody asks.
pub const PROBE_EVERY_US: u64 = 100_000;

#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving { lost: u32 },
    Tripped { until_us: u64 },
    Probing,
}

impl Default for State {
    fn default() -> State {
        State::Serving { lost: 0 }
    }
}

impl Breaker {
    /// Whether a request must not even be queued.
    pub fn refuses(&self, now_us: u64) -> bool {
        match self.state {
            State::Serving { .. } => false,
            State::Tripped { until_us } => now_us < until_us,
            State::Probing => true,
        }
    }

    /// A batch is about to leave: whether it may. It must [`land`](Self::land) if it does.
    pub fn lets_leave(&mut self, now_us: u64) -> bool {
        if self.refuses(now_us) {
            return false;
        }
        if let State::Tripped { .. } = self.state {
            self.state = State::Probing;
        }
        true
    }

    /// A batch is over; `is_lost` if nothing came back in time.
    pub fn land(&mut self, is_lost: bool, now_us: u64) {
        let tripped = State::Tripped { until_us: now_us.saturating_add(PROBE_EVERY_US) };
        self.state = match (self.state, is_lost) {
            (State::Serving { .. } | State::Probing, false) => State::Serving { lost: 0 },
            // Sent before the breaker tripped; that it was answered says more than the clock.
            (State::Tripped { .. }, false) => State::Serving { lost: 0 },
            (State::Serving { lost }, true) if lost + 1 < TRIPS_AFTER => State::Serving { lost: lost + 1 },
            (State::Serving { .. } | State::Probing, true) => tripped,
            (tripped_before @ State::Tripped { .. }, true) => tripped_before,
        };
    }

    pub fn is_serving(&self) -> bool {
        matches!(self.state, State::Serving { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, PROBE_EVERY_US, TRIPS_AFTER};

    fn tripped(now_us: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..TRIPS_AFTER {
            assert!(breaker.lets_leave(now_us));
            breaker.land(true, now_us);
        }
        breaker
    }

    #[test]
    fn losses_that_an_answer_interrupts_trip_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..TRIPS_AFTER {
                breaker.land(true, 0);
            }
            breaker.land(false, 0);
        }
        assert!(breaker.is_serving());
    }

    #[test]
    fn a_tripped_breaker_refuses_until_it_is_time_for_one_probe() {
        let mut breaker = tripped(0);
        assert!(breaker.refuses(PROBE_EVERY_US - 1));
        assert!(!breaker.refuses(PROBE_EVERY_US));
        assert!(breaker.lets_leave(PROBE_EVERY_US));
        assert!(breaker.refuses(PROBE_EVERY_US), "one is enough");
        assert!(!breaker.lets_leave(2 * PROBE_EVERY_US));
    }

    #[test]
    fn a_probe_decides() {
        let mut breaker = tripped(0);
        assert!(breaker.lets_leave(PROBE_EVERY_US));
        breaker.land(true, PROBE_EVERY_US + 10);
        assert!(breaker.refuses(2 * PROBE_EVERY_US + 9));
        assert!(breaker.lets_leave(2 * PROBE_EVERY_US + 10));
        breaker.land(false, 2 * PROBE_EVERY_US + 20);
        assert!(breaker.is_serving());
    }

    #[test]
    fn a_late_loss_does_not_put_the_probe_off() {
        let mut breaker = tripped(0);
        breaker.land(true, PROBE_EVERY_US / 2);
        assert!(!breaker.refuses(PROBE_EVERY_US));
    }
}
