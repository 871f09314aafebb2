//! How much memory the two generations of entries take.

use super::{DenialCache, MOST, RECALLS_US, STORE_US, Table, trip};
use tollgate_core::{
    decision::{self, Demand, Take},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

/// Learns that so many buckets are without room.
fn flood(cache: &mut DenialCache, numbers: std::ops::Range<usize>, sent_us: u64) {
    let limit = Limit::new(1, Unit::Hour, None).unwrap();
    for number in numbers {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let takes = [Take { key: BucketKey::from_bytes(bytes), demand: Demand::new(Hits::Take(1), &limit) }];
        cache.learn(&takes, &decision::decide(&takes, STORE_US, &mut Table::default()), trip(sent_us));
    }
}

fn capacities(cache: &DenialCache) -> [usize; 2] {
    [&cache.entries.current, &cache.entries.previous].map(std::collections::HashMap::capacity)
}

#[test]
fn however_many_buckets_are_denied_memory_stays_bounded() {
    let mut cache = DenialCache::default();
    flood(&mut cache, 0..2 * MOST + 10, 0);
    assert_eq!((cache.entries.current.len(), cache.entries.previous.len()), (10, MOST));
    assert_eq!(capacities(&cache), [MOST; 2], "a full generation fills its table, which is used again");
}

#[test]
fn a_table_that_a_flood_has_left_is_given_back_when_the_flood_is_over() {
    let mut cache = DenialCache::default();
    flood(&mut cache, 0..3 * MOST, 0);
    for turn in 1..=4 {
        let first = 4 * MOST + turn;
        flood(&mut cache, first..first + 1, RECALLS_US * 2 * u64::try_from(turn).unwrap());
    }
    assert!(capacities(&cache).iter().sum::<usize>() < 100, "{:?}", capacities(&cache));
}
