//! Requests, and the batches and calls about leases that travel for them.

use std::rc::Rc;

use rand::RngExt;

use super::world::{Event, Held, Leased, Request, Ride, Sent, Ticket, World};
use tollgate::store::{
    StoreError,
    redis::{
        denial_cache::Trip,
        dispatch::Dispatched,
        leases::Spent,
        queues::Answers,
        riders::{Boarded, NEAR_US},
    },
};
use tollgate_core::decision::{Answer, Seen, Takes};

const BUSY_NS: u64 = 20_000;
/// A timer is late by no more than this, and a slot that was woken by no more than that.
const LATE_NS: u64 = 1_000_000;
const WOKEN_NS: u64 = 50_000;
/// An answer boards within a millisecond after a batch was sent, which may land just before it is late, and be followed by
/// another.
pub(super) const MOST_RIDE_NS: u64 = 2 * (NEAR_US * 1_000 + LATE_NS) + WOKEN_NS;

impl World<'_> {
    pub(super) fn ask(&mut self, runtime: usize) {
        let edition = self.editions[self.plan.runtimes[runtime].0];
        let request = self.requests.len();
        let wishes = self.wishes();
        let takes: Takes =
            wishes.iter().map(|(bucket, hits)| self.plan.take(*bucket, edition, *hits)).collect();
        let now_us = self.local_us(runtime);
        let state = &mut self.runtimes[runtime];
        state.asked += 1;
        let mut record = Request {
            runtime,
            life: state.life,
            edition,
            wishes,
            asked_ns: self.now_ns,
            part: None,
            allowed: None,
            answered_ns: None,
        };
        self.post.gone.borrow_mut().push(false);
        let may_ride = state.queues.leases.are_often_passed_by(now_us);
        let rest = match state.queues.leases.spend(&takes, now_us) {
            Spent::All(answer) => {
                let leases = self.holds(runtime, record.wishes.iter().map(|(bucket, _)| *bucket));
                self.requests.push(record);
                self.from_leases += 1;
                self.spends(request, &leases);
                self.tell(runtime);
                if may_ride {
                    self.ride(request, answer);
                }
                return;
            }
            Spent::None => takes,
            Spent::Part(mut part) => {
                let rest = std::mem::take(&mut part.rest);
                let is_rest =
                    |bucket: &usize| rest.iter().any(|take| crate::bucket::number_of(&take.key) == *bucket);
                let buckets = record.wishes.iter().map(|(bucket, _)| *bucket);
                let leases = self.holds(runtime, buckets.filter(|bucket| !is_rest(bucket)));
                record.part = Some((part, leases));
                rest
            }
        };
        self.requests.push(record);
        self.tell(runtime);
        let is_up = self.is_up();
        let ticket = || (Ticket { request, post: Rc::clone(&self.post) }, ());
        match self.runtimes[runtime].queues.ask(rest, ticket, is_up, now_us) {
            Dispatched::Denied(denial) => self.answered(request, Ok(denial)),
            Dispatched::Refused(error) => self.answered(request, Err(error)),
            Dispatched::Queued(()) => self.wake(runtime),
        }
    }

    /// Its hits are spent; the client may get the answer together with those of a batch.
    fn ride(&mut self, request: usize, answer: Answer) {
        let runtime = self.requests[request].runtime;
        let (leaves, is_first) = match self.runtimes[runtime].queues.riders.board(answer) {
            Boarded::Not(_) => return,
            Boarded::First(leaves) => (leaves, true),
            Boarded::With(leaves) => (leaves, false),
        };
        self.requests[request].answered_ns = None;
        self.rides.push(Ride { request, leaves });
        self.rode += 1;
        if is_first {
            self.wake(runtime);
        }
    }

    fn is_up(&self) -> bool {
        self.away_until_ns <= self.now_ns
    }

    /// The leases of these buckets that a runtime has now.
    fn holds(&mut self, runtime: usize, buckets: impl Iterator<Item = usize>) -> Leased {
        let held = &self.runtimes[runtime].held;
        let leases: Vec<_> = buckets.map(|bucket| (bucket, held.get(&bucket).copied())).collect();
        if leases.iter().any(|(_, held)| held.is_none()) {
            self.breaks("only what was granted is spent", format!("by runtime {runtime}"));
        }
        leases.into_iter().filter_map(|(bucket, held)| Some((bucket, held?))).collect()
    }

    /// Mostly one hit of the first bucket.
    fn wishes(&mut self) -> Vec<(usize, u64)> {
        let buckets = self.plan.buckets.len();
        let hits = |world: &mut World<'_>| {
            if world.rng.random_bool(world.plan.many) { world.rng.random_range(2..=5) } else { 1 }
        };
        let first = if self.rng.random_bool(0.8) { 0 } else { self.rng.random_range(0..buckets) };
        let mut wishes = vec![(first, hits(self))];
        if buckets > 1 && self.rng.random_bool(0.1) {
            wishes.push(((first + 1) % buckets, hits(self)));
        }
        wishes
    }

    // === slots ===

    /// Wakes a slot if one waits; otherwise the next slot that would wait continues at once.
    pub(super) fn wake(&mut self, runtime: usize) {
        let wake_ns = self.rng.random_range(0..WOKEN_NS);
        let state = &mut self.runtimes[runtime];
        if state.idle == 0 {
            state.permit = true;
            return;
        }
        state.idle -= 1;
        let life = state.life;
        self.schedule(wake_ns, Event::NextBatch { runtime, life });
    }

    pub(super) fn next_batch(&mut self, runtime: usize) {
        let departure = loop {
            let (is_up, now_us) = (self.is_up(), self.local_us(runtime));
            let state = &mut self.runtimes[runtime];
            if let Some(departure) = state.queues.next(is_up, now_us) {
                break departure;
            }
            if !state.permit {
                state.idle += 1;
                return;
            }
            state.permit = false;
        };
        let requests = departure.batch.requests.iter().map(|request| request.ticket.request).collect();
        let calls = departure.leases.clone();
        self.calls += 1;
        self.sent.push(Sent {
            runtime,
            departure: Some(departure),
            requests,
            calls,
            executed_ns: 0,
            reply: None,
        });
        self.send(self.sent.len() - 1);
    }

    pub(super) fn way_ns(&mut self) -> u64 {
        let network = &self.plan.network;
        let late_ns = if self.rng.random_bool(network.late) {
            self.rng.random_range(0..network.most_late_ns)
        } else {
            0
        };
        self.rng.random_range(network.way_ns.clone()) + late_ns
    }

    fn send(&mut self, sent: usize) {
        if !self.is_up() {
            return self.schedule(0, Event::Deadline { sent });
        }
        self.schedule(self.plan.deadline_us * 1_000, Event::Deadline { sent });
        if self.runtimes[self.sent[sent].runtime].queues.may_be_waited_for() {
            let late_ns = self.rng.random_range(0..LATE_NS);
            self.schedule(NEAR_US * 1_000 + late_ns, Event::Late { sent });
        }
        if !self.rng.random_bool(self.plan.network.lost_there) && self.silent_until_ns <= self.now_ns {
            let arrives_ns = self.now_ns + self.way_ns();
            let start_ns = self.free_ns.max(arrives_ns);
            self.free_ns = start_ns + BUSY_NS;
            self.schedule(start_ns - self.now_ns, Event::Execute { sent });
        }
    }

    // === the way back ===

    pub(super) fn reply(&mut self, sent: usize) {
        if self.sent[sent].departure.is_some() {
            let (requests, granted) = self.sent[sent].reply.take().expect("the store has answered");
            self.landed(sent, Ok(Answers { requests, granted }));
        }
    }

    /// No reply has come in time, or none can come any more.
    pub(super) fn run_out(&mut self, sent: usize) {
        if self.sent[sent].departure.is_some() {
            let error = if self.is_up() { StoreError::Deadline } else { StoreError::Disconnected };
            self.landed(sent, Err(error));
        }
    }

    pub(super) fn is_late(&mut self, sent: usize) {
        if self.sent[sent].departure.is_some() {
            self.runtimes[self.sent[sent].runtime].queues.riders.are_late();
        }
    }

    fn landed(&mut self, sent: usize, answers: Result<Answers, StoreError>) {
        let Sent { runtime, executed_ns, .. } = self.sent[sent];
        let departure = self.sent[sent].departure.take().expect("it is under way");
        let now_us = self.local_us(runtime);
        let trip = Trip { sent_us: departure.batch.sent_us, arrived_us: now_us };
        let state = &mut self.runtimes[runtime];
        let granted = answers.as_ref().map(|answers| answers.granted.clone()).unwrap_or_default();
        state.queues.landed(departure, answers, trip);
        for (call, granted) in self.sent[sent].calls.iter().zip(granted).filter(|(_, one)| one.is_extended) {
            let window_ends_us = match granted.seen {
                Seen::FixedWindow(window) => window.ends_us,
                _ => u64::MAX,
            };
            let (granted_us, lapses_us) = (granted.now_us, granted.generation_us.min(window_ends_us));
            let held = Held { call: *call, granted_ns: executed_ns, granted_us, lapses_us };
            state.held.insert(crate::bucket::number_of(&call.key), held);
        }
        self.tell(runtime);
        self.deliver();
        // The other runtimes of its process may have waited for these answers.
        for other in (0..self.runtimes.len()).filter(|other| *other != runtime) {
            if self.plan.runtimes[other].0 == self.plan.runtimes[runtime].0 {
                self.wake(other);
            }
        }
        // The slot of this batch continues with the next.
        self.next_batch(runtime);
    }
}
