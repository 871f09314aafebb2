//! The dispatcher of one Redis: a queue that forms batches, and a breaker.
//!
//! Time is a parameter, and the caller carries batches to Redis and back, so production and the simulation drive this
//! same code. The denial cache belongs to the runtime and is lent to each call: a runtime that used several Redis
//! masters would have a dispatcher for each, and one denial cache.
//!
//! A Redis that does not answer must cost microseconds, not a deadline for each request. So the breaker is
//!
//! | state | what happens | until |
//! |---|---|---|
//! | serving | all batches are sent | [`TRIPS_AFTER`] batches in a row are lost |
//! | tripped | requests are refused at once | [`PROBE_EVERY_US`] have passed |
//! | probing | one batch is under way, other requests are refused | it is answered: serving; it is lost: tripped |
//!
//! Only silence counts, of Redis or of its replicas. A refusal is an answer, and a request that waited too long in the queue was never sent.

pub mod elsewhere;
pub mod queue;

use super::denial_cache::{DenialCache, Trip};
use crate::store::StoreError;
use elsewhere::Elsewhere;
use queue::{Batch, Queue, Request};
use tollgate_core::decision::{Answer, Takes};

/// The number of batches in a row that must be lost: one that was unlucky trips nothing.
pub const TRIPS_AFTER: u32 = 3;
/// While requests come in, a Redis that has come back is found within this time.
pub const PROBE_EVERY_US: u64 = 100_000;

/// The caller of a request, who waits for its answer.
pub trait Ticket {
    /// Whether the caller no longer waits.
    fn is_gone(&self) -> bool;
    /// Whether the request is all that its caller asks for, and no leg of it, which may be undone.
    fn is_whole(&self) -> bool {
        true
    }
    /// Gives the caller the answer. Does nothing if the caller no longer waits.
    fn answer(self, answer: Result<Answer, StoreError>);
}

/// What became of a request; `A` is what its caller awaits.
#[derive(Debug)]
pub enum Dispatched<A> {
    /// The denial cache answers, so Redis is not asked.
    Denied(Answer),
    /// The request waits for a batch. The caller must wake a sender of batches.
    Queued(A),
    /// The request was not queued.
    Refused(StoreError),
}

/// One runtime's dispatcher of one Redis.
#[derive(Debug)]
pub struct Dispatcher<T> {
    queue: Queue<T>,
    breaker: Breaker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Serving { lost: u32 },
    Tripped { until_us: u64 },
    Probing,
}

// === impl Dispatcher ===

impl<T: Ticket> Dispatcher<T> {
    /// `deadline_us` is the time that Redis has for an answer.
    pub fn new(deadline_us: u64) -> Dispatcher<T> {
        Dispatcher { queue: Queue::new(deadline_us), breaker: Breaker::Serving { lost: 0 } }
    }

    /// Denies a request from memory, queues it, or refuses it because the breaker has tripped. `ticket` makes the
    /// ticket, and what the caller awaits; it is called only if the request is queued.
    pub fn dispatch<A>(
        &mut self,
        takes: Takes,
        ticket: impl FnOnce() -> (T, A),
        denial_cache: &mut DenialCache,
        now_us: u64,
    ) -> Dispatched<A> {
        if let Some(denial) = denial_cache.denial(&takes, now_us) {
            return Dispatched::Denied(denial);
        }
        if self.breaker.refuses(now_us) {
            return Dispatched::Refused(StoreError::Tripped);
        }
        let (ticket, awaited) = ticket();
        self.queue.push(Request { takes, ticket, queued_us: now_us, elsewhere: Elsewhere::default() });
        Dispatched::Queued(awaited)
    }

    /// Whether the breaker refuses requests at the moment.
    pub fn refuses(&self, now_us: u64) -> bool {
        self.breaker.refuses(now_us)
    }

