//! What one runtime tells Redis and asks it for, and what it shows of a bucket.

use std::{collections::HashMap, iter};

use tollgate_core::{
    decision::{Answer, Demand, LeaseCall, Seen, State, Take, Takes, Verdict, decide, lease},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Limit, LimitSpec, Unit},
};

use super::super::{BATCHES_WITHIN_US, Leases, MOST, MOST_DUE, MOST_WAIT_US, Spent, Whereabouts};
use crate::store::redis::denial_cache::Trip;

const START_US: u64 = 1_800_000_000_000_000;
const KEY: BucketKey = BucketKey::from_bytes([1; 16]);
const SOON_US: u64 = 200;

/// A runtime and the store. A call is answered at once, and its answer arrives a little later.
#[derive(Default)]
struct World {
    leases: Leases,
    table: HashMap<BucketKey, State>,
}

impl World {
    /// The store decides a request, with the calls that travel with it.
    fn ask(&mut self, takes: &Takes, at_us: u64) -> Answer {
        let calls = self.leases.calls(iter::once(takes), at_us);
        self.execute(calls.iter().filter(|call| call.wants == 0), at_us);
        let answer = decide(takes, START_US + at_us, &mut self.table);
        self.execute(calls.iter().filter(|call| call.wants > 0), at_us);
        self.leases.were_charged(takes, &answer);
        answer
    }

    fn execute<'a>(&mut self, calls: impl Iterator<Item = &'a LeaseCall>, at_us: u64) {
        for call in calls {
            let granted = lease(call, START_US + at_us, &mut self.table).expect("no log");
            let trip = Trip { sent_us: at_us, arrived_us: at_us + SOON_US };
            self.leases.landed(call, Some(&granted), trip);
        }
    }

    /// Sends the calls that no request waits for.
    fn send_due(&mut self, at_us: u64) -> Vec<LeaseCall> {
        self.leases.look(at_us);
        let calls = self.leases.due_calls(|_| Whereabouts::Here, at_us);
        self.execute(calls.iter(), at_us);
        calls
    }

    /// Asks so often for one hit at once that a lease is granted.
    fn lease(&mut self, key: BucketKey, limit: &Limit, at_us: u64) {
        let one = takes(key, Hits::One, limit);
        let calls = self.leases.calls(iter::repeat_n(&one, 400), at_us);
        self.execute(calls.iter(), at_us);
        while let Spent::All(_) = self.leases.spend(&one, at_us + SOON_US) {}
        self.send_due(at_us + SOON_US);
        assert!(matches!(self.leases.spend(&one, at_us + 2 * SOON_US), Spent::All(_)), "no lease");
        self.leases.fresh(at_us + 2 * SOON_US);
    }
}

fn key(number: u32) -> BucketKey {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    BucketKey::from_bytes(bytes)
}

fn takes(key: BucketKey, hits: Hits, limit: &Limit) -> Takes {
    iter::once(Take { key, demand: Demand::new(hits, limit) }).collect()
}

fn a_second(requests_per_unit: u32, burst: u32, lease_ms: u32) -> Limit {
    let spec = LimitSpec {
        burst: Some(burst),
        lease_us: lease_ms * 1_000,
        ..LimitSpec::new(requests_per_unit, Unit::Second)
    };
    spec.check().expect("sound")
}

fn window(requests_per_unit: u32, unit: Unit) -> Limit {
    let algorithm = Algorithm::FixedWindow;
    LimitSpec { algorithm, lease_us: 100_000, ..LimitSpec::new(requests_per_unit, unit) }
        .check()
        .expect("sound")
}

#[test]
fn what_is_held_here_denies_nothing_here() {
    let mut world = World::default();
    let limit = a_second(10_000, 1_000, 100);
    world.lease(KEY, &limit, 1_000);
    let spent = decide(&takes(KEY, Hits::Peek, &limit), START_US + 1_000, &mut world.table.clone());
    let full_at = spent.found[0].full_at().whole_us;
    assert!(full_at > START_US + 1_000 + 10_000, "a hundred hits at least are taken or held");
    // More than is left beside what is held.
    let answer = world.ask(&takes(KEY, Hits::Take(500), &limit), 2_000);
    assert_eq!(answer.verdict, Verdict::Allow);
}

