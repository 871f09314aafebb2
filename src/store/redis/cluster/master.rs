//! One runtime's way to one master of a Redis Cluster: a line, a dispatcher, and the tasks that send its batches. A master
//! that is away holds up no other.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::{
    Made, Runtime, Ticket,
    rounds::{Replies, Rounds, orders},
};
use crate::{
    store::{
        StoreError,
        health::LineHealth,
        redis::{
            OwnThread,
            address::Place,
            batches::until_queued,
            connection::keep_connected,
            denial_cache::Trip,
            discovery::Discovery,
            dispatch::{
                Dispatched, Dispatcher, Ticket as _,
                queue::{Batch, MOST_UNDER_WAY, PATIENCE_US},
            },
            keys::slot,
            leases::Whereabouts,
            leasing,
            line::Line,
            slots::NodeId,
            traced::{self, Landed},
        },
    },
    tasks::{self, Task},
};
use tollgate_core::{
    decision::{LeaseCall, Takes},
    descriptor::BucketKey,
    duration::micros,
};

#[derive(Debug)]
pub(super) struct Master {
    pub(super) id: NodeId,
    pub(super) place: Place,
    pub(super) line: Arc<Line>,
    dispatcher: OwnThread<Dispatcher<Ticket>>,
    /// Wakes a sender when a request was queued.
    queued: Notify,
}

/// Ends the tasks of a master when it is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) master: Arc<Master>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

// === impl Master ===

impl Master {
    /// Starts connecting. None if the node is not known any more.
    pub(super) fn start(runtime: &Arc<Runtime>, id: NodeId) -> Option<Kept> {
        let server = runtime.slots.server(id)?;
        let health = LineHealth::of_master(&runtime.health, &server.place().to_string());
        let master = Arc::new(Master {
            id,
            place: server.place().clone(),
            line: Arc::new(Line::new(health, runtime.acks, Some(Arc::clone(&runtime.slots)))),
            dispatcher: OwnThread::new(Dispatcher::new(micros(runtime.deadline))),
            queued: Notify::new(),
        });
        let mut tasks = Vec::new();
        for lane in 0..MOST_UNDER_WAY {
            let (runtime, master) = (Arc::clone(runtime), Arc::clone(&master));
            tasks.push(tasks::keep(Task::StoreCalls, move || {
                send_batches(Arc::clone(&runtime), Arc::clone(&master), lane)
            }));
        }
        let discovery = Discovery::Node(server, id, Arc::clone(&runtime.slots));
        let (line, advice) = (Arc::clone(&master.line), Arc::clone(&runtime.advice));
        tasks.push(tasks::keep(Task::StoreConnection, move || {
            keep_connected(Arc::clone(&line), discovery.clone(), Arc::clone(&advice))
        }));
        Some(Kept { master, tasks })
    }

    /// Denies a request whose buckets lie in one slot, queues it, or refuses it. Never waits for a connection, unless it is
    /// the first.
    pub(super) fn dispatch<A>(
        &self,
        runtime: &Runtime,
        takes: Takes,
        ticket: impl FnOnce() -> (Ticket, A),
    ) -> Dispatched<A> {
        let now_us = runtime.clock.now_us();
        let dispatched = runtime.denial_cache.with(|denial_cache| {
            if self.line.is_up() || self.line.is_new() {
                self.dispatcher.with(|dispatcher| dispatcher.dispatch(takes, ticket, denial_cache, now_us))
            } else {
                let denial = denial_cache.denial(&takes, now_us);
                denial.map_or(Dispatched::Refused(StoreError::Disconnected), Dispatched::Denied)
            }
        });
        if let Dispatched::Queued(_) = dispatched {
            self.queued.notify_one();
        }
        dispatched
    }

    /// The error that a request would meet now. None if it would be queued.
    pub(super) fn refusal(&self, now_us: u64) -> Option<StoreError> {
        if !self.line.is_up() && !self.line.is_new() {
            return Some(StoreError::Disconnected);
        }
        let refuses = self.dispatcher.with(|dispatcher| dispatcher.refuses(now_us));
        refuses.then_some(StoreError::Tripped)
    }

    pub(super) fn give_up_overdue(&self, now_us: u64) {
        self.dispatcher.with(|dispatcher| dispatcher.give_up_overdue(now_us));
    }

    pub(super) fn wake_sender(&self) {
        self.queued.notify_one();
    }

    /// The next batch, with the calls about leases that travel with it.
    fn next_batch(&self, runtime: &Runtime) -> Option<(Batch<Ticket>, Vec<LeaseCall>)> {
        let now_us = runtime.clock.now_us();
        let is_up = self.line.is_up();
        let whereabouts = |key: &BucketKey| match runtime.slots.owner(slot(key)) {
            Some(owner) if owner == self.id => Whereabouts::Here,
            Some(owner) if runtime.is_there(owner, now_us) => Whereabouts::Elsewhere,
            _ => Whereabouts::Away,
        };
        runtime.denial_cache.with(|denial_cache| {
            self.dispatcher.with(|dispatcher| {
                runtime.leases.with(|leases| {
                    leasing::next_batch(dispatcher, denial_cache, leases, is_up, whereabouts, now_us)
                })
            })
        })
    }

