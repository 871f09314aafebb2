//! A lease and the numbers of its limit. That limits hold over every interval whatever happens to the calls, that every
//! runtime gets its share, and which mutants are found, is for `tests/simulation/leases.rs`.

mod calls;
mod worth;

use std::{collections::HashMap, iter};

use tollgate_core::{
    decision::{Demand, State, Take, Takes, lease},
    descriptor::{BucketKey, Hits},
    limit::{Limit, LimitSpec, Unit},
};

use super::{Leases, Spent};
use crate::store::redis::denial_cache::Trip;

const START_US: u64 = 1_800_000_000_000_000;
const KEY: BucketKey = BucketKey::from_bytes([1; 16]);

fn takes(burst: u32) -> Takes {
    let spec = LimitSpec { burst: Some(burst), lease_us: 100_000, ..LimitSpec::new(1_000, Unit::Second) };
    let limit: Limit = spec.check().unwrap();
    iter::once(Take { key: KEY, demand: Demand::new(Hits::One, &limit) }).collect()
}

#[test]
fn a_lease_decides_nothing_under_other_numbers() {
    let (before, after) = (takes(1_000), takes(5));
    let mut table: HashMap<BucketKey, State> = HashMap::new();
    let mut leases = Leases::default();
    let calls = leases.calls(iter::repeat_n(&before, 100), 1_000);
    let granted = lease(&calls[0], START_US, &mut table).expect("an answer");
    leases.landed(&calls[0], Some(&granted), Trip { sent_us: 1_000, arrived_us: 1_100 });
    assert!(matches!(leases.spend(&before, 1_200), Spent::All(_)));
    assert!(matches!(leases.spend(&after, 1_200), Spent::None));
    // It is over, and is reported under its own numbers.
    assert!(
        leases
            .calls(iter::once(&after), 1_300)
            .iter()
            .all(|call| call.one == before[0].demand && call.kept == 0)
    );
}
