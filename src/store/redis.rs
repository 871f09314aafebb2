//! Buckets in Redis: one script decides, so a request is atomic on any number of nodes.
//!
//! Every runtime has a store of its own, since a connection is driven by the runtime that opened it. A take
//! that the [`denial_cache`] knows to be denied is answered from memory; all others are queued, and [`queue`] carry
//! them to Redis together; the [`dispatch`] drives both. A request never waits for a connection. A take is sent
//! again only after NOSCRIPT, which proves that nothing ran, and never after silence, when it may have been
//! charged. No take waits for ever: what is queued is given up after [`queue::PATIENCE_US`], by whoever forms
//! batches or, should that one be stuck, by a task of its own; and what is in the air lands, also if its task
//! panics.

mod address;
mod advice;
mod connection;
pub mod denial_cache;
pub mod dispatch;
mod line;
mod password;
mod probe;
pub mod replica_count;
pub mod script;

use std::{
    future::{self, Future},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use redis::{Cmd, RedisError, Value};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    clock::Clock,
    store::{StoreError, TargetError, health::StoreHealth, refusal::Refusal},
    tasks::{self, Task},
};
pub use address::{AddressError, RedisTarget};
use advice::Advice;
use connection::keep_connected;
use dispatch::{
    DenialCaches, Dispatcher,
    queue::{Batch, MOST_IN_AIR},
};
use line::{Connection, Line};
pub use password::{PasswordError, PasswordFile};
use replica_count::ReplicaCount;
use script::{Call, Now};
use tollgate_core::{
    decision::{Answer, Takes},
    descriptor::BucketKey,
    duration::micros,
};

const LOOK_FOR_OVERDUE_EVERY: Duration = Duration::from_millis(250);

/// How the store is used; the same on every runtime.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    target: RedisTarget,
    health: Arc<StoreHealth>,
    /// None: the denial cache is off.
    denial_caches: Option<Arc<DenialCaches>>,
    replica_count: Arc<ReplicaCount>,
    advice: Arc<Advice>,
    /// One for all runtimes, since what one of them gave back is told to the denial caches of the others.
    clock: Arc<Clock>,
}

impl RedisBackend {
    pub fn new(target: RedisTarget) -> RedisBackend {
        RedisBackend {
            health: Arc::new(StoreHealth::of(target.to_string())),
            target,
            denial_caches: Some(Arc::default()),
            replica_count: Arc::default(),
            advice: Arc::default(),
            clock: Arc::new(Clock::start()),
        }
    }

    pub(super) fn password_in(self, file: PasswordFile) -> Result<RedisBackend, TargetError> {
        if self.target.has_password() {
            return Err(TargetError::TwoPasswords);
        }
        file.read()?;
        Ok(RedisBackend { target: self.target.password_in(file), ..self })
    }

    /// How many replicas share this Redis, as they count themselves.
    pub fn replica_count(&self) -> &Arc<ReplicaCount> {
        &self.replica_count
    }

    pub(super) fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.health)
    }

    /// Every take is asked of Redis, also one that memory could deny.
    #[must_use]
    pub fn without_denial_cache(self) -> RedisBackend {
        RedisBackend { denial_caches: None, ..self }
    }
}

// === RedisStore ===

/// One runtime's store.
#[derive(Debug)]
pub struct RedisStore {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What takes, batches and the connection's keeper share.
#[derive(Debug)]
struct Shared {
    line: Arc<Line>,
    deadline: Duration,
    clock: Clock,
    dispatcher: Dispatcher<Ticket>,
    queued: Notify,
}

type Ticket = oneshot::Sender<Result<Answer, StoreError>>;

impl dispatch::Ticket for Ticket {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }

    fn answer(self, answer: Result<Answer, StoreError>) {
        // Fails where the caller has gone meanwhile.
        let _ = self.send(answer);
    }
}

impl RedisStore {
    /// Starts connecting and returns at once. Must be called within a tokio runtime.
    pub fn open(backend: &RedisBackend, deadline: Duration) -> RedisStore {
        let deadline_us = micros(deadline);
        let shared = Arc::new(Shared {
            line: Arc::new(Line::new(&backend.health)),
            deadline,
            clock: *backend.clock,
            dispatcher: Dispatcher::new(backend.denial_caches.clone(), deadline_us),
            queued: Notify::new(),
        });
        let mut tasks = Vec::new();
        for _ in 0..MOST_IN_AIR {
            let shared = Arc::clone(&shared);
            tasks.push(tasks::keep(Task::StoreCalls, move || fly(Arc::clone(&shared))));
        }
        let queue = Arc::clone(&shared);
        tasks.push(tasks::keep(Task::StoreQueue, move || give_up_overdue(Arc::clone(&queue))));
        let (line, target, advice) =
            (Arc::clone(&shared.line), backend.target.clone(), Arc::clone(&backend.advice));
        tasks.push(tasks::keep(Task::StoreConnection, move || {
            keep_connected(Arc::clone(&line), target.clone(), Arc::clone(&advice))
        }));
        if backend.replica_count.is_free() {
            let (replica_count, line) = (Arc::clone(&backend.replica_count), Arc::clone(&shared.line));
            tasks.push(tasks::keep(Task::ReplicaCount, move || {
                Arc::clone(&replica_count).count(Arc::clone(&line))
            }));
        }
        RedisStore { shared, tasks }
    }

