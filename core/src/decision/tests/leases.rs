//! Whether leases hold hits of a bucket.

use super::{START_US, Table, key, take};
use crate::{
    decision::{LeaseCall, decide, lease::lease},
    descriptor::Hits,
    limit::{Algorithm, LimitSpec, Unit},
};

#[test]
fn leases_hold_hits_of_a_bucket_until_the_reservation_lapses_or_the_window_ends() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
        for lease_us in [100_000, 1_000_000] {
            let spec = LimitSpec { algorithm, lease_us, ..LimitSpec::new(999, Unit::Second) };
            let limit = spec.check().unwrap();
            let (mut table, one) = (Table::new(), take(1, &limit, Hits::Take(1)).demand);
            let call =
                LeaseCall { key: key(1), one, generation_us: 0, held: 0, spent: 0, kept: 0, wants: 50 };
            let granted = lease(&call, START_US, &mut table).unwrap();
            assert_eq!(granted.granted, 50);
            let mut end_us = granted.generation_us;
            if algorithm == Algorithm::FixedWindow {
                end_us = end_us.min(START_US + 1_000_000);
            }
            for at_us in [START_US, end_us - 1, end_us, end_us + 1, end_us + 9_000_000] {
                let peek = decide(&[take(1, &limit, Hits::Peek)], at_us, &mut table.clone());
                let told = (peek.found[0].is_reserved, table[&key(1)].reserved(&one, at_us));
                let expected = if at_us < end_us { (true, 50) } else { (false, 0) };
                assert_eq!(told, expected, "{limit:?} after {}", at_us - START_US);
            }
        }
    }
}
