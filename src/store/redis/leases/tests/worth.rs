//! When a key gets a lease, and when more is asked for.

use std::{collections::HashMap, iter};

use super::{
    super::{Leases, Spent, Whereabouts},
    START_US, takes,
};
use crate::store::redis::denial_cache::Trip;
use tollgate_core::decision::{LeaseCall, State, lease};

const LEASE_US: u64 = 100_000;

/// Whether a key gets a lease that is asked for once in such a time.
fn is_leased(every_us: u64) -> bool {
    let (mut leases, one) = (Leases::default(), takes(1_000));
    let mut asked = (0..10 * LEASE_US).step_by(every_us.try_into().expect("small"));
    asked.any(|at_us| leases.calls(iter::once(&one), at_us).iter().any(|call| call.wants > 0))
}

#[test]
fn a_key_gets_a_lease_that_is_asked_for_six_times_in_half_a_lease_and_no_other() {
    assert!(is_leased(10_000), "there may be eleven in a lease and a bit");
    assert!(!is_leased(12_000));
}

/// How many hits are granted to a key that was asked for 406 times at once, in a call on this trip, and how many of them are
/// left when more are asked for.
fn left_at_renewal(trip: Trip) -> (u32, u32) {
    let (mut leases, one) = (Leases::default(), takes(1_000));
    let mut table: HashMap<_, State> = HashMap::new();
    let mut execute = |leases: &mut Leases, call: &LeaseCall, trip| {
        let granted = lease(call, START_US, &mut table).expect("an answer");
        leases.landed(call, Some(&granted), trip);
        granted.granted
    };
    let calls = leases.calls(iter::repeat_n(&one, 400), 1_000);
    execute(&mut leases, &calls[0], Trip { sent_us: 1_000, arrived_us: 1_000 });
    while let Spent::All(_) = leases.spend(&one, 1_000) {}
    let calls = leases.due_calls(|_| Whereabouts::Here, 1_000);
    leases.fresh(1_000);
    let granted = execute(&mut leases, &calls[0], trip);
    let mut left = granted;
    while !leases.has_fresh() {
        assert!(matches!(leases.spend(&one, trip.arrived_us + 1), Spent::All(_)), "it was never renewed");
        left -= 1;
    }
    (granted, left)
}

#[test]
fn a_lease_is_renewed_while_enough_is_left_until_the_answer_and_an_eighth_to_a_half_of_it() {
    // Two trips and a sixteenth of a lease are 6.65 ms, in which 26 of 203 in half a lease are expected.
    assert_eq!(left_at_renewal(Trip { sent_us: 1_000, arrived_us: 1_200 }), (203, 26));
    // Nothing was asked since, so fewer are expected.
    assert_eq!(left_at_renewal(Trip { sent_us: 95_900, arrived_us: 96_000 }), (203, 25));
    // A Redis that is far away.
    assert_eq!(left_at_renewal(Trip { sent_us: 1_000, arrived_us: 31_000 }), (203, 101));
}
