//! What a seed decides before the run: limits with leases, clocks, load, the network, and what disturbs them.

use std::ops::RangeInclusive;

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use crate::{clock::SkewedClock, plan::MS};
use tollgate_core::{
    decision::{Demand, Take},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Unit},
};

/// A replica has one of a bucket's limits at a time.
pub(super) const EDITIONS: usize = 3;
/// The clocks of the store and of a runtime drift apart by at most one in a thousand: 1.000499 / 0.999501 < 1.001.
const MOST_DRIFT_PPM: i64 = 499;

#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// When clients stop asking; calls under way are still finished.
    pub(super) until_ns: u64,
    pub(super) deadline_us: u64,
    pub(super) has_denial_cache: bool,
    pub(super) store_clock: SkewedClock,
    /// The replica of each runtime, and its clock.
    pub(super) runtimes: Vec<(usize, SkewedClock)>,
    /// The first one is hot.
    pub(super) buckets: Vec<Bucket>,
    pub(super) load: Load,
    /// The most requests that a runtime gets at a tick while its load is on.
    pub(super) most: u32,
    /// How often a request asks for several hits.
    pub(super) many: f64,
    pub(super) network: Network,
    pub(super) disturbances: Vec<(u64, Disturbance)>,
}

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    /// They count alike, and have other numbers or another lease.
    pub(super) limits: [Limit; EDITIONS],
}

/// How often clients ask each runtime: up to so many requests at each tick.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// All runtimes alike.
    Steady,
    /// The first runtime is asked for most.
    Uneven,
    /// The load of each runtime comes and goes four times a second.
    ComesAndGoes,
    /// Floods that come and go.
    Flood,
    /// Enough for a lease, a pause about as long as one, then a flood; again and again.
    PauseThenFlood { lease_ns: u64 },
}

/// The network. Probabilities are per batch.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) way_ns: RangeInclusive<u64>,
    pub(super) late: f64,
    pub(super) most_late_ns: u64,
    pub(super) lost_there: f64,
    pub(super) lost_back: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    /// The store forgets every bucket, and its epoch.
    StoreLoss,
    /// One bucket is filled, as `tollgate reset` does it.
    Reset { bucket: usize },
    /// A replica dies with everything it knows, and another takes its place.
    Restart { replica: usize },
    /// A replica has this edition of the limits from now on.
    Reload { replica: usize, edition: usize },
    /// Nothing reaches the store for this long.
    Silence { ns: u64 },
    /// All connections break, and there is none for this long.
    Away { ns: u64 },
}

// === impl Plan ===

impl Plan {
    /// Anything may happen.
    pub(super) fn rough(rng: &mut SmallRng) -> Plan {
        let lease_ms = *[10, 100, 100, 300].choose(rng).expect("one");
        let until_ns = rng.random_range(200..=1_000) * MS + u64::from(lease_ms) * MS;
        let (replicas, each) = (rng.random_range(1..=3), rng.random_range(1..=2));
        let mut seldom = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
        let (late, lost_there, lost_back) = (seldom(0.2), seldom(0.2), seldom(0.2));
        let deadline_us = *[10_000, 100_000, 1_000_000].choose(rng).expect("one");
        let most_way_ns = *[50_000, 500_000, 5 * MS].choose(rng).expect("one");
        let lease_ns = u64::from(lease_ms) * MS;
        let pause = Load::PauseThenFlood { lease_ns };
        let buckets = (0..rng.random_range(1..=3)).map(|_| bucket(rng, lease_ms)).collect();
        Plan {
            until_ns,
            deadline_us,
            has_denial_cache: rng.random_bool(0.9),
            store_clock: clock(rng, 1_800_000_000_000_000_000),
            runtimes: runtimes(rng, replicas, each),
            buckets,
            load: *[Load::Steady, Load::Uneven, Load::ComesAndGoes, Load::Flood, pause, pause]
                .choose(rng)
                .expect("one"),
            most: rng.random_range(1..=2),
            many: 0.05,
            network: Network {
                way_ns: 10_000..=most_way_ns,
                late,
                most_late_ns: 3 * lease_ns.min(deadline_us * 1_000),
                lost_there,
                lost_back,
            },
            disturbances: disturbances(rng, until_ns, replicas),
        }
    }

    /// Three replicas of two runtimes each, a network on which nothing goes wrong, and one limit.
    pub(super) fn calm(rng: &mut SmallRng, limit: &Limit, load: Load) -> Plan {
        Plan {
            until_ns: 5_000 * MS,
            deadline_us: 1_000_000,
            has_denial_cache: true,
            store_clock: clock(rng, 1_800_000_000_000_000_000),
            runtimes: runtimes(rng, 3, 2),
            buckets: vec![Bucket { limits: [(); EDITIONS].map(|()| limit.clone()) }],
            load,
            most: 2,
            many: 0.0,
            network: Network {
                way_ns: 50_000..=550_000,
                late: 0.0,
                most_late_ns: 1,
                lost_there: 0.0,
                lost_back: 0.0,
            },
            disturbances: Vec::new(),
        }
    }

    pub(super) fn replicas(&self) -> usize {
        self.runtimes.last().map_or(0, |(replica, _)| replica + 1)
    }

    pub(super) fn take(&self, bucket: usize, edition: usize, hits: u64) -> Take {
        self.demand(bucket, edition, Hits::Take(hits))
    }

