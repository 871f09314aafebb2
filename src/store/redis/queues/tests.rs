//! Answers from leases that wait for a batch: they leave, and in time, whatever happens to the batches.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    iter,
};

use proptest::{collection::vec, prelude::*};
use smallvec::SmallVec;
use tokio::sync::oneshot::Receiver;

use super::{Answers, Departure, Queues};
use crate::store::{
    StoreError,
    redis::{
        denial_cache::{DenialCache, Shared, Trip},
        dispatch::{self, Dispatched, queue::MOST_UNDER_WAY},
        leases::{Leases, Spent},
        riders::{Boarded, NEAR_US},
    },
};
use tollgate_core::{
    decision::{self, Answer, AnswerSource, Demand, State, Take, Takes, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Limit, LimitSpec, Unit},
};

const DEADLINE_US: u64 = 10_000;
const STORE_US: u64 = 1_800_000_000_000_000;
/// A timer and a task are late by no more than this.
const LATE_US: u64 = 1_000;
/// An answer boards within a millisecond after a batch was sent, which may land just before it is late, and be followed by
/// another.
const MOST_WAIT_US: u64 = 2 * (NEAR_US + LATE_US);

#[derive(Debug)]
struct Nobody;

impl dispatch::Ticket for Nobody {
    fn is_gone(&self) -> bool {
        false
    }

    fn answer(self, _: Result<Answer, StoreError>) {}
}

fn answer(source: AnswerSource) -> Answer {
    Answer { now_us: 1, verdict: Verdict::Allow, found: SmallVec::new(), malformed: 0, source }
}

fn takes(number: u8) -> Takes {
    let limit = Limit::new(1, Unit::Second, Some(1)).unwrap();
    Takes::from_elem(
        Take { key: BucketKey::from_bytes([number; 16]), demand: Demand::new(Hits::One, &limit) },
        1,
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request,
    Rider,
    Woken,
    Lands(usize),
    IsLate(usize),
}

/// An answer that waits, since when, and for how long it has waited.
struct Ride {
    leaves: Receiver<Result<Answer, StoreError>>,
    since_us: u64,
    took_us: Option<u64>,
}

/// One runtime, driven as `batches.rs` drives it.
struct World {
    queues: Queues<Nobody>,
    now_us: u64,
    agenda: BinaryHeap<Reverse<(u64, Event)>>,
    idle: usize,
    permit: bool,
    sent: Vec<Option<Departure<Nobody>>>,
    trips_us: Vec<u64>,
    rides: Vec<Ride>,
}

impl World {
    fn new(trips_us: Vec<u64>) -> World {
        World {
            queues: Queues::new(DEADLINE_US, DenialCache::off(), Leases::default()),
            now_us: 1_000_000,
            agenda: BinaryHeap::new(),
            idle: MOST_UNDER_WAY,
            permit: false,
            sent: Vec::new(),
            trips_us,
            rides: Vec::new(),
        }
    }

    fn after(&mut self, us: u64, event: Event) {
        self.agenda.push(Reverse((self.now_us + us, event)));
    }

    fn wake(&mut self) {
        match self.idle.checked_sub(1) {
            Some(idle) => {
                self.idle = idle;
                self.after(5, Event::Woken);
            }
            None => self.permit = true,
        }
    }

    fn next(&mut self) {
        loop {
            if let Some(departure) = self.queues.next(true, self.now_us) {
                let number = self.sent.len();
                self.sent.push(Some(departure));
                self.after(self.trips_us[number % self.trips_us.len()], Event::Lands(number));
                return self.after(NEAR_US + LATE_US, Event::IsLate(number));
            }
            if !std::mem::take(&mut self.permit) {
                self.idle += 1;
                return;
            }
        }
    }

    fn rides(&mut self) {
        if !self.queues.leases.are_often_passed_by(self.now_us) {
            return;
        }
        match self.queues.riders.board(answer(AnswerSource::Lease)) {
            Boarded::Not(_) => {}
            Boarded::First(leaves) => {
                self.rides.push(Ride { leaves, since_us: self.now_us, took_us: None });
                self.wake();
            }
            Boarded::With(leaves) => {
                self.rides.push(Ride { leaves, since_us: self.now_us, took_us: None });
            }
        }
    }

    fn lands(&mut self, number: usize) {
        let departure = self.sent[number].take().unwrap();
        let trip = Trip { sent_us: departure.batch.sent_us, arrived_us: self.now_us };
        let is_lost = trip.arrived_us - trip.sent_us >= DEADLINE_US;
        let requests = departure.batch.requests.iter().map(|_| answer(AnswerSource::Store)).collect();
        let answers = Answers { requests, granted: Vec::new() };
        let answers = if is_lost { Err(StoreError::Deadline) } else { Ok(answers) };
        self.queues.landed(departure, answers, trip);
        self.next();
    }

    fn run(&mut self) {
        while let Some(Reverse((at_us, event))) = self.agenda.pop() {
            self.now_us = at_us;
            match event {
                Event::Request => {
                    let queued = self.queues.ask(takes(1), || (Nobody, ()), true, at_us);
                    if let Dispatched::Queued(()) = queued {
                        self.wake();
                    }
                }
                Event::Rider => self.rides(),
                Event::Woken => self.next(),
                Event::Lands(number) => self.lands(number),
                Event::IsLate(number) if self.sent[number].is_some() => self.queues.riders.are_late(),
                Event::IsLate(_) => {}
            }
            for ride in self.rides.iter_mut().filter(|ride| ride.took_us.is_none()) {
                ride.took_us = ride.leaves.try_recv().is_ok().then_some(at_us - ride.since_us);
            }
        }
    }
}

/// The time until the next arrival, and whether a lease answers it.
fn arrivals() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let gap_us = prop_oneof![8 => 0_u64..100, 4 => 0_u64..1_500, 1 => 0_u64..30_000];
    vec((gap_us, any::<bool>()), 1..400)
}

