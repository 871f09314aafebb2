//! Clients, runtimes, masters and what travels between them, in the order of one virtual time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    audit::{Elapsed, Taken, bucket_of, hits, is_refund},
    plan::Plan,
};
use tollgate::store::{
    StoreError,
    redis::{
        denial_cache::{DenialCache, Refunds, Trip},
        dispatch::{
            self, Dispatched, Dispatcher,
            queue::{Batch, MOST_UNDER_WAY},
        },
        legs::{Legs, Todo},
    },
};
use tollgate_core::{
    decision::{Answer, Kind, State, Takes, Verdict, decide},
    descriptor::BucketKey,
};

/// Where a leg was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Via {
    shard: usize,
    connection: u32,
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
    is_executed: Vec<bool>,
}

#[derive(Debug)]
enum Event {
    Ask,
    Next { runtime: usize, shard: usize },
    Execute { sent: usize, shard: usize, which: Vec<usize>, round: u32 },
    Land { sent: usize },
    Deadline { sent: usize },
    Undo { runtime: usize, via: Via, slot: u16, takes: Takes },
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
        let refunds: Vec<Arc<Refunds>> = plan.runtimes.iter().map(|_| Arc::default()).collect();
        let runtime = |&(replica, _): &(usize, _)| Runtime {
            dispatchers: plan.shards.iter().map(|_| Dispatcher::new(plan.deadline_us)).collect(),
            idle: vec![MOST_UNDER_WAY; plan.shards.len()],
            memory: match plan.has_memory {
                true => DenialCache::sharing(&refunds[replica]),
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
                Event::Undo { runtime, via, slot, takes } => self.undo(runtime, via, slot, takes),
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

    fn clock_us(&self, shard: usize) -> u64 {
        self.plan.shards[shard].now_us(self.now_ns) + self.shards[shard].ahead_us
    }

    // === requests ===

    fn ask(&mut self) {
        if self.now_ns > self.plan.until_ns {
            return;
        }
        let gap_ns = self.rng.random_range(self.plan.gap_ns.clone());
        self.schedule(gap_ns, Event::Ask);
        let takes = self.plan.request(&mut self.rng);
        let whole = decide(&takes, self.plan.shards[0].now_us(self.now_ns), &mut self.one_store);
        self.admitted_by_one_store += usize::from(whole.verdict == Verdict::Allow);
        let (plan, request) = (self.plan, self.requests.len());
        let runtime = self.rng.random_range(0..self.runtimes.len());
        let mut legs = Legs::new(takes.clone(), |key| plan.slot(key));
        if legs.slots().count() == 1 {
            self.requests.push(Request { runtime, legs: None, told: None });
            return self.dispatch(request, 0, plan.slot(&takes[0].key), takes);
        }
        let local_us = self.local_us(runtime);
        let todos = legs.begin(&mut self.runtimes[runtime].memory, local_us);
        self.requests.push(Request { runtime, legs: Some(legs), told: None });
        todos.into_iter().for_each(|todo| self.carry_out(request, todo));
    }

    fn carry_out(&mut self, request: usize, todo: Todo<Via>) {
        match todo {
            Todo::Ask { leg, slot, takes } => self.dispatch(request, leg, slot, takes),
            Todo::GiveBack { slot, over, takes } => {
                self.undone += 1;
                if !self.rng.random_bool(self.plan.give_back_lost) {
                    let (runtime, way_ns) = (self.requests[request].runtime, self.way_ns());
                    self.schedule(way_ns, Event::Undo { runtime, via: over, slot, takes });
                }
            }
            Todo::Done(outcome) => self.tell(request, outcome),
        }
    }

    fn tell(&mut self, request: usize, outcome: Result<Answer, StoreError>) {
        let told = self.requests[request].told.replace(outcome.ok().map(|answer| answer.verdict));
        if told.is_some() {
            self.broken = Some(format!("request {request} is answered twice"));
        }
    }

    fn dispatch(&mut self, request: usize, leg: usize, slot: u16, takes: Takes) {
        let number = self.requests[request].runtime;
        let local_us = self.local_us(number);
        let runtime = &mut self.runtimes[number];
        let shard = runtime.owners[usize::from(slot)];
        let ticket = || (Ticket { request, leg, post: Rc::clone(&self.post) }, ());
        match runtime.dispatchers[shard].dispatch(takes, ticket, &mut runtime.memory, local_us) {
            Dispatched::Denied(denial) => self.post.borrow_mut().push((request, leg, Ok(denial))),
            Dispatched::Refused(error) => self.post.borrow_mut().push((request, leg, Err(error))),
            Dispatched::Queued(()) => self.wake(number, shard),
        }
    }

    fn deliver(&mut self) {
        loop {
            let Some((request, leg, answer)) = self.post.borrow_mut().pop() else { return };
            let via = self.made.get(&(request, leg)).copied().unwrap_or_default();
            match &mut self.requests[request].legs {
                None => self.tell(request, answer),
                Some(legs) => {
                    let todos = legs.answered(leg, answer.map(|answer| (answer, via)));
                    todos.into_iter().for_each(|todo| self.carry_out(request, todo));
                }
            }
        }
    }

    // === batches ===

    fn wake(&mut self, runtime: usize, shard: usize) {
        if let Some(idle) = self.runtimes[runtime].idle[shard].checked_sub(1) {
            self.runtimes[runtime].idle[shard] = idle;
            self.schedule(10_000, Event::Next { runtime, shard });
        }
    }

    fn next(&mut self, number: usize, shard: usize) {
        let local_us = self.local_us(number);
        let runtime = &mut self.runtimes[number];
        let Some(batch) = runtime.dispatchers[shard].next(&mut runtime.memory, local_us) else {
            runtime.idle[shard] += 1;
            return;
        };
        let (sent, count) = (self.sent.len(), batch.requests.len());
        let via = Via { shard, connection: self.shards[shard].connection };
        let answers = vec![None; count];
        let asked = batch.requests.iter();
        let asked = asked.map(|one| (one.ticket.request, one.ticket.leg, one.takes.clone())).collect();
        self.calls += count;
        self.sent.push(Sent {
            runtime: number,
            via,
            batch: Some(batch),
            asked,
            answers,
            is_executed: vec![false; count],
        });
        self.schedule(self.plan.deadline_us * 1_000, Event::Deadline { sent });
        if !self.rng.random_bool(self.plan.lost) {
            let way_ns = self.way_ns();
            self.schedule(way_ns, Event::Execute { sent, shard, which: (0..count).collect(), round: 0 });
        }
    }

    /// Each request of a batch is answered alone, and one whose slot is elsewhere is sent on.
    fn execute(&mut self, sent: usize, shard: usize, which: Vec<usize>, round: u32) {
        let via = Via { shard, connection: self.shards[shard].connection };
        let is_given_up = self.sent[sent].batch.is_none();
        if round == 0 && self.sent[sent].via != via || round > 0 && is_given_up {
            return;
        }
        let mut elsewhere: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for one in which {
            let (request, leg, takes) = self.sent[sent].asked[one].clone();
            let slot = usize::from(self.plan.slot(&takes[0].key));
            let owner = self.owners[slot];
            if owner != shard {
                self.redirected += 1;
                let runtime = self.sent[sent].runtime;
                self.runtimes[runtime].owners[slot] = owner;
                elsewhere.entry(owner).or_default().push(one);
                continue;
            }
            if std::mem::replace(&mut self.sent[sent].is_executed[one], true) {
                self.broken = Some(format!("leg {leg} of request {request} is executed twice"));
            }
            let answer = self.decide(shard, request, &takes);
            if !is_given_up {
                self.made.insert((request, leg), via);
                self.sent[sent].answers[one] = Some(Ok(answer));
            }
        }
        for (owner, which) in elsewhere {
            if round < 3 {
                let way_ns = self.way_ns() + self.way_ns();
                self.schedule(way_ns, Event::Execute { sent, shard: owner, which, round: round + 1 });
            }
        }
        if !is_given_up
            && self.sent[sent].answers.iter().all(Option::is_some)
            && !self.rng.random_bool(self.plan.lost)
        {
            let way_ns = self.way_ns();
            self.schedule(way_ns, Event::Land { sent });
        }
    }

    fn decide(&mut self, number: usize, request: usize, takes: &Takes) -> Answer {
        let clock_us = self.clock_us(number);
        let shard = &mut self.shards[number];
        for take in takes {
            shard.changes.push((self.now_ns, take.key, shard.buckets.get(&take.key).cloned()));
        }
        let answer = decide(takes, clock_us, &mut shard.buckets);
        for (take, found) in takes.iter().zip(&answer.found) {
            if !take.is_charged(found, answer.verdict) {
                continue;
            }
            let slot = usize::from(self.plan.slot(&take.key));
            let (at_us, bucket) = (self.elapsed[slot].at(clock_us), bucket_of(take));
            let amount = hits(take, &self.plan.buckets[bucket].limit);
            let taken = |hits| Taken { request, bucket, at_us, at_ns: self.now_ns, hits, is_lost: false };
            match take.demand.kind {
                Kind::Take => self.taken.push(taken(amount)),
                Kind::GiveBack if is_refund(take) => {
                    self.taken.push(taken(-amount));
                    self.refunded_by.push(request);
                }
                _ => {}
            }
        }
        answer
    }

    fn land(&mut self, sent: usize, error: Option<StoreError>) {
        let Some(batch) = self.sent[sent].batch.take() else { return };
        let (number, shard) = (self.sent[sent].runtime, self.sent[sent].via.shard);
        let answers = self.sent[sent].answers.drain(..).flatten().collect::<Vec<_>>();
        let answers = error.map_or(Ok(answers), Err);
        let local_us = self.local_us(number);
        let runtime = &mut self.runtimes[number];
        runtime.dispatchers[shard].landed(batch, answers, &mut runtime.memory, local_us);
        self.next(number, shard);
    }

    fn undo(&mut self, runtime: usize, via: Via, slot: u16, takes: Takes) {
        let shard = via.shard;
        let is_there = self.owners[usize::from(slot)] == shard;
        // The connection is gone, or the slot has moved.
        if self.shards[shard].connection != via.connection || !is_there {
            return;
        }
        let answer = self.decide(shard, usize::MAX, &takes);
        let (way_ns, sent_us) = (self.way_ns(), self.local_us(runtime));
        self.schedule(way_ns, Event::Learn { runtime, takes, answer, sent_us });
    }

    // === what happens to masters ===

    fn move_slot(&mut self) {
        let slot = self.rng.random_range(0..self.owners.len());
        // One that came back within the time of a give-back would be as a clock that steps forward and back.
        if std::mem::replace(&mut self.has_moved[slot], true) {
            return;
        }
        let (from, to) = (self.owners[slot], self.rng.random_range(0..self.shards.len()));
        let (old_us, new_us) = (self.clock_us(from), self.clock_us(to));
        let keys: Vec<BucketKey> = self.shards[from].buckets.keys().copied().collect();
        for key in keys.into_iter().filter(|key| usize::from(self.plan.slot(key)) == slot) {
            let state = self.shards[from].buckets.remove(&key);
            self.shards[to].buckets.extend(state.map(|state| (key, state)));
        }
        self.elapsed[slot] = self.elapsed[slot].passes(old_us, new_us);
        self.owners[slot] = to;
        // A replica of either has received this.
        self.shards[from].changes.clear();
        self.shards[to].changes.clear();
    }

    /// A replica takes over, with a clock of its own, and without what it had not received.
    fn fail_over(&mut self, behind_ns: u64) {
        let number = self.rng.random_range(0..self.shards.len());
        let old_us = self.clock_us(number);
        let since_ns = self.now_ns.saturating_sub(behind_ns);
        let shard = &mut self.shards[number];
        let mut lost_since_ns = self.now_ns;
        while let Some((at_ns, key, before)) = shard.changes.pop_if(|change| change.0 >= since_ns) {
            lost_since_ns = at_ns;
            match before {
                Some(state) => shard.buckets.insert(key, state),
                None => shard.buckets.remove(&key),
            };
        }
        shard.changes.clear();
        shard.connection += 1;
        shard.ahead_us += self.rng.random_range(0..100_000);
        let new_us = self.clock_us(number);
        for slot in (0..self.owners.len()).filter(|slot| self.owners[*slot] == number) {
            self.elapsed[slot] = self.elapsed[slot].passes(old_us, new_us);
        }
        let (plan, owners) = (self.plan, &self.owners);
        let is_lost = |taken: &Taken| {
            let slot = plan.slot(&plan.buckets[taken.bucket].key);
            owners[usize::from(slot)] == number && taken.at_ns >= lost_since_ns
        };
        self.taken.iter_mut().filter(|taken| is_lost(taken)).for_each(|taken| taken.is_lost = true);
        self.failovers += 1;
    }
}