    /// The next batch to send, if there is a free slot and a request that must be sent. Requests that need not be sent
    /// are answered here. Each batch must end in [`landed`](Self::landed), and then the caller must ask for the next
    /// batch.
    pub fn next(&mut self, denial_cache: &mut DenialCache, now_us: u64) -> Option<Batch<T>> {
        if self.breaker.refuses(now_us) {
            for ticket in self.queue.give_up() {
                ticket.answer(Err(StoreError::Tripped));
            }
            return None;
        }
        let formed = self.queue.next(denial_cache, now_us, T::is_gone);
        for (ticket, answer) in formed.denied {
            ticket.answer(Ok(answer));
        }
        for ticket in formed.overdue {
            ticket.answer(Err(StoreError::Overload));
        }
        if formed.batch.is_some() {
            self.breaker.sends();
        }
        formed.batch
    }

    /// When the caller must ask for the [next](Self::next) batch even if nothing has woken it: a request waits for the
    /// answer to another runtime, which may not get on. None if no request does.
    pub fn looks_again_us(&self) -> Option<u64> {
        self.queue.looks_again_us()
    }

    /// Whether no request waits for a batch.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether another batch may be sent.
    pub fn has_room(&self, now_us: u64) -> bool {
        !self.breaker.refuses(now_us) && self.queue.has_room()
    }

    /// A batch without requests, for a call that no request waits for; none if no slot is free. It must end in
    /// [`landed`](Self::landed).
    pub fn errand(&mut self, now_us: u64) -> Option<Batch<T>> {
        if self.breaker.refuses(now_us) {
            return None;
        }
        let batch = self.queue.errand(now_us)?;
        self.breaker.sends();
        Some(batch)
    }

    /// Gives up the requests that have waited too long, as [`next`](Self::next) does, even while no slot is free.
    pub fn give_up_overdue(&mut self, now_us: u64) {
        for ticket in self.queue.overdue(now_us) {
            ticket.answer(Err(StoreError::Overload));
        }
    }

    /// A batch was answered, or refused or lost as a whole: frees its slot, learns from its answers, and hands them out.
    /// There is one answer for each request, in their order, and one that Redis refused is an error among them.
    pub fn landed(
        &mut self,
        batch: Batch<T>,
        answers: Result<impl IntoIterator<Item = Result<Answer, StoreError>>, StoreError>,
        denial_cache: &mut DenialCache,
        now_us: u64,
    ) {
        let trip = Trip { sent_us: batch.sent_us, arrived_us: now_us };
        // First, so that the slot is free even if something below panics.
        self.breaker.landed(answers.as_ref().is_err_and(StoreError::is_silence), now_us);
        self.queue.landed(&batch.awaited, trip);
        match answers {
            Ok(answers) => {
                for (request, answer) in batch.requests.into_iter().zip(answers) {
                    if let Ok(answer) = &answer {
                        denial_cache.learn(&request.takes, answer, trip);
                    }
                    request.ticket.answer(answer);
                }
                denial_cache.has_asked(&batch.awaited);
            }
            Err(error) => {
                for request in batch.requests {
                    request.ticket.answer(Err(error.clone()));
                }
                denial_cache.has_asked(&batch.awaited);
            }
        }
    }
}

// === impl Breaker ===

impl Breaker {
    /// Whether requests must not even be queued.
    fn refuses(self, now_us: u64) -> bool {
        match self {
            Breaker::Serving { .. } => false,
            Breaker::Tripped { until_us } => now_us < until_us,
            Breaker::Probing => true,
        }
    }

    /// A batch is sent while the breaker does not refuse: after a trip it is the probe.
    fn sends(&mut self) {
        if let Breaker::Tripped { .. } = self {
            *self = Breaker::Probing;
        }
    }

    /// A batch is over; `is_lost` if nothing came back in time.
    fn landed(&mut self, is_lost: bool, now_us: u64) {
        let tripped = Breaker::Tripped { until_us: now_us.saturating_add(PROBE_EVERY_US) };
        *self = match (*self, is_lost) {
            // Also one that was sent before the breaker tripped: an answer says more than the clock.
            (_, false) => Breaker::Serving { lost: 0 },
            (Breaker::Serving { lost }, true) if lost + 1 < TRIPS_AFTER => {
                Breaker::Serving { lost: lost + 1 }
            }
            (Breaker::Serving { .. } | Breaker::Probing, true) => tripped,
            (tripped_before @ Breaker::Tripped { .. }, true) => tripped_before,
        };
    }
}

#[cfg(test)]
mod tests;