#[test]
fn a_key_that_is_asked_for_once_is_not_leased_however_many_hits_it_takes() {
    let mut world = World::default();
    let limit = a_second(1_000, 1_000, 100);
    for (at_us, hits) in [(1_000, 400), (2_000, 500)] {
        let answer = world.ask(&takes(KEY, Hits::Take(hits), &limit), at_us);
        assert_eq!(answer.verdict, Verdict::Allow, "{hits}");
        assert_eq!(world.leases.leased, 0);
    }
}

#[test]
fn hits_are_given_back_that_a_lease_has_spent_and_not_reported() {
    let mut world = World::default();
    let limit = window(1_000, Unit::Day);
    world.lease(KEY, &limit, 1_000);
    let one = takes(KEY, Hits::One, &limit);
    while let Spent::All(_) = world.leases.spend(&one, 1_500) {}
    let spent = world.leases.counts.spent;
    world.ask(&takes(KEY, Hits::GiveBack(spent), &limit), 2_000);
    world.leases.end_all(200_000);
    world.send_due(200_000);
    assert_eq!(world.table.get(&KEY), None, "{spent} taken and given back");
}

#[test]
fn at_the_end_of_a_window_nothing_lapses() {
    let mut world = World::default();
    world.lease(KEY, &window(100_000, Unit::Second), 960_000);
    let next_us = world.leases.look(961_000).expect("a lease");
    world.send_due(next_us + SOON_US);
    assert_eq!(world.leases.counts.lapsed, 0);
    assert!(next_us + SOON_US > 1_000_000, "the call came before the window ended");
}

#[test]
fn what_is_left_is_never_shown_higher_than_the_store_showed_it() {
    let mut world = World::default();
    let limit = a_second(10_000, 10_000, 100);
    world.lease(KEY, &limit, 1_000);
    let shown = |world: &mut World, at_us| match world.leases.spend(&takes(KEY, Hits::One, &limit), at_us) {
        Spent::All(answer) => answer.found[0].full_at().whole_us,
        other => panic!("{other:?}"),
    };
    let before_us = shown(&mut world, 94_000);
    world.ask(&takes(KEY, Hits::Take(30), &limit), 95_000);
    // 31 hits of 100 us each, since a lease shows a bucket as it is before its take.
    assert_eq!(shown(&mut world, 96_000), before_us + 3_100);
}

#[test]
fn a_wait_is_counted_from_now_and_not_from_when_a_lease_was_granted() {
    let (leased, denying) = (a_second(10_000, 10_000, 10_000), a_second(1, 1, 0));
    let mut world = World::default();
    world.lease(KEY, &leased, 1_000);
    let at_us = 9_000_000;
    let rest = takes(key(7), Hits::One, &denying);
    assert_eq!(decide(&rest, START_US + at_us, &mut world.table).verdict, Verdict::Allow);
    let mut both = takes(KEY, Hits::One, &leased);
    both.extend(rest);
    let Spent::Part(part) = world.leases.spend(&both, at_us) else { panic!("a part") };
    let denied = decide(&part.rest, START_US + at_us, &mut world.table);
    let whole = world.leases.settle(&part, Some(denied), at_us + SOON_US).expect("an answer");
    assert_eq!(whole.found[1].full_at().whole_us - whole.now_us, 1_000_000);
    // Wholly from a lease: by the local clock, less its drift.
    let Spent::All(answer) = world.leases.spend(&takes(KEY, Hits::One, &leased), at_us) else {
        panic!("all")
    };
    let behind_us = START_US + at_us - answer.now_us;
    assert!((1..10_000).contains(&behind_us), "{behind_us}");
}

