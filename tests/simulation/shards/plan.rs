//! What a seed decides before the run.

use std::ops::RangeInclusive;

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use crate::{clock::SkewedClock, plan::MS};
use tollgate_core::{
    decision::{Demand, Enforcement, Take, Takes},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

/// The number of slots. Each master has several.
pub(super) const SLOTS: u16 = 16;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) until_ns: u64,
    pub(super) deadline_us: u64,
    pub(super) shards: Vec<SkewedClock>,
    /// The clock of each runtime; the runtimes of one replica have the same.
    pub(super) runtimes: Vec<(usize, SkewedClock)>,
    pub(super) has_memory: bool,
    pub(super) clients: usize,
    pub(super) gap_ns: RangeInclusive<u64>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) traffic: Traffic,
    pub(super) way_ns: RangeInclusive<u64>,
    /// For each batch on its way there, and back.
    pub(super) lost: f64,
    pub(super) give_back_lost: f64,
    /// When a slot moves to another master.
    pub(super) moves_ns: Vec<u64>,
    /// When a master fails, and for how long its replica has received nothing.
    pub(super) failovers_ns: Vec<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) key: BucketKey,
    pub(super) limit: Limit,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Traffic {
    /// One to three buckets, whichever; and whatever a request can ask of them.
    Any,
    /// One bucket of each of these sizes, in this order; the last is the global one.
    Each(&'static [usize]),
}

/// A typical setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    AddressIsScarce,
    GlobalIsScarce,
    GlobalIsScarceAndFar,
    FloodOnOneGlobal,
    ThreeMasters,
    FloodWithoutMemory,
}

impl Scene {
    pub(super) const ALL: [Scene; 6] = [
        Scene::AddressIsScarce,
        Scene::GlobalIsScarce,
        Scene::GlobalIsScarceAndFar,
        Scene::FloodOnOneGlobal,
        Scene::ThreeMasters,
        Scene::FloodWithoutMemory,
    ];

    /// Far below what was measured, so that a worse rule shows and no seed matters.
    pub(super) fn least_percent(self) -> f64 {
        match self {
            Scene::AddressIsScarce | Scene::GlobalIsScarce | Scene::FloodOnOneGlobal => 90.0,
            Scene::GlobalIsScarceAndFar => 80.0,
            Scene::ThreeMasters => 75.0,
            Scene::FloodWithoutMemory => 60.0,
        }
    }

