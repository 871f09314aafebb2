//! Several runtimes with leases on one bucket, whose calls are late or lost, and clocks that drift: the limit holds over
//! every interval, nearly all that is allowed is admitted, and every runtime gets its share.
//!
//! These tests must find these mutants, each within seconds in a debug build:
//!
//! | mutant | found by |
//! |---|---|
//! | a reservation lapses before its lease is over | a pause, then a flood |
//! | a lease is counted from the arrival of its answer | windows; late calls |
//! | what is spent while a call is under way is spent twice | every interval; windows |
//! | what nobody has reported counts as not spent | every interval; windows |
//! | a lease outlives a change of the limit's numbers | other numbers |

use std::{collections::HashMap, iter};

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tollgate_core::{
    decision::{Demand, Granted, LeaseCall, State, Take, Takes, Verdict, decide, lease},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Limit, LimitSpec, Unit},
};

use super::{Leases, Spent, Trip};

const START_US: u64 = 1_800_000_000_000_000;
const KEY: BucketKey = BucketKey::from_bytes([1; 16]);
/// More than clocks may drift apart, by one in 10,000.
const MOST_PPM: i64 = 900;

/// A runtime, and the batch that is under way.
struct Runtime {
    leases: Leases,
    offset_us: u64,
    drift_ppm: i64,
    batch: Option<Batch>,
    waiting: usize,
    admitted: u64,
    asked: u64,
}

struct Batch {
    requests: usize,
    calls: Vec<LeaseCall>,
    sent_us: u64,
    executes_us: u64,
    arrives_us: u64,
    is_executed: bool,
    is_lost_there: bool,
    is_lost_back: bool,
    granted: Vec<Option<Granted>>,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
struct Weather {
    most_late_us: u64,
    lost: f64,
}

#[derive(Debug, Clone, Copy)]
enum Load {
    /// All runtimes ask alike, or the first one asks for most.
    Steady,
    Uneven,
    /// Each runtime's load comes and goes four times a second.
    ComesAndGoes,
    /// Floods that come and go.
    Flood,
    /// Enough for a lease, a pause nearly as long as it, then a flood.
    PauseThenFlood {
        lease_us: u64,
    },
}

impl Runtime {
    fn new(rng: &mut SmallRng) -> Runtime {
        Runtime {
            leases: Leases::default(),
            offset_us: rng.random_range(1_000_000..2_000_000_000),
            drift_ppm: *[-MOST_PPM, 0, MOST_PPM].choose(rng).expect("one"),
            batch: None,
            waiting: 0,
            admitted: 0,
            asked: 0,
        }
    }

    fn local_us(&self, now_us: u64) -> u64 {
        let passed = i128::from(now_us - START_US);
        let drift = passed * i128::from(self.drift_ppm) / 1_000_000;
        self.offset_us + u64::try_from(passed + drift).expect("after the start")
    }
}

/// The instants of all admissions, by Redis' clock, and each runtime's share.
struct Run {
    admitted_us: Vec<u64>,
    each: Vec<(u64, u64)>,
    from_leases: u64,
    calls: u64,
}

/// Six runtimes and one Redis.
struct World<'a> {
    rng: &'a mut SmallRng,
    takes: Takes,
    table: HashMap<BucketKey, State>,
    runtimes: Vec<Runtime>,
    weather: Weather,
    run: Run,
}

const STEP_US: u64 = 250;

fn run(rng: &mut SmallRng, limit: &Limit, load: Load, weather: Weather, runs_us: u64) -> Run {
    let demand = Demand::new(Hits::One, limit);
    let runtimes = (0..6).map(|_| Runtime::new(rng)).collect();
    let mut world = World {
        rng,
        takes: iter::once(Take { key: KEY, demand }).collect(),
        table: HashMap::new(),
        runtimes,
        weather,
        run: Run { admitted_us: Vec::new(), each: Vec::new(), from_leases: 0, calls: 0 },
    };
    for tick in 0..runs_us / STEP_US {
        let now_us = START_US + tick * STEP_US;
        // None is always the first to ask.
        let first = usize::try_from(tick).expect("small") % world.runtimes.len();
        for index in (0..world.runtimes.len()).map(|index| (index + first) % 6) {
            world.receive(index, now_us);
            for _ in 0..arrivals(world.rng, load, index, tick * STEP_US) {
                world.ask(index, now_us);
            }
            if tick % 40 == 0 {
                let local_us = world.runtimes[index].local_us(now_us);
                world.runtimes[index].leases.look(local_us);
            }
            world.send(index, now_us);
        }
    }
    world.run.each = world.runtimes.iter().map(|runtime| (runtime.admitted, runtime.asked)).collect();
    world.run
}