#[test]
fn hits_set_aside_in_a_bucket_that_was_forgotten_are_not_put_back_into_its_successor() {
    let mut world = World::default();
    let limit = a_second(10_000, 100, 10);
    world.leases.look(1_030_000);
    let one = takes(KEY, Hits::One, &limit);
    let mut at_us = 1_985_000;
    let calls = world.leases.calls(iter::repeat_n(&one, 40), at_us);
    world.execute(calls.iter(), at_us);
    let mut both = one.clone();
    both.extend(takes(key(7), Hits::One, &limit));
    let Spent::Part(part) = world.leases.spend(&both, at_us + 500) else { panic!("a part") };
    while !world.leases.buckets.is_empty() {
        at_us += 10_000;
        world.send_due(at_us);
        assert!(at_us < 5_000_000, "the bucket is never forgotten");
    }
    let calls = world.leases.calls(iter::repeat_n(&one, 40), at_us);
    world.execute(calls.iter(), at_us);
    let held: u32 = world.leases.counts.reserved.try_into().expect("few");
    world.leases.settle(&part, None, at_us + 500);
    let mut spent = 0;
    while spent < held && matches!(world.leases.spend(&one, at_us + 600), Spent::All(_)) {
        spent += 1;
    }
    assert!(spent < held, "more was spent than was held: {spent}");
}

#[test]
fn cold_keys_do_not_keep_a_hot_one_from_a_lease() {
    let mut world = World::default();
    let limit = a_second(1_000, 1_000, 100);
    let mut at_us = 10_000_000;
    for number in 0..u32::try_from(MOST + 10_000).expect("few") {
        at_us += 10;
        let one = takes(key(number), Hits::One, &limit);
        // Twice, so that it is worth watching.
        assert!(world.leases.calls(iter::repeat_n(&one, 2), at_us).is_empty());
    }
    at_us += 3_600_000_000;
    world.lease(key(1_000_000), &limit, at_us);
}

#[test]
fn a_due_call_waits_for_a_batch_to_travel_with_and_not_for_long() {
    let mut world = World::default();
    let limit = a_second(10_000, 10_000, 100);
    world.lease(KEY, &limit, 1_000);
    let one = takes(KEY, Hits::One, &limit);
    world.leases.look(2_000);
    world.leases.are_passed_by(2_000);
    while !world.leases.has_fresh() {
        assert!(matches!(world.leases.spend(&one, 2_100), Spent::All(_)), "it is never due");
    }
    assert!(world.leases.fresh(2_100).is_empty() && !world.leases.has_due(2_100), "it is sent at once");
    assert!(world.leases.needs_a_look(2_100), "nobody would look for it");
    assert_eq!(world.leases.look(2_200), Some(2_100 + MOST_WAIT_US));
    world.leases.are_passed_by(3_050);
    assert!(world.leases.has_due(2_100 + MOST_WAIT_US), "it waits longer");
    // None is to be expected soon.
    assert!(world.leases.has_due(3_050 + BATCHES_WITHIN_US));
    assert_eq!(world.send_due(3_200).len(), 1);
}

#[test]
fn a_call_that_travelled_with_a_request_is_not_sent_again() {
    let mut world = World::default();
    let limit = a_second(10_000, 10_000, 100);
    world.lease(KEY, &limit, 1_000);
    let one = takes(KEY, Hits::One, &limit);
    while !world.leases.has_fresh() {
        world.leases.spend(&one, 2_100);
    }
    let calls = world.leases.calls(iter::once(&one), 2_200);
    assert_eq!(calls.len(), 1);
    world.execute(calls.iter(), 2_200);
    // Though more is expected by now.
    let many = iter::repeat_n(one[0], 400).collect::<Vec<_>>();
    world.leases.asked_otherwise(&many, 2_400);
    assert!(world.leases.due_calls(|_| Whereabouts::Here, 2_500).is_empty());
}

