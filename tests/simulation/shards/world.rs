//! Clients, runtimes, masters and what travels between them, in the order of one virtual time.

mod batches;
mod masters;
mod requests;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    audit::{Elapsed, Taken},
    plan::Plan,
};
use tollgate::store::{
    StoreError,
    redis::{
        denial_cache::{DenialCache, Shared, Trip},
        dispatch::{
            self, Dispatcher,
            queue::{Batch, MOST_UNDER_WAY},
        },
        legs::Legs,
    },
};
use tollgate_core::{
    decision::{Answer, State, Takes, Verdict},
    descriptor::BucketKey,
};

/// Where a leg was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Via {
    shard: usize,
    connection: u32,
}

/// What a master charged, as it happened, whatever its client learns of it.
#[derive(Debug)]
struct Charge {
    via: Via,
    /// By the clock of the master.
    at_us: u64,
    takes: Takes,
    is_undone: bool,
}

type Answered = (usize, usize, Result<Answer, StoreError>);

/// A leg that waits for its answer.
#[derive(Debug)]
struct Ticket {
    request: usize,
    leg: usize,
    post: Rc<RefCell<Vec<Answered>>>,
}

impl dispatch::Ticket for Ticket {
    fn is_gone(&self) -> bool {
        false
    }

    fn answer(self, answer: Result<Answer, StoreError>) {
        self.post.borrow_mut().push((self.request, self.leg, answer));
    }
}

#[derive(Debug)]
pub(super) struct Request {
    runtime: usize,
    /// None if it lies in one slot.
    pub(super) legs: Option<Legs<Via>>,
    /// None until it is answered; then the verdict, or none if the store failed.
    pub(super) told: Option<Option<Verdict>>,
}

#[derive(Debug)]
struct Shard {
    buckets: HashMap<BucketKey, State>,
    /// Each change, with the state before, so that a replica can take over that has not received the last ones.
    changes: Vec<(u64, BucketKey, Option<State>)>,
    connection: u32,
    /// How far the clock of the present master is ahead of the planned one.
    ahead_us: u64,
}

#[derive(Debug)]
struct Runtime {
    dispatchers: Vec<Dispatcher<Ticket>>,
    idle: Vec<usize>,
    memory: DenialCache,
    owners: Vec<usize>,
}

#[derive(Debug)]
struct Sent {
    runtime: usize,
    via: Via,
    /// None if it has landed. It may be executed all the same.
    batch: Option<Batch<Ticket>>,
    /// Request, leg, and what is asked.
    asked: Vec<(usize, usize, Takes)>,
    answers: Vec<Option<Result<Answer, StoreError>>>,
}

#[derive(Debug)]
enum Event {
    Ask,
    Next { runtime: usize, shard: usize },
    Execute { sent: usize, shard: usize, which: Vec<usize>, round: u32 },
    Land { sent: usize },
    Deadline { sent: usize },
    Undo { request: usize, via: Via, slot: u16, takes: Takes },
    Learn { runtime: usize, takes: Takes, answer: Answer, sent_us: u64 },
    Move,
    Fail { behind_ns: u64 },
}

#[derive(Debug)]
pub(super) struct World<'p> {
    pub(super) plan: &'p Plan,
    rng: SmallRng,
    now_ns: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    shards: Vec<Shard>,
    owners: Vec<usize>,
    has_moved: Vec<bool>,
    elapsed: Vec<Elapsed>,
    runtimes: Vec<Runtime>,
    pub(super) requests: Vec<Request>,
    sent: Vec<Sent>,
    post: Rc<RefCell<Vec<Answered>>>,
    /// Where each leg was decided last.
    made: HashMap<(usize, usize), Via>,
    /// How often each leg was asked and that was not executed.
    open: HashMap<(usize, usize), usize>,
    /// Where the takes of a request in a slot were charged, when, and what they were.
    charged: HashMap<(usize, u16), Charge>,
    pub(super) taken: Vec<Taken>,
    pub(super) refunded_by: Vec<usize>,
    pub(super) broken: Option<String>,
    /// The number of calls, of legs that were undone, of those that were sent on, and of failovers.
    pub(super) calls: usize,
    pub(super) undone: usize,
    pub(super) redirected: usize,
    pub(super) failovers: usize,
    one_store: HashMap<BucketKey, State>,
    pub(super) admitted_by_one_store: usize,
}