    pub(super) fn demand(&self, bucket: usize, edition: usize, hits: Hits) -> Take {
        Take { key: key(bucket), demand: Demand::new(hits, &self.buckets[bucket].limits[edition]) }
    }

    /// How many requests a runtime gets at this time, if `TICK_NS` have passed since the last ones.
    pub(super) fn arrivals(&self, rng: &mut SmallRng, runtime: usize, at_ns: u64) -> u32 {
        let is_on = match self.load {
            Load::Steady => true,
            Load::Uneven => runtime == 0 || rng.random_bool(0.4),
            Load::ComesAndGoes => (at_ns / (125 * MS) + runtime as u64).is_multiple_of(2),
            Load::Flood => at_ns % (400 * MS) < 150 * MS,
            Load::PauseThenFlood { lease_ns } => {
                let at_ns = at_ns % (lease_ns * 6 / 5);
                if at_ns > lease_ns * 19 / 20 {
                    return rng.random_range(0..=16);
                }
                at_ns < lease_ns / 5
            }
        };
        if is_on { rng.random_range(0..=self.most) } else { 0 }
    }
}

impl Bucket {
    pub(super) fn is_guarded(&self) -> bool {
        self.limits[0].after_store_loss() == AfterStoreLoss::Empty
    }

    pub(super) fn is_window(&self) -> bool {
        self.limits[0].algorithm() == Algorithm::FixedWindow
    }
}

// === parts ===

fn bucket(rng: &mut SmallRng, lease_ms: u32) -> Bucket {
    let lease_us = lease_ms * 1_000;
    let after_store_loss = *AfterStoreLoss::ALL.choose(rng).expect("one");
    let spec = if rng.random_bool(0.3) {
        let algorithm = Algorithm::FixedWindow;
        LimitSpec {
            algorithm,
            lease_us,
            ..LimitSpec::new(*[500, 3_000, 20_000].choose(rng).expect("one"), Unit::Second)
        }
    } else {
        // The last one has a fraction of a microsecond.
        let (requests, burst) =
            *[(500, 2_000), (2_000, 400), (4_000, 1_000), (8_000, 4_000), (40_000, 10_000), (999, 500)]
                .choose(rng)
                .expect("one");
        LimitSpec { burst: Some(burst), lease_us, after_store_loss, ..LimitSpec::new(requests, Unit::Second) }
    };
    let first = spec.check().expect("sound");
    let mut limits = [(); EDITIONS].map(|()| first.clone());
    // Under another rate a fraction is rounded up, and a bucket that is missing counts as used up under the burst that
    // is asked for; the simulation of all limits watches over both.
    let is_one = spec.requests_per_unit == 999 || first.after_store_loss() == AfterStoreLoss::Empty;
    for limit in limits[1..].iter_mut().filter(|_| !is_one) {
        *limit = other(rng, spec).check().expect("sound");
    }
    Bucket { limits }
}

/// Other numbers, another lease, or none.
fn other(rng: &mut SmallRng, spec: LimitSpec) -> LimitSpec {
    let lease_us = *[spec.lease_us, spec.lease_us, 50_000, 0].choose(rng).expect("one");
    let (requests, burst) = match spec.algorithm {
        Algorithm::FixedWindow => (rng.random_range(100..=20_000), None),
        _ => (
            *[500, 1_000, 8_000].choose(rng).expect("one"),
            spec.burst.map(|burst| rng.random_range(4..=burst)),
        ),
    };
    LimitSpec { requests_per_unit: requests, burst, lease_us, ..spec }
}

fn runtimes(rng: &mut SmallRng, replicas: usize, each: usize) -> Vec<(usize, SkewedClock)> {
    // A process has one clock.
    let clocks: Vec<SkewedClock> = (0..replicas).map(|_| clock(rng, 1_000_000_000_000)).collect();
    (0..replicas * each).map(|number| (number / each, clocks[number / each])).collect()
}

fn clock(rng: &mut SmallRng, around_ns: u64) -> SkewedClock {
    let any_ppm = rng.random_range(-MOST_DRIFT_PPM..=MOST_DRIFT_PPM);
    SkewedClock {
        offset_ns: around_ns + rng.random_range(0..1_000_000_000),
        drift_ppm: *[-MOST_DRIFT_PPM, any_ppm, MOST_DRIFT_PPM].choose(rng).expect("one"),
    }
}

/// Each with its time, in no order.
fn disturbances(rng: &mut SmallRng, until_ns: u64, replicas: usize) -> Vec<(u64, Disturbance)> {
    let count = if rng.random_bool(0.3) { 0 } else { rng.random_range(1..=6) };
    let any = |rng: &mut SmallRng| match rng.random_range(0..9) {
        8 => Disturbance::Away { ns: rng.random_range(1..=400) * MS },
        0 => Disturbance::StoreLoss,
        1 => Disturbance::Reset { bucket: 0 },
        2 => Disturbance::Restart { replica: rng.random_range(0..replicas) },
        3 => Disturbance::Silence { ns: rng.random_range(1..=400) * MS },
        _ => Disturbance::Reload {
            replica: rng.random_range(0..replicas),
            edition: rng.random_range(0..EDITIONS),
        },
    };
    (0..count).map(|_| (rng.random_range(0..until_ns), any(rng))).collect()
}

/// The key contains only the bucket's number.
fn key(bucket: usize) -> BucketKey {
    BucketKey::from_bytes(u128::try_from(bucket).expect("a count").to_le_bytes())
}
