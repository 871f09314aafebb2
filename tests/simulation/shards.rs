//! Requests over several masters of a Redis Cluster: no limit admits more than its burst and its refill, by the clock of
//! the master that holds its bucket.
//!
//! Dispatchers, denial caches, legs and `decide` are those of production. Masters have clocks of their own, 100 ms and
//! 200 ppm apart; slots move between them under load; batches and one give-back in 500 are lost; and masters fail and
//! lose what their replica had not received.

mod audit;
mod plan;
mod world;

use rand::{SeedableRng, rngs::SmallRng};

use super::{Tally, for_seeds};
use plan::{Plan, Scene};
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
fn over_several_masters_no_limit_admits_more_than_burst_and_refill() {
    let (mut requests, mut undone, mut moved, mut failed) = (0, 0, 0, 0);
    let tally = for_seeds("several masters", 20.0, |seed, tally: &mut Tally| {
        let plan = Plan::rough(&mut SmallRng::seed_from_u64(seed));
        let world = run(&plan, seed);
        tally.decisions += world.requests.len();
        requests += world.requests.iter().filter(|request| request.legs.is_some()).count();
        undone += world.undone;
        moved += world.redirected;
        failed += world.failovers;
    });
    let told = format!("{requests} over several, {undone} undone, {moved} redirected, {failed} failovers");
    super::say(&format!("  of these: {told}\n"));
    assert!(
        tally.seeds < 20 || undone > requests / 100 && moved > 0 && failed > 0,
        "the test is too gentle: {told}"
    );
}

/// The price: how much less is admitted than one store would that decides each request whole and at once.
#[test]
fn legs_admit_little_less_than_one_store_would() {
    for scene in Scene::ALL {
        let (mut admitted, mut of_one_store, mut asked, mut calls) = (0, 0, 0, 0);
        for seed in 0..6 {
            let plan = Plan::of(scene, &mut SmallRng::seed_from_u64(seed));
            let world = run(&plan, seed);
            admitted += world.admitted();
            of_one_store += world.admitted_by_one_store;
            asked += world.requests.len();
            calls += world.calls;
        }
        #[allow(clippy::cast_precision_loss, reason = "figures to be read")]
        let [percent, each] = [admitted as f64 / of_one_store as f64 * 100.0, calls as f64 / asked as f64];
        super::say(&format!(
            "  {scene:?}: {percent:.1} % of one store's admissions, {each:.2} calls for each request\n"
        ));
        assert!(percent > scene.least_percent(), "{scene:?}: {percent:.1} %");
    }
}