fn trips() -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![8 => 100_u64..NEAR_US, 1 => NEAR_US..DEADLINE_US, 1 => Just(DEADLINE_US)], 1..40)
}

proptest! {
    #[test]
    fn each_answer_from_a_lease_leaves_and_soon_whatever_becomes_of_the_batches(
        arrivals in arrivals(),
        trips_us in trips(),
    ) {
        let mut world = World::new(trips_us);
        let mut at_us = 0;
        for (gap_us, is_leased) in arrivals {
            at_us += gap_us;
            world.after(at_us, if is_leased { Event::Rider } else { Event::Request });
        }
        world.run();
        for ride in &world.rides {
            prop_assert!(ride.took_us.is_some_and(|took_us| took_us <= MOST_WAIT_US), "{:?}", ride.took_us);
        }
        prop_assert!(world.queues.riders.is_empty());
    }
}

#[test]
fn most_answers_from_leases_leave_with_others_where_redis_is_near_and_busy() {
    let mut world = World::new(vec![400]);
    for number in 0..4_000 {
        world.after(number * 25, if number % 3 == 0 { Event::Rider } else { Event::Request });
    }
    world.run();
    let waited = world.rides.iter().filter(|ride| ride.took_us.is_some_and(|took_us| took_us > 5)).count();
    assert!(waited > 1_000, "{waited} of {}", world.rides.len());
}

#[test]
fn no_answer_waits_for_a_request_that_waits_for_another_runtime() {
    let shared = Shared::default();
    let [mut here, other] = [(); 2].map(|()| DenialCache::sharing(&shared));
    let emptied = decision::decide(&takes(1), 1, &mut HashMap::new());
    here.learn(&takes(1), &emptied, Trip { sent_us: 0, arrived_us: 1 });
    let mut queues = Queues::new(DEADLINE_US, here, Leases::default());
    let now_us = 999_000;
    assert!(other.asks(takes(1)[0].key, now_us).is_none());
    let queued = queues.ask(takes(1), || (Nobody, ()), true, now_us);
    assert!(matches!(queued, Dispatched::Queued(())));
    let Boarded::First(mut leaves) = queues.riders.board(answer(AnswerSource::Lease)) else {
        panic!("a ride")
    };
    assert!(queues.next(true, now_us).is_none() && queues.dispatcher.looks_again_us().is_some());
    assert!(leaves.try_recv().is_ok());
}

