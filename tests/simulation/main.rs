//! Replicas, one Redis and a bad network in virtual time: the promises hold for every seed. Processes restart and
//! reload, threads stop while their calls are under way, Redis loses its buckets, falls silent and its clock steps, and
//! local buckets answer in its place.
//!
//! The dispatchers, denial caches, leases and batches are those of production, and so is `decide`; clocks, clients, the
//! network and the store are models. A seed decides everything, so a seed that fails can be replayed. By default
//! random seeds run for two minutes; `TOLLGATE_SEED` replays one, and `TOLLGATE_SIM_SECONDS` sets the time.
//!
//! It must find these mutants. The times are those of the debug build on two busy cores.
//!
//! | mutant | promise that it breaks | seconds |
//! |---|---|---:|
//! | a batch is sent again after silence | a request is executed at most once | 1.7 |
//! | the denial cache counts from `arrived` in place of `sent` | memory denies nothing that fits | 0.5 |
//! | the denial cache allows for no drift | memory denies nothing that fits | 1.5 |
//! | the denial cache serves for 1.1 s | memory serves for a second at most | 1.2 |
//! | an older answer replaces a newer one | memory denies nothing that fits | 3.9 |
//! | a refund is not told to the other runtimes | memory denies nothing that fits | 0.5 |
//! | a refund that was told is not read | memory denies nothing that fits | 2.3 |
//! | waits are counted from `sent` in place of `arrived` | no wait is told too short | 0.2 |
//! | a tripped breaker never probes | a breaker refuses only between probes | 0.3 |
//! | the breaker probes after 50 ms | one probe in 100 ms | 0.3 |
//! | the breaker trips after two losses | a breaker refuses only between probes | 0.3 |
//! | the slot of a landed batch is not freed | nobody waits in vain | 0.3 |
//! | three batches are under way | at most two batches are under way | 0.8 |
//! | a batch carries 256 takes | a batch carries at most 128 takes | 2.9 |
//! | an overdue request is sent | what was queued too long is not sent | 2.5 |
//! | younger requests pass a held one | nobody waits in vain | 0.6 |
//! | a bucket stays awaited after its batch has landed | nobody waits in vain | 0.3 |
//! | nobody looks again at a request that waits for another runtime | another runtime holds up a request for 10 ms at most | 0.8 |
//! | a request waits for three calls of other runtimes | nobody waits in vain | 1.0 |
//! | a request waits for other runtimes for 15 ms | nobody waits in vain | 0.6 |
//! | each replica's local bucket has the full limit | with fallback answers never more than twice | 2.5 |
//! | a lost bucket starts full where it must start empty | the store's answer is exact | 0.8 |
//! | undoing a take gives back the whole | a take is undone as it was charged | 0.4 |
//! | the same, without that check | burst and refill hold over several masters | 1.5 |
//! | a take is undone over the connection of another | a take is undone where it was charged | 1.3 |
//! | a take is undone by the clock of another master | a take is undone as it was charged | 1.6 |
//! | a take is undone twice | a take is undone once | 0.4 |
//! | a leg is sent again after silence | a leg is executed at most once | 3.3 |
//! | hits are given back before the verdict | a denied request gives nothing back | 1.3 |
//! | a reservation lapses before its lease is over | a reservation lapses a quarter of a lease after it | 0.4 |
//! | a lease counts from the arrival of its answer | a lease is over in time | 0.5 |
//! | a lease outlasts its window | a lease is over in time | 2.0 |
//! | what is spent while a call is under way is spent twice | over every interval the limit holds | 0.9 |
//! | a lease outlives a reload | no lease outlives its limit's numbers | 0.6 |
//! | a lease goes on being spent after it was returned | over every interval the limit holds | 12 |
//! | what nobody has reported counts as not spent | a reservation is found until it lapses | 0.9 |
//! | a lease is given half of what is left | a lease is given at most a quarter of what is left | 0.6 |
//! | memory learns what is reserved as spent | memory denies nothing that fits | 1.3 |

mod audits;
mod breaker;
mod bucket;
mod checks;
mod clients;
mod clock;
mod disturbance;
mod journal;
mod leases;
mod meter;
mod network;
mod plan;
mod questions;
mod queue;
mod shards;
mod store;
mod table;
mod traffic;
mod world;

use std::{
    env,
    fmt::Display,
    io::{self, Write as _},
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};

use journal::Journal;
use plan::{CacheMode, Plan};
use tollgate::{clock::monotonic, fallback::Source};
use world::World;

/// A promise that did not hold.
#[derive(Debug)]
struct Broken {
    promise: &'static str,
    bucket: usize,
    detail: String,
}