impl World<'_> {
    /// Redis executes a batch, and its answer arrives.
    fn receive(&mut self, index: usize, now_us: u64) {
        let World { runtimes, table, run, takes, .. } = self;
        let runtime = &mut runtimes[index];
        let local_us = runtime.local_us(now_us);
        let Some(batch) = &mut runtime.batch else { return };
        if now_us >= batch.executes_us && !batch.is_executed && !batch.is_lost_there {
            batch.is_executed = true;
            let verdicts = (0..batch.requests).map(|_| decide(takes, now_us, table).verdict);
            let allowed = verdicts.filter(|verdict| *verdict == Verdict::Allow).count();
            batch.granted = batch.calls.iter().map(|call| lease(call, now_us, table)).collect();
            // Admitted although the client may never hear of it.
            run.admitted_us.extend(iter::repeat_n(now_us, allowed));
            runtime.admitted += allowed as u64;
        }
        if now_us >= batch.arrives_us {
            let batch = runtime.batch.take().expect("it is there");
            let trip = Trip { sent_us: batch.sent_us, arrived_us: local_us };
            let is_lost = batch.is_lost_there || batch.is_lost_back;
            for (index, call) in batch.calls.iter().enumerate() {
                let granted = batch.granted.get(index).copied().flatten().filter(|_| !is_lost);
                runtime.leases.landed(call, granted.as_ref(), trip);
            }
        }
    }

    fn ask(&mut self, index: usize, now_us: u64) {
        let runtime = &mut self.runtimes[index];
        runtime.asked += 1;
        let local_us = runtime.local_us(now_us);
        match runtime.leases.spend(&self.takes, local_us) {
            Spent::All(_) => {
                self.run.admitted_us.push(now_us);
                self.run.from_leases += 1;
                runtime.admitted += 1;
            }
            Spent::Part(_) => unreachable!("there is one take"),
            Spent::None => runtime.waiting += 1,
        }
    }

    fn send(&mut self, index: usize, now_us: u64) {
        let World { rng, runtimes, run, takes, weather, .. } = self;
        let runtime = &mut runtimes[index];
        if runtime.batch.is_some() || (runtime.waiting == 0 && !runtime.leases.has_due()) {
            return;
        }
        let local_us = runtime.local_us(now_us);
        let requests = std::mem::take(&mut runtime.waiting).min(128);
        let mut calls = runtime.leases.due_calls(|_| true, local_us);
        calls.extend(runtime.leases.calls(iter::repeat_n(&*takes, requests), local_us));
        let mut way_us = || rng.random_range(50..=50 + weather.most_late_us);
        let (there_us, back_us) = (way_us(), way_us());
        run.calls += 1;
        runtime.batch = Some(Batch {
            requests,
            calls,
            sent_us: local_us,
            executes_us: now_us + there_us,
            arrives_us: now_us + there_us + back_us + STEP_US,
            is_executed: false,
            is_lost_there: rng.random_bool(weather.lost),
            is_lost_back: rng.random_bool(weather.lost),
            granted: Vec::new(),
        });
    }
}

fn arrivals(rng: &mut SmallRng, load: Load, runtime: usize, at_us: u64) -> u32 {
    let is_on = match load {
        Load::Steady => true,
        Load::Uneven => runtime == 0 || rng.random_bool(0.2),
        Load::ComesAndGoes => (at_us / 125_000 + runtime as u64).is_multiple_of(2),
        Load::Flood => at_us % 400_000 < 150_000,
        Load::PauseThenFlood { lease_us } if at_us > lease_us * 19 / 20 => return rng.random_range(0..=16),
        Load::PauseThenFlood { lease_us } => at_us < lease_us / 5,
    };
    if is_on { rng.random_range(0..=2) } else { 0 }
}

/// The most that was admitted over burst + refill in any interval, in hits; at most 0 if the limit holds.
fn excess(limit: &Limit, admitted_us: &[u64]) -> i128 {
    // With x_i = i·P − t_i·R: a later minus an earlier one, plus one hit, is what the interval has over its refill.
    let period = i128::from(limit.period().seconds()) * 1_000_000;
    let requests = i128::from(limit.requests_per_unit());
    let (mut least, mut worst) = (i128::MAX, i128::MIN);
    for (number, at_us) in (0..).zip(admitted_us) {
        let x = number * period - i128::from(*at_us) * requests;
        least = least.min(x);
        worst = worst.max(x - least + period);
    }
    (worst - i128::from(limit.burst()) * period).div_euclid(period)
}

fn limit(requests_per_unit: u32, burst: u32, lease_ms: u32) -> Limit {
    let spec = LimitSpec {
        burst: Some(burst),
        lease_us: lease_ms * 1_000,
        ..LimitSpec::new(requests_per_unit, Unit::Second)
    };
    spec.check().unwrap()
}