/// A runtime with a lease of the bucket of these takes, and the store.
fn leased() -> (Queues<Nobody>, Takes, HashMap<BucketKey, State>) {
    let spec = LimitSpec { lease_us: 1_000_000, ..LimitSpec::new(1_000, Unit::Second) };
    let demand = Demand::new(Hits::One, &spec.check().unwrap());
    let takes = Takes::from_elem(Take { key: BucketKey::from_bytes([1; 16]), demand }, 1);
    let (mut leases, mut table) = (Leases::default(), HashMap::new());
    let calls = leases.calls(iter::repeat_n(&takes, 100), 1_000);
    let granted = decision::lease(&calls[0], STORE_US, &mut table);
    leases.landed(&calls[0], granted.as_ref(), Trip { sent_us: 1_000, arrived_us: 1_100 });
    (Queues::new(DEADLINE_US, DenialCache::off(), leases), takes, table)
}

/// When the bucket would be full again as a lease shows it, in microseconds; one hit is spent.
fn shown_us(queues: &mut Queues<Nobody>, takes: &Takes) -> u64 {
    match queues.leases.spend(takes, 2_000) {
        Spent::All(answer) => answer.found[0].full_at().whole_us,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_lease_has_spent_is_reported_when_there_is_a_connection_again() {
    let (mut queues, takes, _) = leased();
    while let Spent::All(_) = queues.leases.spend(&takes, 2_000) {}
    queues.leases.are_passed_by(2_000);
    assert!(queues.next(true, 2_500).is_none(), "a batch may come with which it can travel");
    assert!(queues.next(false, 3_500).is_none(), "it would be lost");
    let departure = queues.next(true, 4_000).expect("it is still due");
    assert!(departure.leases[0].spent > 0, "{departure:?}");
}

#[test]
fn a_lease_shows_what_the_store_has_charged_since() {
    let (mut queues, takes, mut table) = leased();
    let before_us = shown_us(&mut queues, &takes);
    queues.ask(takes.clone(), || (Nobody, ()), true, 2_000);
    let departure = queues.next(true, 2_000).expect("a batch");
    let requests = vec![decision::decide(&takes, STORE_US + 1_000, &mut table)];
    let answers = Answers { requests, granted: Vec::new() };
    queues.landed(departure, Ok(answers), Trip { sent_us: 2_000, arrived_us: 2_100 });
    assert_eq!(shown_us(&mut queues, &takes), before_us + 2_000, "one from the lease, one from the store");
}

#[test]
fn a_lease_shows_what_the_store_has_charged_after_its_report_in_the_same_batch() {
    let (mut queues, takes, mut table) = leased();
    let before_us = shown_us(&mut queues, &takes);
    let limit = LimitSpec { lease_us: 1_000_000, ..LimitSpec::new(1_000, Unit::Second) }.check().unwrap();
    let refund = Takes::from_elem(Take { demand: Demand::new(Hits::GiveBack(0), &limit), ..takes[0] }, 1);
    for request in [refund, takes.clone()] {
        queues.ask(request, || (Nobody, ()), true, 2_000);
    }
    let departure = queues.next(true, 2_000).expect("a batch");
    assert_eq!(departure.leases.iter().map(|call| (call.spent, call.wants)).collect::<Vec<_>>(), [(1, 0)]);
    let granted =
        departure.leases.iter().filter_map(|call| decision::lease(call, STORE_US, &mut table)).collect();
    let requests = departure.batch.requests.iter();
    let requests = requests.map(|request| decision::decide(&request.takes, STORE_US, &mut table)).collect();
    queues.landed(departure, Ok(Answers { requests, granted }), Trip { sent_us: 2_000, arrived_us: 2_100 });
    assert_eq!(shown_us(&mut queues, &takes), before_us + 2_000, "one from the lease, one from the store");
}

#[test]
fn a_lease_ends_at_once_when_its_limit_has_none_any_more() {
    let (mut queues, takes, _) = leased();
    shown_us(&mut queues, &takes);
    let limit = LimitSpec::new(1_000, Unit::Second).check().unwrap();
    let unleased = Takes::from_elem(Take { demand: Demand::new(Hits::One, &limit), ..takes[0] }, 1);
    let Queues { dispatcher, denial_cache, .. } = &mut queues;
    dispatcher.dispatch(unleased, || (Nobody, ()), denial_cache, 2_000);
    let departure = queues.next(true, 2_000).expect("a batch");
    // What it held comes back before the request is decided.
    let returned = departure.leases.iter().map(|call| (call.spent, call.kept, call.wants));
    assert_eq!(returned.collect::<Vec<_>>(), [(1, 0, 0)]);
}