    fn looks_again_us(&self) -> Option<u64> {
        self.dispatcher.with(|dispatcher| dispatcher.looks_again_us())
    }

    /// Returns when the first connection was opened, or could not be, or when a request has waited for long enough.
    pub(super) async fn tried(&self) {
        let _ = timeout(Duration::from_micros(PATIENCE_US), self.line.tried()).await;
    }
}

/// Sends a batch, hands out its answers, and goes on to the next, forever.
async fn send_batches(runtime: Arc<Runtime>, master: Arc<Master>, lane: usize) {
    loop {
        if master.line.is_new() {
            // The queue is looked through meanwhile, so no request waits for longer than it may.
            master.line.tried().await;
        }
        let Some(batch) = master.next_batch(&runtime) else {
            until_queued(&master.queued, master.looks_again_us(), runtime.clock).await;
            continue;
        };
        if master.looks_again_us().is_some() {
            // This lane is taken for as long as its call takes. Another one looks after the request that waits.
            master.queued.notify_one();
        }
        let mut sent = SentBatch { master: &master, runtime: &runtime, batch: Some(batch) };
        let answers = sent.answers(lane).await;
        sent.landed(answers);
    }
}

/// A batch that lands however its task ends. Otherwise its place would stay taken, and the requests that wait for it would
/// wait forever.
struct SentBatch<'a> {
    master: &'a Arc<Master>,
    runtime: &'a Arc<Runtime>,
    batch: Option<(Batch<Ticket>, Vec<LeaseCall>)>,
}

impl SentBatch<'_> {
    async fn answers(&self, lane: usize) -> Result<Replies, StoreError> {
        tasks::may_panic(Task::StoreCalls);
        let (batch, leases) = self.batch.as_ref().ok_or(StoreError::Abandoned)?;
        let takes = batch.requests.iter().map(|request| &request.takes[..]);
        let patience_us = PATIENCE_US.max(micros(self.runtime.deadline));
        let until_us = batch.sent_us.saturating_add(patience_us);
        Rounds::new(self.runtime, lane, orders(takes, leases), until_us).send(self.master).await
    }

    fn landed(&mut self, replies: Result<Replies, StoreError>) {
        let Some((mut batch, leases)) = self.batch.take() else { return };
        let (answers, granted) = match replies {
            Ok(Replies { made, granted }) => (Ok(made), granted),
            Err(error) => (Err(error), Vec::new()),
        };
        let now_us = self.runtime.clock.now_us();
        if let Some(tracer) = &self.runtime.tracer {
            // One by one they may fail for many reasons; the batch failed if none has an answer.
            let error = match &answers {
                Ok(each) if each.iter().any(Result::is_ok) => None,
                Ok(each) => each.first().and_then(|first| first.as_ref().err()),
                Err(error) => Some(error),
            };
            let landed = Landed {
                spans: batch.requests.iter().filter_map(|request| request.ticket.span),
                requests: batch.requests.len(),
                took_us: now_us.saturating_sub(batch.sent_us),
                error,
            };
            traced::record(tracer, landed);
        }
        let answers = answers.map(|answers| {
            let each = batch.requests.iter_mut().zip(answers).map(|(request, made)| {
                let Made { answer, via } = made?;
                request.ticket.via = via;
                Ok(answer)
            });
            each.collect::<Vec<_>>()
        });
        let trip = Trip { sent_us: batch.sent_us, arrived_us: now_us };
        let needs_a_look = self.runtime.leases.with(|all| {
            let granted_of = |key: &BucketKey| granted.iter().find(|(other, _)| other == key);
            let calls = leases.iter().map(|call| (call, granted_of(&call.key).map(|(_, granted)| granted)));
            let decided = batch.requests.iter().zip(answers.iter().flatten());
            let whole = decided.filter(|(request, _)| request.ticket.is_whole());
            let decided = whole.filter_map(|(request, answer)| Some((&request.takes, answer.as_ref().ok()?)));
            all.batch_landed(calls, decided, trip);
            !leases.is_empty() && all.needs_a_look(now_us)
        });
        self.runtime.denial_cache.with(|denial_cache| {
            self.master.dispatcher.with(|dispatcher| dispatcher.landed(batch, answers, denial_cache, now_us));
        });
        if needs_a_look {
            self.runtime.leased.notify_one();
        }
    }
}

impl Drop for SentBatch<'_> {
    fn drop(&mut self) {
        self.landed(Err(StoreError::Abandoned));
    }
}
