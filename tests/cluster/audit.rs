//! What the buckets hold, against what was answered.

use std::collections::HashMap;

use lab::redis::Cluster;
use redis::{Client, Commands as _, Connection};
use tollgate::store::redis::keys::redis_key;
use tollgate_core::{
    decision::{Answer, Measure, Seen, Take, Verdict},
    descriptor::BucketKey,
    limit::Exact,
};

/// The takes that were admitted, by their bucket.
#[derive(Debug, Default)]
pub(crate) struct Told {
    buckets: HashMap<BucketKey, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    take: Take,
    /// When the first take found the bucket full.
    first_us: u64,
    admitted: u64,
}

impl Told {
    pub(crate) fn note(&mut self, takes: &[Take], answer: &Answer) {
        if answer.verdict == Verdict::Deny {
            return;
        }
        for (take, found) in takes.iter().zip(&answer.found) {
            let bucket =
                self.buckets.entry(take.key).or_insert(Bucket { take: *take, first_us: 0, admitted: 0 });
            bucket.admitted += 1;
            let Seen::TokenBucket { full_at } = found.seen else { panic!("a token bucket") };
            // All buckets were full at first, that is, missing.
            if bucket.admitted == 1 {
                bucket.first_us = answer.now_us;
            } else {
                assert_ne!(full_at.whole_us, 0, "a bucket lost what it held");
            }
        }
    }

    pub(crate) fn admitted(&self) -> u64 {
        self.buckets.values().map(|bucket| bucket.admitted).sum()
    }

    /// The number of takes that buckets hold and nobody was told of, and of those that were told and no bucket holds.
    pub(crate) fn differences(&self, cluster: &Cluster) -> (u64, u64) {
        let mut nodes: Vec<Connection> = cluster.nodes.iter().map(connection).collect();
        let (mut more, mut fewer) = (0, 0);
        for (key, bucket) in &self.buckets {
            let Measure::TokenBucket(tokens) = bucket.take.demand.measure else { panic!("a token bucket") };
            // Each take adds its cost to the instant at which the bucket is full.
            let (per_us, cost) = (u128::from(tokens.per_us), in_parts(tokens.cost, tokens.per_us));
            let first = u128::from(bucket.first_us) * per_us;
            let at = value(&mut nodes, key).map_or(first, |at| in_parts(at, tokens.per_us));
            // To the nearest number: the answer of a request over several slots has the time of one of the masters, and
            // what is given back is less by the time that has passed.
            let held = (at + cost / 2).saturating_sub(first) / cost;
            let told = u128::from(bucket.admitted);
            more += held.saturating_sub(told);
            fewer += told.saturating_sub(held);
        }
        (u64::try_from(more).expect("few"), u64::try_from(fewer).expect("few"))
    }
}

fn in_parts(at: Exact, per_us: u32) -> u128 {
    u128::from(at.whole_us) * u128::from(per_us) + u128::from(at.fraction)
}

fn connection(node: &lab::redis::Redis) -> Connection {
    let client = Client::open(node.url()).expect("a URL");
    client.get_connection().expect("connects")
}

/// The instant at which a bucket is full. The node that serves its slot knows.
fn value(nodes: &mut [Connection], key: &BucketKey) -> Option<Exact> {
    for node in nodes {
        if let Ok(value) = node.get::<_, Option<Vec<u8>>>(&*redis_key(key)) {
            let value = value?;
            return Some(Exact {
                whole_us: u64::from_le_bytes(value[..8].try_into().expect("eight bytes")),
                fraction: u32::from_le_bytes(value[8..12].try_into().expect("four bytes")),
            });
        }
    }
    panic!("no node serves the slot of {}", redis_key(key))
}
