//! What one runtime has to do with one Redis: requests that wait, what is known to be denied, leases, and answers from
//! leases that wait for those of a batch.
//!
//! Pure: requests, answers and the time go in; batches come out. [`batches`](super::batches) carries them to Redis.

use super::{
    denial_cache::{DenialCache, Trip},
    dispatch::{Dispatched, Dispatcher, Ticket, queue::Batch},
    leases::{Leases, Whereabouts},
    leasing,
    riders::Riders,
};
use crate::store::StoreError;
use tollgate_core::decision::{Answer, Granted, LeaseCall, Takes};

#[derive(Debug)]
pub struct Queues<T> {
    /// Requests that wait.
    pub dispatcher: Dispatcher<T>,
    /// What is known to be denied.
    pub denial_cache: DenialCache,
    /// Hits that are reserved here.
    pub leases: Leases,
    /// Answers from leases that wait for those of a batch.
    pub riders: Riders,
}

/// What leaves for Redis in one call.
#[derive(Debug)]
pub struct Departure<T> {
    /// The requests.
    pub batch: Batch<T>,
    /// The calls about leases that travel with it.
    pub leases: Vec<LeaseCall>,
    /// The answers from leases that wait for its answers.
    ride: Option<u64>,
}

/// What was answered to it.
#[derive(Debug)]
pub struct Answers {
    /// In the order of the requests.
    pub requests: Vec<Answer>,
    /// In the order of the calls.
    pub granted: Vec<Granted>,
}

impl<T: Ticket> Queues<T> {
    /// `deadline_us` is the time that Redis has for an answer.
    pub fn new(deadline_us: u64, denial_cache: DenialCache, leases: Leases) -> Queues<T> {
        Queues { dispatcher: Dispatcher::new(deadline_us), denial_cache, leases, riders: Riders::default() }
    }

    /// Denies a request from memory, queues it, or refuses it; without a connection none is queued. `ticket` makes the
    /// ticket, and what the caller awaits; it is called only if the request is queued.
    pub fn ask<A>(
        &mut self,
        takes: Takes,
        ticket: impl FnOnce() -> (T, A),
        is_up: bool,
        now_us: u64,
    ) -> Dispatched<A> {
        if is_up {
            return self.dispatcher.dispatch(takes, ticket, &mut self.denial_cache, now_us);
        }
        let denial = self.denial_cache.denial(&takes, now_us);
        denial.map_or(Dispatched::Refused(StoreError::Disconnected), Dispatched::Denied)
    }

    /// The next batch, if there is one. It must end in [`landed`](Self::landed). Without a connection no call about a lease
    /// is sent: what it would report could not be reported later.
    pub fn next(&mut self, is_up: bool, now_us: u64) -> Option<Departure<T>> {
        let Queues { dispatcher, denial_cache, leases, riders } = self;
        let next =
            leasing::next_batch(dispatcher, denial_cache, leases, is_up, |_| Whereabouts::Here, now_us);
        if next.as_ref().is_some_and(|(batch, _)| !batch.requests.is_empty()) {
            let ride = riders.depart();
            return next.map(|(batch, leases)| Departure { batch, leases, ride });
        }
        // Requests that are left where a slot is free are held, perhaps for long.
        if dispatcher.is_idle() || dispatcher.has_room(now_us) {
            riders.leave();
        }
        next.map(|(batch, leases)| Departure { batch, leases, ride: None })
    }

    /// A batch was answered, refused or lost. Returns whether somebody must [look](Leases::look) for leases that are over
    /// sooner than was said last.
    pub fn landed(
        &mut self,
        departure: Departure<T>,
        answers: Result<Answers, StoreError>,
        trip: Trip,
    ) -> bool {
        let Departure { batch, leases, ride } = departure;
        // First, so that nobody waits for it even if something below panics.
        self.riders.arrive(ride, trip);
        let (answers, granted) = match answers {
            Ok(Answers { requests, granted }) => (Ok(requests), granted),
            Err(error) => (Err(error), Vec::new()),
        };
        let calls = leases.iter().enumerate().map(|(index, call)| (call, granted.get(index)));
        let decided = batch.requests.iter().map(|request| &request.takes).zip(answers.iter().flatten());
        self.leases.batch_landed(calls, decided, trip);
        let answers = answers.map(|requests| requests.into_iter().map(Ok));
        self.dispatcher.landed(batch, answers, &mut self.denial_cache, trip.arrived_us);
        self.leases.needs_a_look(trip.arrived_us)
    }

    /// Whether answers may wait for a batch that is being sent.
    pub fn may_be_waited_for(&self) -> bool {
        self.leases.are_any()
    }

    /// Bounds the wait of whatever waits here, without depending on the tasks that send batches.
    pub fn give_up_overdue(&mut self, now_us: u64) {
        self.dispatcher.give_up_overdue(now_us);
        self.riders.leave_all();
        // Bounds what the other runtimes have told, also while this one is idle.
        self.denial_cache.receive_refunds();
    }
}

#[cfg(test)]
mod tests;