    /// Takes all or none. Without a connection it fails at once.
    pub async fn take(&self, takes: Takes) -> Result<Answer, StoreError> {
        let now_us = self.shared.clock.now_us();
        if let Some(denial) = self.shared.dispatcher.denial(&takes, now_us) {
            return Ok(denial);
        }
        if !self.shared.line.is_up() {
            return Err(StoreError::Disconnected);
        }
        let (ticket, answer) = oneshot::channel();
        self.shared.dispatcher.push(takes, ticket, now_us);
        self.shared.queued.notify_one();
        // Dropped unanswered only where the store itself is dropped, or a task panics.
        answer.await.unwrap_or(Err(StoreError::Abandoned))
    }
}

impl RedisStore {
    /// Whether this bucket was lately seen without room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        self.shared.dispatcher.is_known_empty(key, self.shared.clock.now_us())
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

// === flying ===

/// One slot in the air: forms a batch, sends it, hands out its answers, for ever.
async fn fly(shared: Arc<Shared>) {
    loop {
        // Woken after the requests that are being read at the moment, so these travel together.
        let Some(batch) = shared.dispatcher.form(shared.clock.now_us()) else {
            shared.queued.notified().await;
            continue;
        };
        let mut aloft = Aloft { shared: &shared, batch: Some(batch) };
        let answers = aloft.send().await;
        aloft.land(answers);
    }
}

/// A batch, which lands however its task ends: its slot would stay taken, and what waits for it would wait for ever.
struct Aloft<'a> {
    shared: &'a Shared,
    batch: Option<Batch<Ticket>>,
}

impl Aloft<'_> {
    async fn send(&self) -> Result<Vec<Answer>, StoreError> {
        tasks::may_panic(Task::StoreCalls);
        self.shared.send(self.batch.as_ref().ok_or(StoreError::Abandoned)?).await
    }

    fn land(&mut self, answers: Result<Vec<Answer>, StoreError>) {
        if let Some(batch) = self.batch.take() {
            self.shared.dispatcher.land(batch, answers, self.shared.clock.now_us());
        }
    }
}

impl Drop for Aloft<'_> {
    fn drop(&mut self) {
        self.land(Err(StoreError::Abandoned));
    }
}

/// For ever: a bound for what waits in the queue that does not depend on those who empty it.
async fn give_up_overdue(shared: Arc<Shared>) {
    loop {
        sleep(LOOK_FOR_OVERDUE_EVERY).await;
        shared.dispatcher.give_up_overdue(shared.clock.now_us());
    }
}

impl Shared {
    async fn send(&self, batch: &Batch<Ticket>) -> Result<Vec<Answer>, StoreError> {
        let connection = self.line.connection().ok_or(StoreError::Disconnected)?;
        let call = Call::new(batch.requests.iter().map(|request| &request.takes[..]));
        let mut reply = self.exchange(&connection, &call.command("EVALSHA", &connection.script)).await;
        if reply.as_ref().is_err_and(StoreError::may_be_sent_again) {
            reply = self.exchange(&connection, &call.command("EVAL", &script::text(Now::Server))).await;
        }
        match reply? {
            Value::BulkString(bytes) => {
                script::answers(&bytes, batch.requests.iter().map(|request| &request.takes[..]))
            }
            _ => Err(StoreError::Reply("it is not a string")),
        }
    }

    async fn exchange(&self, connection: &Connection, command: &Cmd) -> Result<Value, StoreError> {
        let mut handle = connection.inner.clone();
        let reply = within(self.deadline, handle.send_packed_command(command)).await;
        // What Redis says in place of an answer comes as a value.
        let reply = reply.ok_or(StoreError::Deadline)?.and_then(Value::extract_error);
        reply.map_err(|error| {
            self.line.note(connection.number, &error);
            store_error(&error)
        })
    }
}

/// None if the answer is not there in time. What has arrived by then is still read: a runtime that was
/// busy elsewhere is not a dead Redis.
async fn within<T>(deadline: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(deadline, answer.as_mut()).await {
        return Some(answer);
    }
    for _ in 0..2 {
        // Lets the connection's task look at its socket.
        tokio::task::yield_now().await;
        let look = future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx)));
        if let Poll::Ready(answer) = look.await {
            return Some(answer);
        }
    }
    None
}

fn store_error(error: &RedisError) -> StoreError {
    match error.code() {
        Some(code) => StoreError::Refused(Refusal::of(code, error.detail().unwrap_or_default())),
        None => StoreError::Disconnected,
    }
}

#[cfg(test)]
mod tests;
