//! Carries a runtime's batches to Redis and back, in tasks of their own.
//!
//! A batch lands even if the task that sent it panics. Requests are given up by another task, which does not depend on
//! those that send batches.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Runtime, Ticket,
    denial_cache::Trip,
    queues::{Answers, Departure},
    riders::NEAR_US,
    script::{self, Call},
    traced::{self, Landed},
};
use crate::{
    clock::Clock,
    store::StoreError,
    tasks::{self, Task},
};

/// The time between two looks for requests that have waited too long.
pub(super) const LOOK_FOR_OVERDUE_EVERY: Duration = Duration::from_millis(250);
const NEAR: Duration = Duration::from_micros(NEAR_US);

/// One slot: sends a batch, hands out its answers, and goes on to the next, forever.
pub(super) async fn send(runtime: Arc<Runtime>, slot: usize) {
    loop {
        // It is woken after the requests that are being read at the moment, so these travel together.
        let Some(departure) = runtime.next_batch() else {
            until_queued(&runtime.queued, runtime.looks_again_us(), runtime.clock).await;
            continue;
        };
        if runtime.looks_again_us().is_some() {
            // This slot is taken for as long as its call takes. Another one looks after the request that waits.
            runtime.queued.notify_one();
        }
        let mut sent = Sent { runtime: &runtime, departure: Some(departure) };
        let answers = sent.answers(slot).await;
        sent.landed(answers);
    }
}

/// Returns when there may be something to send, or when it is time to
/// [look again](super::dispatch::Dispatcher::looks_again_us).
pub(super) async fn until_queued(queued: &Notify, again_us: Option<u64>, clock: Clock) {
    match again_us {
        Some(again_us) => {
            let wait = Duration::from_micros(again_us.saturating_sub(clock.now_us()));
            let _ = timeout(wait, queued.notified()).await;
        }
        None => queued.notified().await,
    }
}

/// Bounds the wait in the queues, forever, without depending on the tasks that empty them.
pub(super) async fn give_up_overdue(runtime: Arc<Runtime>) {
    loop {
        sleep(LOOK_FOR_OVERDUE_EVERY).await;
        let now_us = runtime.clock.now_us();
        runtime.queues.with(|queues| queues.give_up_overdue(now_us));
    }
}

impl Runtime {
    fn next_batch(&self) -> Option<Departure<Ticket>> {
        let (is_up, now_us) = (self.line.is_up(), self.clock.now_us());
        self.queues.with(|queues| queues.next(is_up, now_us))
    }

    /// Awaits a reply. Answers from leases that wait for it leave sooner, if it takes long.
    async fn while_near<T>(&self, reply: impl Future<Output = T>) -> T {
        let mut reply = pin!(reply);
        if self.queues.with(|queues| queues.may_be_waited_for()) {
            if let Ok(reply) = timeout(NEAR, reply.as_mut()).await {
                return reply;
            }
            self.queues.with(|queues| queues.riders.are_late());
        }
        reply.await
    }

    fn looks_again_us(&self) -> Option<u64> {
        self.queues.with(|queues| queues.dispatcher.looks_again_us())
    }
}

/// A batch that lands however its task ends. Otherwise its slot would stay taken, and the requests that wait for it
/// would wait forever.
struct Sent<'a> {
    runtime: &'a Runtime,
    departure: Option<Departure<Ticket>>,
}

impl Sent<'_> {
    async fn answers(&self, slot: usize) -> Result<Answers, StoreError> {
        tasks::may_panic(Task::StoreCalls);
        let Departure { batch, leases, .. } = self.departure.as_ref().ok_or(StoreError::Abandoned)?;
        let requests = || batch.requests.iter().map(|request| &request.takes[..]);
        let call = Call::with_leases(requests(), leases);
        let reply = self.runtime.line.call(&call, slot, self.runtime.deadline);
        let reply = self.runtime.while_near(reply).await?;
        let (requests, granted) = script::replies(&reply, requests(), leases)?;
        Ok(Answers { requests, granted })
    }

    fn landed(&mut self, answers: Result<Answers, StoreError>) {
        let Some(departure) = self.departure.take() else { return };
        let batch = &departure.batch;
        let trip = Trip { sent_us: batch.sent_us, arrived_us: self.runtime.clock.now_us() };
        if let Some(tracer) = &self.runtime.tracer {
            let landed = Landed {
                spans: batch.requests.iter().filter_map(|request| request.ticket.span),
                requests: batch.requests.len(),
                took_us: trip.arrived_us.saturating_sub(batch.sent_us),
                error: answers.as_ref().err(),
            };
            traced::record(tracer, landed);
        }
        if self.runtime.queues.with(|queues| queues.landed(departure, answers, trip)) {
            self.runtime.leased.notify_one();
        }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.landed(Err(StoreError::Abandoned));
    }
}
