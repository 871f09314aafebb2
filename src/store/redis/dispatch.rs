//! One runtime's denial cache and batches, driven together: requests come in, batches and answers go out.
//!
//! Time is a parameter, and carrying a batch to the store and back is left to the caller. So production and
//! the simulation drive this same code. The locks are free but for the moment in which another runtime of this
//! replica reports a refund.

pub mod breaker;
pub mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::denial_cache::{DenialCache, Trip};
use crate::store::StoreError;
use breaker::Breaker;
use queue::{Batch, Queue, Request};
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

/// The denial caches of all runtimes of this replica: what one of them gave back, no other may go on denying.
#[derive(Debug, Default)]
pub struct DenialCaches(Mutex<Vec<Arc<Mutex<DenialCache>>>>);

#[derive(Debug)]
pub struct Dispatcher<T> {
    queue: Mutex<Queue<T>>,
    breaker: Mutex<Breaker>,
    denial_cache: Arc<Mutex<DenialCache>>,
    /// None: the denial cache is off, and stays empty.
    denial_caches: Option<Arc<DenialCaches>>,
}

// === impl Dispatcher ===

impl<T: Ticket> Dispatcher<T> {
    /// `deadline_us` is what the store has for an answer.
    pub fn new(denial_caches: Option<Arc<DenialCaches>>, deadline_us: u64) -> Dispatcher<T> {
        let denial_cache = Arc::default();
        if let Some(denial_caches) = &denial_caches {
            lock(&denial_caches.0).push(Arc::clone(&denial_cache));
        }
        let (queue, breaker) = (Mutex::new(Queue::new(deadline_us)), Mutex::default());
        Dispatcher { queue, breaker, denial_cache, denial_caches }
    }

    /// The denial that needs no store; if there is none, the request must be [`push`](Self::push)ed.
    pub fn denial(&self, takes: &[Take], now_us: u64) -> Option<Answer> {
        lock(&self.denial_cache).denial(takes, now_us)
    }

    /// Whether this bucket was seen without room, and not longer ago than memory serves.
    pub fn is_known_empty(&self, key: &BucketKey, now_us: u64) -> bool {
        lock(&self.denial_cache).knows(key, now_us)
    }

    /// Queues a request; while the store is silent it is refused. Whoever forms batches must then be woken.
    pub fn push(&self, takes: Takes, ticket: T, now_us: u64) {
        if lock(&self.breaker).refuses(now_us) {
            ticket.answer(Err(StoreError::Tripped));
            return;
        }
        lock(&self.queue).push(Request { takes, ticket, queued_us: now_us });
    }

    /// Whether the store has answered lately, as far as anybody knows.
    pub fn is_serving(&self) -> bool {
        lock(&self.breaker).is_serving()
    }

    /// The next batch, if a slot is free and something must travel; answers what need not. Each batch must
    /// [`land`](Self::land), and whoever lands one must then form the next.
    pub fn form(&self, now_us: u64) -> Option<Batch<T>> {
        if lock(&self.breaker).refuses(now_us) {
            for ticket in lock(&self.queue).give_up() {
                ticket.answer(Err(StoreError::Tripped));
            }
            return None;
        }
        let formed = lock(&self.queue).form(&lock(&self.denial_cache), now_us, T::is_gone);
        for (ticket, answer) in formed.denied {
            ticket.answer(Ok(answer));
        }
        for ticket in formed.overdue {
            ticket.answer(Err(StoreError::Overload));
        }
        if formed.batch.is_some() {
            lock(&self.breaker).lets_leave(now_us);
        }
        formed.batch
    }

    /// Gives up what has waited in the queue for too long, as [`form`](Self::form) does it, though no slot is free.
    pub fn give_up_overdue(&self, now_us: u64) {
        let overdue = lock(&self.queue).overdue(now_us);
        for ticket in overdue {
            ticket.answer(Err(StoreError::Overload));
        }
    }

    /// The batch is over: learns what it told, frees its slot, and hands out its answers.
    pub fn land(&self, mut batch: Batch<T>, answers: Result<Vec<Answer>, StoreError>, now_us: u64) {
        let trip = Trip { sent_us: batch.sent_us, arrived_us: now_us };
        // First of all: should anything below panic, the slot is free all the same.
        lock(&self.breaker).land(matches!(answers, Err(StoreError::Deadline)), now_us);
        lock(&self.queue).land(&batch.take_asks_for(), trip);
        if let Ok(answers) = &answers {
            self.learn(&batch, answers, trip);
        }
        match answers {
            Ok(answers) => {
                for (request, answer) in batch.requests.into_iter().zip(answers) {
                    request.ticket.answer(Ok(answer));
                }
            }
            Err(error) => {
                for request in batch.requests {
                    request.ticket.answer(Err(error.clone()));
                }
            }
        }
    }

    fn learn(&self, batch: &Batch<T>, answers: &[Answer], trip: Trip) {
        let Some(denial_caches) = &self.denial_caches else { return };
        let mut denial_cache = lock(&self.denial_cache);
        for (request, answer) in batch.requests.iter().zip(answers) {
            denial_cache.learn(&request.takes, answer, trip);
        }
        drop(denial_cache);
        let given_back = batch.requests.iter().zip(answers).flat_map(|(request, answer)| {
            let given = request.takes.iter().zip(&answer.found).filter(|(take, found)| {
                take.demand.kind == Kind::GiveBack && take.is_charged(found, answer.verdict)
            });
            given.map(|(take, _)| (take.key, answer.now_us))
        });
        for (key, told_us) in given_back {
            for denial_cache in lock(&denial_caches.0).iter() {
                lock(denial_cache).void(key, told_us, trip);
            }
        }
    }
}

/// Nothing is left half-changed by a panic: each change under these locks is one call of pure code.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