impl Broken {
    fn new(promise: &'static str, bucket: usize, detail: String) -> Broken {
        Broken { promise, bucket, detail }
    }
}

/// The totals over the seeds of a test.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    decisions: usize,
    from_memory: usize,
    fallback_answers: usize,
    /// How often a breaker tripped, and how many batches probed.
    trips: usize,
    probes: usize,
}

// === seeds ===

/// An upper bound that no run is expected to reach.
const MOST_SEEDS: u64 = 10_000_000;

/// Calls `run` with random seeds until the time is over, or only with the seed in `TOLLGATE_SEED`.
fn for_seeds(name: &str, seconds: f64, mut run: impl FnMut(u64, &mut Tally)) -> Tally {
    let started = monotonic();
    let mut tally = Tally::default();
    if let Some(seed) = number("TOLLGATE_SEED") {
        run(seed, &mut tally);
        return tally;
    }
    let budget = Duration::from_secs_f64(number("TOLLGATE_SIM_SECONDS").unwrap_or(seconds));
    while tally.seeds < MOST_SEEDS && started.elapsed() < budget {
        run(rand::random(), &mut tally);
        tally.seeds += 1;
    }
    let Tally { seeds, decisions, from_memory, fallback_answers, trips, probes } = tally;
    #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
    let rate = decisions as f64 / started.elapsed().as_secs_f64();
    say(&format!(
        "\nsimulation, {name}: {seeds} seeds, {decisions} decisions ({rate:.0} per second), {from_memory} from memory, \
         {fallback_answers} fallback answers, {trips} trips of a breaker, {probes} probes\n"
    ));
    tally
}

fn say(line: &str) {
    // Not eprintln!, which the test runner swallows when the test passes.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn number<T: std::str::FromStr<Err: Display>>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Runs the seed again with a journal of the bucket concerned, and fails.
fn fail(seed: u64, plan: &Plan, broken: &Broken) -> ! {
    let mut again = World::new(plan, seed, Journal::new(Some(broken.bucket)));
    let repeated = again.run().and_then(|()| again.audit());
    let limit = &plan.buckets[broken.bucket].limits;
    panic!(
        "\nTOLLGATE_SEED={seed}: broken: {}\nbucket {}, {limit:?}\n{}\nits last events:\n{}{}",
        broken.promise,
        broken.bucket,
        broken.detail,
        again.journal.text(),
        if repeated.is_err() { "" } else { "and the same seed passed when it was run again\n" },
    )
}

fn run<'a>(plan: &'a Plan, seed: u64, tally: &mut Tally) -> World<'a> {
    let mut world = World::new(plan, seed, Journal::default());
    if let Err(broken) = world.run().and_then(|()| world.audit()) {
        fail(seed, plan, &broken);
    }
    for source in world.sources() {
        tally.decisions += 1;
        tally.from_memory += usize::from(source == Source::Cache);
        tally.fallback_answers += usize::from(source.is_fallback_answer());
    }
    let (trips, probes) = world.watched();
    (tally.trips, tally.probes) = (tally.trips + trips, tally.probes + probes);
    world
}

// === tests ===

#[test]
fn whatever_happens_the_limit_holds_and_no_take_that_fits_is_denied() {
    let tally = for_seeds("anything may happen", 45.0, |seed, tally| {
        run(&Plan::rough(&mut SmallRng::seed_from_u64(seed)), seed, tally);
    });
    // A run of few seeds may see no failure, or no denial cache.
    assert!(tally.seeds < 100 || tally.from_memory > tally.decisions / 20, "memory denied little: {tally:?}");
    assert!(
        tally.seeds < 100 || tally.fallback_answers > tally.decisions / 100,
        "there were few fallback answers: {tally:?}"
    );
    assert!(
        tally.seeds < 100 || tally.probes > tally.trips && tally.trips > 0,
        "breakers tripped rarely: {tally:?}"
    );
}

#[test]
fn with_the_denial_cache_on_and_off_the_same_takes_are_admitted() {
    let tally = for_seeds("denial cache on and off", 15.0, |seed, tally| {
        let plan = |denial_cache| Plan::steady(&mut SmallRng::seed_from_u64(seed), denial_cache);
        let (on, off) = (plan(CacheMode::On), plan(CacheMode::Off));
        let with = run(&on, seed, tally).allowed();
        let without = run(&off, seed, tally).allowed();
        let differs = with.iter().zip(&without).position(|(with, without)| with != without);
        assert!(
            with.len() == without.len() && differs.is_none(),
            "TOLLGATE_SEED={seed}: request {differs:?}"
        );
    });
    assert!(tally.seeds < 100 || tally.from_memory > tally.decisions / 10, "memory denied little: {tally:?}");
}