// === impl World ===

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, seed: u64) -> World<'p> {
        let owners: Vec<usize> = (0..plan.slots()).map(|slot| plan.first_owner(slot)).collect();
        let denials: Vec<Shared> = plan.runtimes.iter().map(|_| Shared::default()).collect();
        let runtime = |&(replica, _): &(usize, _)| Runtime {
            dispatchers: plan.shards.iter().map(|_| Dispatcher::new(plan.deadline_us)).collect(),
            idle: vec![MOST_UNDER_WAY; plan.shards.len()],
            memory: match plan.has_memory {
                true => DenialCache::sharing(&denials[replica]),
                false => DenialCache::off(),
            },
            owners: owners.clone(),
        };
        let shard = |_| Shard { buckets: HashMap::new(), changes: Vec::new(), connection: 0, ahead_us: 0 };
        World {
            plan,
            rng: SmallRng::seed_from_u64(!seed),
            now_ns: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            elapsed: owners.iter().map(|owner| Elapsed::new(plan.shards[*owner].now_us(0))).collect(),
            shards: plan.shards.iter().map(shard).collect(),
            runtimes: plan.runtimes.iter().map(runtime).collect(),
            has_moved: vec![false; owners.len()],
            owners,
            requests: Vec::new(),
            sent: Vec::new(),
            post: Rc::default(),
            made: HashMap::new(),
            open: HashMap::new(),
            charged: HashMap::new(),
            taken: Vec::new(),
            refunded_by: Vec::new(),
            broken: None,
            calls: 0,
            undone: 0,
            redirected: 0,
            failovers: 0,
            one_store: HashMap::new(),
            admitted_by_one_store: 0,
        }
    }

    pub(super) fn run(&mut self) {
        (0..self.plan.clients).for_each(|_| self.schedule(0, Event::Ask));
        self.plan.moves_ns.iter().for_each(|at_ns| self.schedule(*at_ns, Event::Move));
        for &(at_ns, behind_ns) in &self.plan.failovers_ns {
            self.schedule(at_ns, Event::Fail { behind_ns });
        }
        while let Some(((at_ns, _), event)) = self.agenda.pop_first() {
            self.now_ns = at_ns;
            match event {
                Event::Ask => self.ask(),
                Event::Next { runtime, shard } => self.next(runtime, shard),
                Event::Execute { sent, shard, which, round } => self.execute(sent, shard, which, round),
                Event::Land { sent } => self.land(sent, None),
                Event::Deadline { sent } => self.land(sent, Some(StoreError::Deadline)),
                Event::Undo { request, via, slot, takes } => self.undo(request, via, slot, &takes),
                Event::Learn { runtime, takes, answer, sent_us } => {
                    let trip = Trip { sent_us, arrived_us: self.local_us(runtime) };
                    self.runtimes[runtime].memory.learn(&takes, &answer, trip);
                }
                Event::Move => self.move_slot(),
                Event::Fail { behind_ns } => self.fail_over(behind_ns),
            }
            self.deliver();
        }
    }

    fn schedule(&mut self, after_ns: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.now_ns + after_ns, self.scheduled), event);
    }

    fn way_ns(&mut self) -> u64 {
        self.rng.random_range(self.plan.way_ns.clone())
    }

    fn local_us(&self, runtime: usize) -> u64 {
        self.plan.runtimes[runtime].1.now_us(self.now_ns)
    }

    fn breaks(&mut self, promise: String) {
        self.broken.get_or_insert(promise);
    }

    fn clock_us(&self, shard: usize) -> u64 {
        self.plan.shards[shard].now_us(self.now_ns) + self.shards[shard].ahead_us
    }
}
