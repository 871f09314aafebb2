use super::{Call, Now, demand_byte, text};
use tollgate_core::{
    decision::{Demand, Enforcement, Kind, Take},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Overdraft, Unit},
};

#[test]
fn a_bucket_that_is_named_twice_is_one_key_of_the_call() {
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    let take = |number| Take {
        key: BucketKey::from_bytes([number; 16]),
        demand: Demand::new(Hits::Take(1), &limit),
    };
    let call = Call::new([&[take(1), take(2), take(1)][..], &[take(2)]]);
    assert_eq!(call.keys, [take(1).key, take(2).key]);
    assert_eq!(call.requests.len(), 2 * 2 + 4 * 31);
}

/// As `lua/batch.lua` documents it: the number of takes, and 32768 if any of them goes the long way.
#[test]
fn a_request_of_enforced_takes_from_token_buckets_is_told_from_others() {
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    let take = |hits| Take { key: BucketKey::from_bytes([1; 16]), demand: Demand::new(hits, &limit) };
    let head = |takes: &[Take]| Call::new([takes]).requests[..2].to_vec();
    assert_eq!(head(&[take(Hits::Take(1)), take(Hits::Take(2))]), 2_u16.to_le_bytes());
    assert_eq!(head(&[take(Hits::Take(1)), take(Hits::Peek)]), 32_770_u16.to_le_bytes());
}

#[test]
fn one_line_of_the_script_sets_the_time() {
    let (server, argument) = (text(Now::Server), text(Now::Argument));
    let differing = server.lines().zip(argument.lines()).filter(|(a, b)| a != b);
    assert_eq!(differing.count(), 1);
    assert!(!server.contains("$NOW"));
}

/// As `lua/batch.lua` documents it.
#[test]
fn the_byte_of_a_demand_is_the_one_that_the_script_documents() {
    let spec = LimitSpec::new(10, Unit::Second);
    let plain = Demand::new(Hits::Take(1), &spec.check().unwrap());
    let with = |spec: LimitSpec| demand_byte(&Demand::new(Hits::Take(1), &spec.check().unwrap()));
    assert_eq!(demand_byte(&plain), 0);
    assert_eq!([Kind::Peek, Kind::GiveBack].map(|kind| demand_byte(&Demand { kind, ..plain })), [1, 2]);
    let enforcements = [Enforcement::Quota, Enforcement::Shadow];
    assert_eq!(enforcements.map(|enforcement| demand_byte(&plain.enforcement(enforcement))), [4, 8]);
    assert_eq!(with(LimitSpec { overdraft: Overdraft::Charge, ..spec }), 16);
    let algorithms = [Algorithm::FixedWindow, Algorithm::SlidingWindowLog];
    assert_eq!(algorithms.map(|algorithm| with(LimitSpec { algorithm, ..spec })), [32, 64]);
    assert_eq!(with(LimitSpec { after_store_loss: AfterStoreLoss::Empty, ..spec }), 128);
}