    /// Requests per second and burst, of each bucket.
    fn limits(self) -> (&'static [usize], Vec<(u32, u32)>) {
        match self {
            Scene::AddressIsScarce => (&[20, 1], vec![(10, 5), (5_000, 500)]),
            Scene::GlobalIsScarce | Scene::GlobalIsScarceAndFar => (&[20, 1], vec![(100, 50), (500, 50)]),
            Scene::FloodOnOneGlobal | Scene::FloodWithoutMemory => (&[20, 1], vec![(5, 2), (1_000, 20)]),
            Scene::ThreeMasters => (&[20, 5, 1], vec![(40, 5), (100, 10), (400, 20)]),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Anything may happen.
    pub(super) fn rough(rng: &mut SmallRng) -> Plan {
        let until_ns = rng.random_range(500..2_000) * MS;
        let limits =
            [(10, 1), (7, 7), (3, 1), (100, 20), (999, 1), (1_000, 5), (40, 3), (20, 10)].map(of_a_second);
        let buckets: Vec<Bucket> = (0..9)
            .map(|number| Bucket { key: key(number), limit: limits.choose(rng).expect("one").clone() })
            .collect();
        let seldom = |rng: &mut SmallRng, most: f64| if rng.random_bool(0.5) { most } else { 0.0 };
        let times = |rng: &mut SmallRng, most: usize| -> Vec<u64> {
            (0..rng.random_range(0..=most)).map(|_| rng.random_range(0..until_ns)).collect()
        };
        let way_ns = *[200_000, 2 * MS, 20 * MS, 100 * MS].choose(rng).expect("one");
        Plan {
            until_ns,
            deadline_us: *[10_000, 50_000, 1_000_000].choose(rng).expect("one"),
            shards: shards(rng, 2..=3),
            runtimes: runtimes(rng),
            has_memory: rng.random_bool(0.7),
            clients: rng.random_range(4..=24),
            gap_ns: 0..=*[2 * MS, 10 * MS, 50 * MS].choose(rng).expect("one"),
            buckets,
            traffic: Traffic::Any,
            way_ns: 0..=way_ns,
            lost: seldom(rng, 0.02),
            give_back_lost: 0.002,
            moves_ns: times(rng, 20),
            failovers_ns: times(rng, 2)
                .into_iter()
                .map(|at_ns| (at_ns, rng.random_range(0..100) * MS))
                .collect(),
        }
    }

    /// A typical setting, in which nothing fails but one give-back in 500.
    pub(super) fn of(scene: Scene, rng: &mut SmallRng) -> Plan {
        let (counts, limits) = scene.limits();
        let kinds = counts.iter().zip(limits).flat_map(|(count, limit)| (0..*count).map(move |_| limit));
        let buckets =
            (0..).zip(kinds).map(|(number, limit)| Bucket { key: key(number), limit: of_a_second(limit) });
        let is_far = scene == Scene::GlobalIsScarceAndFar;
        let clock = |_| clock(rng, 1_000_000_000_000);
        Plan {
            until_ns: 2_000 * MS,
            deadline_us: 1_000_000,
            runtimes: (0..4).map(clock).enumerate().collect(),
            shards: shards(rng, counts.len()..=counts.len()),
            has_memory: scene != Scene::FloodWithoutMemory,
            clients: 32,
            gap_ns: 0..=20 * MS,
            buckets: buckets.collect(),
            traffic: Traffic::Each(counts),
            way_ns: if is_far { 2 * MS..=8 * MS } else { 50_000..=250_000 },
            lost: 0.0,
            give_back_lost: 0.002,
            moves_ns: Vec::new(),
            failovers_ns: Vec::new(),
        }
    }

    /// The next request.
    pub(super) fn request(&self, rng: &mut SmallRng) -> Takes {
        match self.traffic {
            Traffic::Any => (0..rng.random_range(1..=3)).map(|_| self.any_take(rng)).collect(),
            Traffic::Each(counts) => {
                let mut first = 0;
                let one = |count: &usize| {
                    let bucket = &self.buckets[first + rng.random_range(0..*count)];
                    first += count;
                    Take { key: bucket.key, demand: Demand::new(Hits::Take(1), &bucket.limit) }
                };
                counts.iter().map(one).collect()
            }
        }
    }

    /// A refund counts for the bound when a take is undone after it, which may be in a later interval. So these buckets
    /// are not audited.
    pub(super) fn has_refunds(&self, bucket: usize) -> bool {
        matches!(self.traffic, Traffic::Any) && bucket >= 6
    }

    fn any_take(&self, rng: &mut SmallRng) -> Take {
        let bucket = self.buckets.choose(rng).expect("one");
        let hits = match rng.random_range(0..40) {
            0..6 if self.has_refunds(number_of(&bucket.key)) => Hits::GiveBack(1),
            0 => Hits::Peek,
            1..6 => Hits::Take(rng.random_range(1..=u64::from(bucket.limit.burst()))),
            _ => Hits::Take(1),
        };
        let enforcement = match rng.random_range(0..12) {
            0 => Enforcement::Shadow,
            1 | 2 => Enforcement::Quota,
            _ => Enforcement::Enforced,
        };
        Take { key: bucket.key, demand: Demand::new(hits, &bucket.limit).enforcement(enforcement) }
    }

    /// The master that has this slot at first. Global buckets, users and addresses lie apart.
    pub(super) fn first_owner(&self, slot: u16) -> usize {
        match self.traffic {
            Traffic::Any => usize::from(slot) % self.shards.len(),
            Traffic::Each(counts) => {
                let number = usize::from(slot);
                let ends = counts.iter().scan(0, |end, count| {
                    *end += count;
                    Some(*end)
                });
                ends.into_iter().position(|end| number < end).unwrap_or(0)
            }
        }
    }

    /// With typical traffic each bucket has a slot of its own.
    pub(super) fn slots(&self) -> u16 {
        match self.traffic {
            Traffic::Any => SLOTS,
            Traffic::Each(_) => u16::try_from(self.buckets.len()).expect("few"),
        }
    }

    pub(super) fn slot(&self, key: &BucketKey) -> u16 {
        u16::try_from(number_of(key)).expect("few") % self.slots()
    }
}

// === parts ===

fn of_a_second((requests, burst): (u32, u32)) -> Limit {
    Limit::new(requests, Unit::Second, Some(burst)).expect("sound")
}

fn key(number: u8) -> BucketKey {
    BucketKey::from_bytes([number; 16])
}

pub(super) fn number_of(key: &BucketKey) -> usize {
    usize::from(key.digest()[0])
}

/// Each about 100 ms ahead of the one before.
fn shards(rng: &mut SmallRng, count: RangeInclusive<usize>) -> Vec<SkewedClock> {
    let count = rng.random_range(count);
    (0..).map(|number| clock(rng, 1_800_000_000_000_000_000 + number * 100 * MS)).take(count).collect()
}

fn runtimes(rng: &mut SmallRng) -> Vec<(usize, SkewedClock)> {
    let (replicas, each) = (rng.random_range(1..=4), rng.random_range(1..=2));
    let clocks: Vec<SkewedClock> = (0..replicas).map(|_| clock(rng, 1_000_000_000_000)).collect();
    (0..replicas * each).map(|number| (number / each, clocks[number / each])).collect()
}

pub(super) fn clock(rng: &mut SmallRng, around_ns: u64) -> SkewedClock {
    SkewedClock {
        offset_ns: around_ns + rng.random_range(0..10_000_000),
        drift_ppm: rng.random_range(-200..=200),
    }
}