#[test]
fn a_steady_key_costs_fewer_than_two_and_a_half_calls_in_each_lease() {
    let mut world = World::default();
    let limit = a_second(100_000, 100_000, 100);
    let one = takes(KEY, Hits::One, &limit);
    let (mut calls, mut asked) = (0, 0);
    // 5,000 a second, and one lease to begin with.
    for at_us in (1_000..2_101_000).step_by(200) {
        let sent = world.send_due(at_us).len();
        calls += if at_us > 101_000 { sent } else { 0 };
        if let Spent::None = world.leases.spend(&one, at_us) {
            world.ask(&one, at_us);
            asked += u32::from(at_us > 101_000);
        }
    }
    assert!((1..50).contains(&calls) && asked == 0, "{calls} calls in 20 leases, {asked} requests");
}

#[test]
fn many_leases_that_end_together_are_reported_some_at_a_time() {
    let mut world = World::default();
    let limit = a_second(1_000, 1_000, 100);
    for number in 0..500 {
        world.lease(key(number), &limit, 1_000);
    }
    let mut reported = 0;
    world.leases.end_all(5_000);
    while world.leases.has_due(5_000) {
        let calls = world.send_due(5_000);
        assert!(calls.len() <= MOST_DUE, "{} in one batch", calls.len());
        reported += calls.len();
        // As often as it is asked to, it lists each only once.
        world.leases.end_all(5_000);
        assert!(world.leases.due.len() <= 500);
    }
    assert_eq!((reported, world.leases.leased, world.leases.counts.lapsed), (500, 0, 0));
}

/// In a Redis Cluster a request may ask for buckets of several masters, each with a clock of its own.
#[test]
fn what_a_lease_shows_goes_by_the_clock_of_its_own_master() {
    let mut world = World::default();
    let limit = a_second(10_000, 10_000, 100);
    let of_masters = [1, 2].map(|number| BucketKey::tagged([number; 16], 7));
    world.lease(of_masters[0], &limit, 1_000);
    let (one, at_us) = (takes(of_masters[0], Hits::One, &limit), 2_000);
    let both: Takes = of_masters.iter().map(|key| takes(*key, Hits::One, &limit)[0]).collect();
    let until_full_us = |answer: &Answer| {
        let Seen::TokenBucket { full_at } = answer.found[0].seen else { panic!("a token bucket") };
        full_at.whole_us.saturating_sub(answer.now_us)
    };
    let Spent::All(before) = world.leases.spend(&one, at_us) else { panic!("all") };
    let Spent::Part(part) = world.leases.spend(&both, at_us) else { panic!("a part") };
    let ahead_us = 5_000_000;
    let rest = decide(&part.rest, START_US + at_us + ahead_us, &mut world.table);
    let whole = world.leases.settle(&part, Some(rest), at_us + SOON_US).expect("an answer");
    assert_eq!(whole.now_us, START_US + at_us + ahead_us);
    let (before_us, whole_us) = (until_full_us(&before), until_full_us(&whole));
    // One hit costs 100 us.
    assert!((before_us..before_us + 1_000).contains(&whole_us), "{whole_us} after {before_us}");
}

/// In a Redis Cluster each request of a batch is a call of its own, and the first one for a bucket carries the call about it.
#[test]
fn a_lease_shows_what_its_bucket_was_charged_after_it_in_the_same_batch() {
    let World { mut leases, mut table } = World::default();
    let one = takes(KEY, Hits::One, &a_second(1_000, 1_000, 100));
    let requests = vec![one.clone(); 100];
    let calls = leases.calls(requests.iter(), 1_000);
    let (mut granted, mut answers) = (None, Vec::new());
    for (takes, now_us) in requests.iter().zip(START_US..) {
        answers.push(decide(takes, now_us, &mut table));
        granted = granted.or_else(|| lease(&calls[0], now_us, &mut table));
    }
    let granted = granted.expect("no log");
    let trip = Trip { sent_us: 1_000, arrived_us: 1_000 + SOON_US };
    leases.batch_landed(iter::once((&calls[0], Some(&granted))), requests.iter().zip(&answers), trip);
    let Spent::All(shown) = leases.spend(&one, 1_000 + SOON_US) else { panic!("no lease") };
    let charged_us = 100 * 1_000;
    assert_eq!(shown.found[0].full_at().whole_us, START_US + charged_us);
}
