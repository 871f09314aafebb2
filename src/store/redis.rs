//! Buckets in Redis: one script decides each request atomically, on any number of nodes.
//!
//! Every runtime has its own store, since a connection is driven by the runtime that opened it. A take that the
//! [`denial_cache`] can deny is answered from memory; the [`dispatch`]er queues all others, and they travel to Redis in
//! batches. A request never waits for a connection. A take is sent again only after NOSCRIPT, which proves that nothing
//! ran, and never after silence, when it may have been charged. No take waits forever: a queued one is given up after
//! [`queue::PATIENCE_US`](dispatch::queue::PATIENCE_US).

mod address;
mod advice;
mod backend;
mod batches;
pub mod board;
pub mod cluster;
mod connection;
pub mod denial_cache;
mod dial;
mod discovery;
pub mod dispatch;
pub mod keys;
pub mod leases;
mod leasing;
pub mod legs;
mod line;
pub mod look;
pub mod masters;
mod once;
mod password;
mod probe;
pub mod queues;
pub mod replica_count;
pub mod riders;
pub mod script;
mod sentinel;
mod slots;
mod tls;
mod traced;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use crate::{
    clock::Clock,
    store::{Asking, StoreError, health::LineHealth},
    tasks::{self, Task},
    traces::{SpanContext, Tracer},
};
pub use address::{AddressError, RedisTarget};
pub use backend::RedisBackend;
use connection::keep_connected;
use denial_cache::DenialCache;
use discovery::Discovery;
use dispatch::{Dispatched, queue::MOST_UNDER_WAY};
use leases::Leases;
use leasing::Lessee;
use line::Line;
pub use password::{PasswordError, PasswordFile};
use queues::Queues;
use replica_count::Reach;
use riders::Boarded;
use tollgate_core::{
    decision::{Answer, Takes},
    descriptor::{BucketKey, KeyForm},
    duration::micros,
};

// === RedisStore ===

/// One runtime's store.
#[derive(Debug)]
pub struct RedisStore {
    runtime: Arc<Runtime>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the requests and tasks of one runtime use.
#[derive(Debug)]
struct Runtime {
    line: Arc<Line>,
    deadline: Duration,
    clock: Clock,
    key_form: KeyForm,
    queues: OwnThread<Queues<Ticket>>,
    /// Wakes a sender when a request was queued, or a call about a lease is due.
    queued: Notify,
    tracer: Option<Tracer>,
    /// Wakes the task that ends leases, when there is one again.
    leased: Notify,
}

/// A value that only the thread of its runtime uses, so the lock is never contended. It is a mutex all the same because
/// tonic and hyper want futures that could move between threads.
#[derive(Debug, Default)]
struct OwnThread<T>(Mutex<T>);

#[derive(Debug)]
struct Ticket {
    caller: oneshot::Sender<Result<Answer, StoreError>>,
    /// The caller's span, if the request is recorded.
    span: Option<SpanContext>,
}

impl dispatch::Ticket for Ticket {
    fn is_gone(&self) -> bool {
        self.caller.is_closed()
    }

