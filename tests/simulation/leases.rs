//! Leases: runtimes decide from what they have reserved. The bound stays, over every interval of the store's clock, for
//! token buckets and windows; a request that fits may be denied while runtimes hold hits that they have reserved and not
//! spent, and for no other reason.
//!
//! The queues of a runtime, with its leases and denial cache, and `decide` are those of production; a list of what is reserved
//! is the second account. Calls are late and lost, clocks drift, load pauses as long as a lease and then floods, replicas
//! restart and reload, the store is silent or away, loses its data and forgets single buckets.

mod account;
mod answers;
mod bounds;
mod disturbances;
mod plan;
mod store;
mod travel;
mod world;

use rand::{SeedableRng, rngs::SmallRng};

use super::{Tally, for_seeds, say};
use plan::{Load, Plan};
use tollgate_core::limit::{Limit, LimitSpec, Unit};
use world::World;

fn run(plan: &Plan, seed: u64) -> World<'_> {
    let mut world = World::new(plan, seed);
    world.run();
    if let Err(broken) = world.audit() {
        panic!("\nTOLLGATE_SEED={seed}: broken: {broken}\n{plan:#?}");
    }
    world
}

#[test]
fn with_leases_the_limit_holds_and_a_take_is_denied_only_beside_what_is_reserved() {
    let (mut from_leases, mut rode, mut remembering) = (0, 0, 0);
    let tally = for_seeds("leases", 20.0, |seed, tally: &mut Tally| {
        let plan = Plan::rough(&mut SmallRng::seed_from_u64(seed));
        let world = run(&plan, seed);
        tally.decisions += world.requests.len();
        tally.from_memory += world.from_memory;
        from_leases += world.from_leases;
        rode += world.rode;
        remembering += u64::from(world.from_memory > 0);
    });
    say(&format!("  of these: {from_leases} from leases, {rode} of which left with a batch\n"));
    // A few seeds have most denials from memory, and a run may have none of these. So the seeds count.
    let is_hard =
        from_leases > tally.decisions / 40 && rode > from_leases / 100 && remembering > tally.seeds / 20;
    assert!(
        tally.seeds < 100 || is_hard,
        "the test is too gentle: {from_leases} from leases, {rode} rode, memory denied in {remembering} seeds, {tally:?}"
    );
}

fn limit(requests_per_unit: u32, burst: u32) -> Limit {
    let spec = LimitSpec {
        burst: Some(burst),
        lease_us: 100_000,
        ..LimitSpec::new(requests_per_unit, Unit::Second)
    };
    spec.check().expect("sound")
}

#[test]
#[allow(clippy::cast_precision_loss, reason = "figures to be read")]
fn nearly_all_that_is_allowed_is_admitted_and_every_runtime_gets_its_share() {
    let seed: u64 = rand::random();
    for (load, least) in [(Load::Steady, 0.98), (Load::Uneven, 0.98), (Load::ComesAndGoes, 0.97)] {
        let limit = limit(8_000, 2_000);
        let plan = Plan::calm(&mut SmallRng::seed_from_u64(seed), &limit, load);
        let world = run(&plan, seed);
        let shown_us = |at_ns| plan.store_clock.now_us(at_ns);
        let allowed = 2_000 + 8_000 * (shown_us(plan.until_ns) - shown_us(0)) / 1_000_000;
        let asked: u64 = world.runtimes.iter().map(|runtime| runtime.asked).sum();
        let admitted: u64 = world.runtimes.iter().map(|runtime| runtime.admitted).sum();
        let share = admitted as f64 / allowed.min(asked) as f64;
        let shares: Vec<f64> =
            world.runtimes.iter().map(|runtime| runtime.admitted as f64 / runtime.asked as f64).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        say(&format!(
            "  {load:?}: {share:.4} of {allowed} admitted, {} from leases, {} calls, shares {shares:.3?}\n",
            world.from_leases, world.calls
        ));
        assert!(share >= least, "seed {seed}, {load:?}: {share} of what is allowed");
        assert!(shares.iter().all(|share| *share >= mean / 2.0), "seed {seed}, {load:?}: {shares:?}");
    }
}

/// As `tollgate prove --lease` judges them from outside, and as it does without it.
#[test]
fn denials_are_explained_by_what_leases_may_hold_back_and_not_without_that() {
    let seed: u64 = rand::random();
    let (mut explained, mut without) = (0, 0);
    for lease_ms in [10, 100, 300] {
        let pause = Load::PauseThenFlood { lease_ns: u64::from(lease_ms) * 1_000_000 };
        for load in [Load::Steady, Load::Uneven, Load::ComesAndGoes, Load::Flood, pause] {
            let spec =
                |lease_us| LimitSpec { burst: Some(4_000), lease_us, ..LimitSpec::new(6_000, Unit::Second) };
            let limit = spec(lease_ms * 1_000).check().expect("sound");
            let mut plan = Plan::calm(&mut SmallRng::seed_from_u64(seed), &limit, load);
            plan.until_ns = 1_500_000_000;
            let world = run(&plan, seed);
            let found = world.denials(&limit);
            assert_eq!(found.unjustified, 0, "seed {seed}, {lease_ms} ms, {load:?}: {found:?}");
            explained += found.held_back;
            without += world.denials(&spec(0).check().expect("sound")).unjustified;
        }
    }
    say(&format!("  {explained} denials are justified by leases alone\n"));
    assert!(explained > 1_000 && explained == without, "seed {seed}: {explained}, {without}");
}

#[test]
fn below_the_limit_nothing_is_denied_and_most_is_decided_without_a_call() {
    let seed: u64 = rand::random();
    let limit = limit(40_000, 20_000);
    let mut plan = Plan::calm(&mut SmallRng::seed_from_u64(seed), &limit, Load::Steady);
    plan.until_ns = 2_000_000_000;
    let world = run(&plan, seed);
    let denied = world.requests.iter().filter(|request| request.allowed != Some(true)).count();
    assert_eq!(denied, 0, "seed {seed}");
    let (asked, from_leases) = (world.requests.len(), world.from_leases);
    assert!(from_leases * 10 > asked * 9, "seed {seed}: {from_leases} of {asked} by a lease");
    assert!(world.calls < asked / 20, "seed {seed}: {} calls for {asked}", world.calls);
}
