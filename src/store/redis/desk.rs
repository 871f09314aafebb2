//! One runtime's memo and flights, driven together: requests come in, flights and answers go out.
//!
//! Time is a parameter, and carrying a flight to the store and back is left to the caller. So production and
//! the simulation drive this same code. The locks are free but for the moment in which another runtime of this
//! replica reports a refund.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    flights::{Flight, Flights, Request},
    memo::{Memo, Trip},
};
use crate::{store::StoreError, store::redis::breaker::Breaker};
use tollgate_core::{
    decision::{Answer, Kind, Take, Takes},
    descriptor::BucketKey,
};

/// Whoever waits for the answer to a request.
pub trait Ticket {
    /// Nobody waits any more.
    fn is_gone(&self) -> bool;
    fn answer(self, answer: Result<Answer, StoreError>);
}

/// The memos of all runtimes of this replica: what one of them gave back, no other may go on denying.
#[derive(Debug, Default)]
pub struct Memos(Mutex<Vec<Arc<Mutex<Memo>>>>);

#[derive(Debug)]
pub struct Desk<T> {
    flights: Mutex<Flights<T>>,
    breaker: Mutex<Breaker>,
    memo: Arc<Mutex<Memo>>,
    /// None: the memo is off, and stays empty.
    memos: Option<Arc<Memos>>,
}

// === impl Desk ===

impl<T: Ticket> Desk<T> {
    /// `deadline_us` is what the store has for an answer.
    pub fn new(memos: Option<Arc<Memos>>, deadline_us: u64) -> Desk<T> {
        let memo = Arc::default();
        if let Some(memos) = &memos {
            lock(&memos.0).push(Arc::clone(&memo));
        }
        let (flights, breaker) = (Mutex::new(Flights::new(deadline_us)), Mutex::default());
        Desk { flights, breaker, memo, memos }
    }

    /// The denial that needs no store; if there is none, the request must be [`push`](Self::push)ed.
    pub fn denial(&self, takes: &[Take], now_us: u64) -> Option<Answer> {
        lock(&self.memo).denial(takes, now_us)
    }

    /// Whether this bucket was seen without room, and not longer ago than memory serves.
    pub fn is_known_empty(&self, key: &BucketKey, now_us: u64) -> bool {
        lock(&self.memo).knows(key, now_us)
    }

    /// Queues a request; while the store is silent it is refused. Whoever forms flights must then be woken.
    pub fn push(&self, takes: Takes, ticket: T, now_us: u64) {
        if lock(&self.breaker).refuses(now_us) {
            ticket.answer(Err(StoreError::Tripped));
            return;
        }
        lock(&self.flights).push(Request { takes, ticket, queued_us: now_us });
    }

    /// Whether the store has answered lately, as far as anybody knows.
    pub fn is_serving(&self) -> bool {
        lock(&self.breaker).is_serving()
    }

    /// The next flight, if a slot is free and something must travel; answers what need not. Each flight must
    /// [`land`](Self::land), and whoever lands one must then form the next.
    pub fn form(&self, now_us: u64) -> Option<Flight<T>> {
        if lock(&self.breaker).refuses(now_us) {
            for ticket in lock(&self.flights).give_up() {
                ticket.answer(Err(StoreError::Tripped));
            }
            return None;
        }
        let formed = lock(&self.flights).form(&lock(&self.memo), now_us, T::is_gone);
        for (ticket, answer) in formed.denied {
            ticket.answer(Ok(answer));
        }
        for ticket in formed.overdue {
            ticket.answer(Err(StoreError::Overload));
        }
        if formed.flight.is_some() {
            lock(&self.breaker).lets_leave(now_us);
        }
        formed.flight
    }

    /// Gives up what has waited in the queue for too long, as [`form`](Self::form) does it, though no slot is free.
    pub fn give_up_overdue(&self, now_us: u64) {
        let overdue = lock(&self.flights).overdue(now_us);
        for ticket in overdue {
            ticket.answer(Err(StoreError::Overload));
        }
    }

    /// The flight is over: learns what it told, frees its slot, and hands out its answers.
    pub fn land(&self, mut flight: Flight<T>, answers: Result<Vec<Answer>, StoreError>, now_us: u64) {
        let trip = Trip { sent_us: flight.sent_us, arrived_us: now_us };
        // First of all: should anything below panic, the slot is free all the same.
        lock(&self.breaker).land(matches!(answers, Err(StoreError::Deadline)), now_us);
        lock(&self.flights).land(&flight.take_asks_for(), trip);
        if let Ok(answers) = &answers {
            self.learn(&flight, answers, trip);
        }
        match answers {
            Ok(answers) => {
                for (request, answer) in flight.requests.into_iter().zip(answers) {
                    request.ticket.answer(Ok(answer));
                }
            }
            Err(error) => {
                for request in flight.requests {
                    request.ticket.answer(Err(error.clone()));
                }
            }
        }
    }

    fn learn(&self, flight: &Flight<T>, answers: &[Answer], trip: Trip) {
        let Some(memos) = &self.memos else { return };
        let mut memo = lock(&self.memo);
        for (request, answer) in flight.requests.iter().zip(answers) {
            memo.learn(&request.takes, answer, trip);
        }
        drop(memo);
        let given_back = flight.requests.iter().zip(answers).flat_map(|(request, answer)| {
            let given = request.takes.iter().zip(&answer.found).filter(|(take, found)| {
                take.ask.kind == Kind::GiveBack && take.is_charged(found, answer.verdict)
            });
            given.map(|(take, _)| (take.key, answer.now_us))
        });
        for (key, told_us) in given_back {
            for memo in lock(&memos.0).iter() {
                lock(memo).void(key, told_us, trip);
            }
        }
    }
}

/// Nothing is left half-changed by a panic: each change under these locks is one call of pure code.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
