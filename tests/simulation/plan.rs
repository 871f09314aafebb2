//! Everything that a seed decides before the run: buckets, replicas, clocks, clients and the network.

use std::ops::RangeInclusive;

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use super::{
    bucket::{Bucket, EDITIONS, buckets},
    clock::SkewedClock,
    disturbance::{self, Disturbance},
};
use tollgate_core::limit::Limit;

pub(super) const MS: u64 = 1_000_000;
/// The store's clock and a runtime's drift apart by at most one in a thousand, for which the denial cache allows:
/// 1.000499 / 0.999501 < 1.001.
const MOST_DRIFT_PPM: i64 = 499;

#[derive(Debug)]
pub(super) struct Plan {
    /// When clients stop asking; requests under way are still finished.
    pub(super) until_ns: u64,
    pub(super) deadline_us: u64,
    pub(super) denial_cache: CacheMode,
    pub(super) store_clock: SkewedClock,
    /// The hot ones first.
    pub(super) buckets: Vec<Bucket>,
    pub(super) hot: usize,
    /// The edition of the limits that each replica has at first.
    pub(super) editions: Vec<usize>,
    pub(super) runtimes: Vec<RuntimePlan>,
    pub(super) clients: Vec<Client>,
    pub(super) network: Network,
    pub(super) disturbances: Vec<(u64, Disturbance)>,
    /// When the store began; none if it begins during the run.
    pub(super) epoch_us: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheMode {
    On,
    Off,
}

#[derive(Debug)]
pub(super) struct RuntimePlan {
    pub(super) replica: usize,
    pub(super) clock: SkewedClock,
}

/// Asks one runtime, like an Envoy worker on its connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) runtime: usize,
    pub(super) pace: Pace,
    /// The time from an answer, or from a request, to the next request.
    pub(super) gap_ns: RangeInclusive<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Asks again some time after it was answered.
    Closed,
    /// Asks again without waiting for the answer.
    Open,
    /// Like closed, but after a denial it comes back for the same bucket when the store's clock shows the next token,
    /// give or take a microsecond or two.
    Prompt,
}

/// The network. Probabilities are per batch; `cancelled` is per request.
#[derive(Debug)]
pub(super) struct Network {
    /// The time until a slot wakes: requests that are being read at the moment travel together.
    pub(super) wake_ns: RangeInclusive<u64>,
    pub(super) there_ns: RangeInclusive<u64>,
    pub(super) back_ns: RangeInclusive<u64>,
    /// The time that the store needs for a batch.
    pub(super) busy_ns: u64,
    pub(super) lost_there: f64,
    pub(super) lost_back: f64,
    /// The batch travels, in either direction, for up to three deadlines.
    pub(super) late: f64,
    /// The store does nothing for up to `stall_ns`, and then continues in the order of arrival.
    pub(super) stalled: f64,
    pub(super) stall_ns: u64,
    /// The store answers NOSCRIPT or LOADING, and nothing runs.
    pub(super) refused: f64,
    pub(super) cancelled: f64,
    /// The thread of the runtime stops for this long as soon as it has sent the batch.
    pub(super) stopped: f64,
    pub(super) stop_ns: RangeInclusive<u64>,
}

// === impl Plan ===

impl Plan {
    /// Anything may happen.
    pub(super) fn rough(rng: &mut SmallRng) -> Plan {
        let deadline_us = *[10_000, 10_000, 50_000, 1_000_000].choose(rng).expect("one");
        let runtimes = runtimes(rng, 1..=3, 1..=2);
        let clients = (0..rng.random_range(2..=24)).map(|_| client(rng, runtimes.len())).collect();
        let hot = rng.random_range(1..=6);
        // Some runs are so long that a disturbance of the store is older than what memory serves.
        let ms = if rng.random_bool(0.1) { 2_500..=4_000 } else { 200..=1_500 };
        let until_ns = rng.random_range(ms) * MS;
        let replicas = runtimes.last().map_or(0, |runtime| runtime.replica) + 1;
        Plan {
            until_ns,
            disturbances: disturbance::plan(rng, until_ns, replicas),
            epoch_us: Some(0).filter(|_| rng.random_bool(0.7)),
            deadline_us,
            denial_cache: if rng.random_bool(0.9) { CacheMode::On } else { CacheMode::Off },
            store_clock: clock(rng, 1_800_000_000_000_000_000),
            buckets: buckets(rng, hot, 0.4),
            hot,
            editions: editions(rng, replicas),
            runtimes,
            clients,
            network: Network::rough(rng, deadline_us),
        }
    }