#[test]
fn over_every_interval_the_limit_holds_whatever_happens_to_the_calls() {
    let seed: u64 = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut from_leases = 0;
    for number in 0..60 {
        let lease_ms = *[10, 100, 300].choose(&mut rng).expect("one");
        let (requests, burst) = *[(2_000, 400), (8_000, 8_000), (500, 2_000)].choose(&mut rng).expect("one");
        let limit = limit(requests, burst, lease_ms);
        let load =
            *[Load::Steady, Load::Uneven, Load::ComesAndGoes, Load::Flood].choose(&mut rng).expect("one");
        let weather = Weather {
            most_late_us: *[0, 5_000, u64::from(lease_ms) * 3_000].choose(&mut rng).expect("one"),
            lost: *[0.0, 0.05, 0.3].choose(&mut rng).expect("one"),
        };
        let run = run(&mut rng, &limit, load, weather, 2_000_000);
        from_leases += run.from_leases;
        let excess = excess(&limit, &run.admitted_us);
        assert!(excess <= 0, "seed {seed}, run {number}: {excess} too many; {limit:?} {load:?} {weather:?}");
    }
    assert!(from_leases > 20_000, "{from_leases}");
}

#[test]
fn what_was_leased_before_a_pause_leaves_no_more_to_a_flood_after_it() {
    let seed: u64 = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    for lease_ms in [100, 300, 1_000] {
        let limit = limit(8_000, 4_000, lease_ms);
        let load = Load::PauseThenFlood { lease_us: u64::from(lease_ms) * 1_000 };
        let weather = Weather { most_late_us: 500, lost: 0.0 };
        let run = run(&mut rng, &limit, load, weather, u64::from(lease_ms) * 1_200);
        let excess = excess(&limit, &run.admitted_us);
        assert!(excess <= 0, "seed {seed}, {lease_ms} ms: {excess} too many");
        assert!(run.from_leases > 200, "{}", run.from_leases);
    }
}

#[test]
fn nearly_all_that_is_allowed_is_admitted_and_every_runtime_gets_its_share() {
    let seed: u64 = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let weather = Weather { most_late_us: 500, lost: 0.0 };
    for (load, least) in [(Load::Steady, 0.98), (Load::Uneven, 0.98), (Load::ComesAndGoes, 0.97)] {
        let limit = limit(8_000, 2_000, 100);
        let runs_us = 5_000_000;
        let run = run(&mut rng, &limit, load, weather, runs_us);
        let allowed = 2_000 + 8_000 * runs_us / 1_000_000;
        let asked: u64 = run.each.iter().map(|(_, asked)| asked).sum();
        let admitted = run.admitted_us.len() as f64 / allowed.min(asked) as f64;
        let shares: Vec<f64> =
            run.each.iter().map(|(admitted, asked)| *admitted as f64 / *asked as f64).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        println!(
            "{load:?}: {admitted:.4} admitted, {} from leases, {} calls, shares {shares:.3?}",
            run.from_leases, run.calls
        );
        assert!(admitted >= least, "seed {seed}, {load:?}: {admitted} of what is allowed");
        assert!(shares.iter().all(|share| *share >= mean / 2.0), "seed {seed}, {load:?}: {shares:?}");
    }
}

#[test]
fn below_the_limit_nothing_is_denied_and_most_is_decided_without_a_call() {
    let mut rng = SmallRng::seed_from_u64(rand::random());
    let limit = limit(40_000, 20_000, 100);
    let run = run(&mut rng, &limit, Load::Steady, Weather { most_late_us: 500, lost: 0.0 }, 2_000_000);
    let (admitted, asked) = run.each.iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert!(admitted + 20 >= asked, "{admitted} of {asked}: some may be under way");
    assert!(run.from_leases * 10 > asked * 9, "{} of {asked} by a lease", run.from_leases);
    assert!(run.calls < asked / 20, "{} calls for {asked}", run.calls);
}

#[test]
fn a_window_admits_its_number_in_each_window_under_leases() {
    let seed: u64 = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut from_leases = 0;
    for number in 0..30 {
        let algorithm = Algorithm::FixedWindow;
        let lease_us = *[10_000, 100_000, 1_000_000].choose(&mut rng).expect("one");
        let spec = LimitSpec { algorithm, lease_us, ..LimitSpec::new(3_000, Unit::Second) };
        let weather =
            Weather { most_late_us: *[0, 20_000, 400_000].choose(&mut rng).expect("one"), lost: 0.05 };
        let run = run(&mut rng, &spec.check().unwrap(), Load::Steady, weather, 3_000_000);
        for second in 0..3 {
            let starts_us = START_US + second * 1_000_000;
            let within =
                run.admitted_us.iter().filter(|at_us| (starts_us..starts_us + 1_000_000).contains(at_us));
            assert!(within.count() <= 3_000, "seed {seed}, run {number}, second {second}");
        }
        from_leases += run.from_leases;
    }
    assert!(from_leases > 5_000, "{from_leases}");
}

#[test]
fn a_lease_decides_nothing_under_other_numbers() {
    let takes = |limit: &Limit| -> Takes {
        iter::once(Take { key: KEY, demand: Demand::new(Hits::One, limit) }).collect()
    };
    let (before, after) = (takes(&limit(1_000, 1_000, 100)), takes(&limit(1_000, 5, 100)));
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
