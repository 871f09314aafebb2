//! Requests, and what their legs have to do.

use std::rc::Rc;

use rand::RngExt;

use super::{Event, Request, Ticket, Via, World};
use tollgate::store::{
    StoreError,
    redis::{
        dispatch::Dispatched,
        legs::{Legs, Todo},
    },
};
use tollgate_core::decision::{Answer, Take, Takes, Verdict, decide};

impl World<'_> {
    pub(super) fn ask(&mut self) {
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
                if let Err(promise) = self.check_undo(request, over, slot, &takes) {
                    self.breaks(promise);
                }
                if !self.rng.random_bool(self.plan.give_back_lost) {
                    let way_ns = self.way_ns();
                    self.schedule(way_ns, Event::Undo { request, via: over, slot, takes });
                }
            }
            Todo::Done(outcome) => self.tell(request, outcome),
        }
    }

    /// A take is undone where it was made, by the clock that it was made by, and once.
    fn check_undo(&mut self, request: usize, via: Via, slot: u16, takes: &Takes) -> Result<(), String> {
        let of = format!("the takes of request {request} in slot {slot}");
        let Some(charge) = self.charged.get_mut(&(request, slot)) else {
            return Err(format!("{of} are undone and were not charged"));
        };
        if std::mem::replace(&mut charge.is_undone, true) {
            return Err(format!("{of} are undone twice"));
        }
        if charge.via != via {
            return Err(format!("{of} were charged at {:?} and are undone at {via:?}", charge.via));
        }
        let is_undoing =
            |undo: &Take, take: &Take| undo.key == take.key && undo.demand == take.demand.undo(charge.at_us);
        if !takes.iter().all(|undo| charge.takes.iter().any(|take| is_undoing(undo, take))) {
            return Err(format!(
                "{of} were charged at {} and something else is undone: {takes:?}",
                charge.at_us
            ));
        }
        Ok(())
    }

    fn tell(&mut self, request: usize, outcome: Result<Answer, StoreError>) {
        let told = self.requests[request].told.replace(outcome.ok().map(|answer| answer.verdict));
        if told.is_some() {
            self.breaks(format!("request {request} is answered twice"));
        }
    }

    fn dispatch(&mut self, request: usize, leg: usize, slot: u16, takes: Takes) {
        *self.open.entry((request, leg)).or_default() += 1;
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

    pub(super) fn deliver(&mut self) {
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
}