    /// Everything happens at the same instants whether or not memory answers: each way takes the same time for all,
    /// nothing is lost, and no runtime has two requests under way.
    pub(super) fn steady(rng: &mut SmallRng, denial_cache: CacheMode) -> Plan {
        let delay_ns = *[0, 200_000, 5 * MS].choose(rng).expect("one");
        // A request may wait for a call of another runtime of its process, and then comes to the store later.
        let each = if delay_ns == 0 { 1..=2 } else { 1..=1 };
        let runtimes = runtimes(rng, 1..=4, each);
        let shortest_ns = 2 * delay_ns + 50_000;
        let clients = (0..runtimes.len())
            .map(|runtime| Client { runtime, pace: Pace::Open, gap_ns: shortest_ns..=shortest_ns + 10 * MS })
            .collect();
        let hot = rng.random_range(1..=3);
        Plan {
            until_ns: 1_000 * MS,
            deadline_us: 1_000_000,
            denial_cache,
            store_clock: clock(rng, 1_800_000_000_000_000_000),
            buckets: buckets(rng, hot, 0.0),
            hot,
            editions: editions(rng, runtimes.last().map_or(0, |runtime| runtime.replica) + 1),
            runtimes,
            clients,
            network: Network::steady(delay_ns),
            disturbances: Vec::new(),
            epoch_us: Some(0),
        }
    }

    /// The limits of a bucket that any replica has at any time.
    pub(super) fn limits_in_force<'p>(
        &'p self,
        bucket: &'p Bucket,
    ) -> impl Iterator<Item = &'p Limit> + Clone {
        let is_reloaded = |edition: usize| {
            let to = |disturbance: &Disturbance| matches!(disturbance, Disturbance::Reload { edition: to, .. } if *to == edition);
            self.disturbances.iter().any(|(_, disturbance)| to(disturbance))
        };
        let in_force = move |edition: &usize| self.editions.contains(edition) || is_reloaded(*edition);
        (0..EDITIONS).filter(in_force).map(|edition| &bucket.limits[edition])
    }
}

impl Network {
    fn rough(rng: &mut SmallRng, deadline_us: u64) -> Network {
        let mut seldom = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
        let (lost_there, lost_back, late) = (seldom(0.05), seldom(0.05), seldom(0.05));
        let (stalled, refused, cancelled) = (seldom(0.02), seldom(0.02), seldom(0.1));
        let stopped = seldom(0.01);
        // One way may be much slower than the other, and each batch has its own times: answers overtake each other.
        let most_ns = deadline_us * 1_000 / 2;
        let mut way = || 0..=*[0, 20_000, 200_000, 2 * MS, most_ns.min(20 * MS)].choose(rng).expect("one");
        Network {
            wake_ns: 0..=50_000,
            there_ns: way(),
            back_ns: way(),
            busy_ns: *[0, 20_000].choose(rng).expect("one"),
            lost_there,
            lost_back,
            late,
            stalled,
            stall_ns: 400 * MS,
            refused,
            cancelled,
            stopped,
            stop_ns: *[MS, 20 * MS, 500 * MS].choose(rng).expect("one")..=2_000 * MS,
        }
    }

    fn steady(delay_ns: u64) -> Network {
        Network {
            wake_ns: 0..=0,
            there_ns: delay_ns..=delay_ns,
            back_ns: delay_ns..=delay_ns,
            busy_ns: 0,
            lost_there: 0.0,
            lost_back: 0.0,
            late: 0.0,
            stalled: 0.0,
            stall_ns: 0,
            refused: 0.0,
            cancelled: 0.0,
            stopped: 0.0,
            stop_ns: 0..=0,
        }
    }
}

// === parts ===

fn runtimes(
    rng: &mut SmallRng,
    replicas: RangeInclusive<usize>,
    each: RangeInclusive<usize>,
) -> Vec<RuntimePlan> {
    let (replicas, each) = (rng.random_range(replicas), rng.random_range(each));
    // A process has one clock.
    let clocks: Vec<SkewedClock> = (0..replicas).map(|_| clock(rng, 1_000_000_000_000)).collect();
    let runtime = |replica| RuntimePlan { replica, clock: clocks[replica] };
    (0..replicas * each).map(|number| runtime(number / each)).collect()
}

/// Mostly the same edition for all replicas.
fn editions(rng: &mut SmallRng, replicas: usize) -> Vec<usize> {
    let disagree = rng.random_bool(0.3);
    (0..replicas).map(|_| if disagree { rng.random_range(0..EDITIONS) } else { 0 }).collect()
}

fn clock(rng: &mut SmallRng, around_ns: u64) -> SkewedClock {
    let any_ppm = rng.random_range(-MOST_DRIFT_PPM..=MOST_DRIFT_PPM);
    SkewedClock {
        offset_ns: around_ns + rng.random_range(0..1_000_000_000),
        drift_ppm: *[-MOST_DRIFT_PPM, any_ppm, MOST_DRIFT_PPM].choose(rng).expect("one"),
    }
}

fn client(rng: &mut SmallRng, runtimes: usize) -> Client {
    let pace = *[Pace::Closed, Pace::Open, Pace::Prompt].choose(rng).expect("one");
    let most_ns = *[2 * MS, 10 * MS, 50 * MS].choose(rng).expect("one");
    Client { runtime: rng.random_range(0..runtimes), pace, gap_ns: 0..=most_ns }
}
