//! The breaker.

use super::{Breaker, PROBE_EVERY_US, TRIPS_AFTER};

const SERVING: Breaker = Breaker::Serving { lost: 0 };

/// Whether a batch is sent now.
fn sends(breaker: &mut Breaker, now_us: u64) -> bool {
    let sends = !breaker.refuses(now_us);
    if sends {
        breaker.sends();
    }
    sends
}

fn tripped(now_us: u64) -> Breaker {
    let mut breaker = SERVING;
    for _ in 0..TRIPS_AFTER {
        assert!(sends(&mut breaker, now_us));
        breaker.landed(true, now_us);
    }
    breaker
}

#[test]
fn losses_that_an_answer_interrupts_trip_nothing() {
    let mut breaker = SERVING;
    for _ in 0..10 {
        for _ in 1..TRIPS_AFTER {
            breaker.landed(true, 0);
        }
        breaker.landed(false, 0);
    }
    assert_eq!(breaker, SERVING);
}

#[test]
fn a_tripped_breaker_refuses_until_it_is_time_for_one_probe() {
    let mut breaker = tripped(0);
    assert!(breaker.refuses(PROBE_EVERY_US - 1));
    assert!(!breaker.refuses(PROBE_EVERY_US));
    assert!(sends(&mut breaker, PROBE_EVERY_US));
    assert!(breaker.refuses(PROBE_EVERY_US), "one is enough");
    assert!(!sends(&mut breaker, 2 * PROBE_EVERY_US));
}

#[test]
fn a_probe_decides() {
    let mut breaker = tripped(0);
    assert!(sends(&mut breaker, PROBE_EVERY_US));
    breaker.landed(true, PROBE_EVERY_US + 10);
    assert!(breaker.refuses(2 * PROBE_EVERY_US + 9));
    assert!(sends(&mut breaker, 2 * PROBE_EVERY_US + 10));
    breaker.landed(false, 2 * PROBE_EVERY_US + 20);
    assert_eq!(breaker, SERVING);
}

#[test]
fn a_late_loss_does_not_put_the_probe_off() {
    let mut breaker = tripped(0);
    breaker.landed(true, PROBE_EVERY_US / 2);
    assert!(!breaker.refuses(PROBE_EVERY_US));
}