    fn answer(self, answer: Result<Answer, StoreError>) {
        // Fails if the caller has gone meanwhile.
        let _ = self.caller.send(answer);
    }
}

impl RedisStore {
    /// Starts connecting and returns at once. Must be called within a tokio runtime.
    pub fn open(backend: &RedisBackend, deadline: Duration) -> RedisStore {
        let denial_cache = backend.denials.as_deref().map_or_else(DenialCache::off, DenialCache::sharing);
        let answered = denial_cache.answered_elsewhere();
        let runtime = Arc::new(Runtime {
            line: Arc::new(Line::new(LineHealth::new(&backend.health), backend.acks, None)),
            deadline,
            clock: *backend.clock,
            key_form: backend.key_form(),
            queues: OwnThread::new(Queues::new(
                micros(deadline),
                denial_cache,
                Leases::counted_in(&backend.leased_hits),
            )),
            queued: Notify::new(),
            tracer: backend.tracer.clone(),
            leased: Notify::new(),
        });
        let mut tasks = Vec::new();
        for slot in 0..MOST_UNDER_WAY {
            let runtime = Arc::clone(&runtime);
            tasks.push(tasks::keep(Task::StoreCalls, move || batches::send(Arc::clone(&runtime), slot)));
        }
        let queue = Arc::clone(&runtime);
        tasks.push(tasks::keep(Task::StoreQueue, move || batches::give_up_overdue(Arc::clone(&queue))));
        if let Some(answered) = answered {
            let runtime = Arc::clone(&runtime);
            tasks.push(tasks::keep(Task::StoreQueue, move || {
                let runtime = Arc::clone(&runtime);
                denial_cache::when_answered(Arc::clone(&answered), move || runtime.queued.notify_one())
            }));
        }
        let leases = Arc::clone(&runtime);
        tasks.push(tasks::keep(Task::StoreQueue, move || leasing::end(Arc::clone(&leases))));
        let (line, discovery, advice) =
            (Arc::clone(&runtime.line), backend.discovery.clone(), Arc::clone(&backend.advice));
        tasks.push(tasks::keep(Task::StoreConnection, move || {
            keep_connected(Arc::clone(&line), discovery.clone(), Arc::clone(&advice))
        }));
        if backend.replica_count.is_free() {
            let (replica_count, line) = (Arc::clone(&backend.replica_count), Arc::clone(&runtime.line));
            tasks.push(tasks::keep(Task::ReplicaCount, move || {
                Arc::clone(&replica_count).count(Reach::One(Arc::clone(&line)))
            }));
            let (board, line) = (Arc::clone(&backend.board), Arc::clone(&runtime.line));
            tasks.push(tasks::keep(Task::Live, move || {
                Arc::clone(&board).keep(Reach::One(Arc::clone(&line)))
            }));
            match backend.discovery.clone() {
                Discovery::Named(server) => {
                    let masters = Arc::clone(&backend.masters);
                    let watch = move || Arc::clone(&masters).watch(server.clone());
                    tasks.push(tasks::keep(Task::StoreConnection, watch));
                }
                Discovery::Sentinels(sentinels) => {
                    let watch = move || Arc::clone(&sentinels).watch();
                    tasks.push(tasks::keep(Task::StoreConnection, watch));
                }
                // It has a store of its own.
                Discovery::Cluster(_) | Discovery::Node(..) => {}
            }
        }
        RedisStore { runtime, tasks }
    }

    /// Takes all or none. Without a connection it fails at once, unless memory or a lease can decide the request.
    pub fn take(&self, span: Option<SpanContext>, takes: Takes) -> Asking<'_> {
        leasing::take(&*self.runtime, takes, |rest| self.ask(span, rest))
    }

    /// Reports what was spent of all leases, so that the rest comes back. Returns when Redis knows, or cannot be told.
    pub async fn end_leases(&self) {
        leasing::end_all(&*self.runtime).await;
    }

    fn ask(&self, span: Option<SpanContext>, takes: Takes) -> Asking<'_> {
        let (now_us, is_up) = (self.runtime.clock.now_us(), self.runtime.line.is_up());
        let ticket = || {
            let (caller, answer) = oneshot::channel();
            (Ticket { caller, span }, answer)
        };
        match self.runtime.queues.with(|queues| queues.ask(takes, ticket, is_up, now_us)) {
            Dispatched::Denied(denial) => Asking::answered(Ok(denial)),
            Dispatched::Refused(error) => Asking::answered(Err(error)),
            Dispatched::Queued(answer) => {
                self.runtime.queued.notify_one();
                Asking::queued(answer)
            }
        }
    }

    /// The form of the keys of its buckets.
    pub fn key_form(&self) -> KeyForm {
        self.runtime.key_form
    }

    /// Whether this bucket was recently seen without room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        let now_us = self.runtime.clock.now_us();
        self.runtime.queues.with(|queues| queues.denial_cache.knows(key, now_us))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<T> OwnThread<T> {
    fn new(value: T) -> OwnThread<T> {
        OwnThread(Mutex::new(value))
    }

    fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // A panic leaves nothing half-changed: each change is one call of pure code.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lessee for Runtime {
    fn clock(&self) -> Clock {
        self.clock
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn leases<R>(&self, use_them: impl FnOnce(&mut Leases) -> R) -> R {
        self.queues.with(|queues| use_them(&mut queues.leases))
    }

    fn wake_senders(&self, _: &[BucketKey]) {
        self.queued.notify_one();
    }

    fn leased(&self) -> &Notify {
        &self.leased
    }

    fn ride(&self, answer: Answer) -> Asking<'_> {
        match self.queues.with(|queues| queues.riders.board(answer)) {
            Boarded::Not(answer) => Asking::answered(Ok(answer)),
            Boarded::First(ride) => {
                // If no request waits for a batch, there will be none.
                self.queued.notify_one();
                Asking::queued(ride)
            }
            Boarded::With(ride) => Asking::queued(ride),
        }
    }
}

#[cfg(test)]
mod tests;
