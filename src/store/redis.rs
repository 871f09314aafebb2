//! Buckets in Redis: one script decides, so a request is atomic on any number of nodes.
//!
//! Every runtime has a store of its own, since a connection is driven by the runtime that opened it. A take
//! that the [`memo`] knows to be denied is answered from memory; all others are queued, and [`flights`] carry
//! them to Redis together; the [`desk`] drives both. A request never waits for a connection. A take is sent
//! again only after NOSCRIPT, which proves that nothing ran, and never after silence, when it may have been
//! charged. No take waits for ever: what is queued is given up after [`flights::PATIENCE_US`], by whoever forms
//! flights or, should that one be stuck, by a task of its own; and what is in the air lands, also if its task
//! panics.

mod address;
mod advice;
pub mod breaker;
pub mod census;
mod connection;
pub mod desk;
pub mod flights;
mod line;
pub mod memo;
mod password;
mod probe;
pub mod script;

use std::{
    future::{self, Future},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use deadpool_redis::redis::{Cmd, RedisError, Value};
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
use census::Census;
use connection::keep_connected;
use desk::{Desk, Memos};
use flights::{Flight, MOST_IN_AIR};
use line::{Connection, Line};
pub use password::{PasswordError, PasswordFile};
use script::{Call, Now};
use tollgate_core::{
    decision::{Answer, Takes},
    descriptor::BucketKey,
};

const LOOK_FOR_OVERDUE_EVERY: Duration = Duration::from_millis(250);

/// How the store is used; the same on every runtime.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    target: RedisTarget,
    health: Arc<StoreHealth>,
    /// None: the memo is off.
    memos: Option<Arc<Memos>>,
    census: Arc<Census>,
    advice: Arc<Advice>,
    /// One for all runtimes, since what one of them gave back is told to the memos of the others.
    clock: Arc<Clock>,
}

impl RedisBackend {
    pub fn new(target: RedisTarget) -> RedisBackend {
        RedisBackend {
            health: Arc::new(StoreHealth::of(target.to_string())),
            target,
            memos: Some(Arc::default()),
            census: Arc::default(),
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
    pub fn census(&self) -> &Arc<Census> {
        &self.census
    }

    pub(super) fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.health)
    }

    /// Every take is asked of Redis, also one that memory could deny.
    #[must_use]
    pub fn without_memo(self) -> RedisBackend {
        RedisBackend { memos: None, ..self }
    }
}

// === RedisStore ===

/// One runtime's store.
#[derive(Debug)]
pub struct RedisStore {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What takes, flights and the connection's keeper share.
#[derive(Debug)]
struct Shared {
    line: Arc<Line>,
    deadline: Duration,
    clock: Clock,
    desk: Desk<Ticket>,
    queued: Notify,
}

type Ticket = oneshot::Sender<Result<Answer, StoreError>>;

impl desk::Ticket for Ticket {
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
        let deadline_us = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
        let shared = Arc::new(Shared {
            line: Arc::new(Line::new(&backend.health)),
            deadline,
            clock: *backend.clock,
            desk: Desk::new(backend.memos.clone(), deadline_us),
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
        if backend.census.is_free() {
            let (census, line) = (Arc::clone(&backend.census), Arc::clone(&shared.line));
            tasks.push(tasks::keep(Task::ReplicaCount, move || Arc::clone(&census).count(Arc::clone(&line))));
        }
        RedisStore { shared, tasks }
    }

    /// Takes all or none. Without a connection it fails at once.
    pub async fn take(&self, takes: Takes) -> Result<Answer, StoreError> {
        let now_us = self.shared.clock.now_us();
        if let Some(denial) = self.shared.desk.denial(&takes, now_us) {
            return Ok(denial);
        }
        if !self.shared.line.is_up() {
            return Err(StoreError::Disconnected);
        }
        let (ticket, answer) = oneshot::channel();
        self.shared.desk.push(takes, ticket, now_us);
        self.shared.queued.notify_one();
        // Dropped unanswered only where the store itself is dropped, or a task panics.
        answer.await.unwrap_or(Err(StoreError::Abandoned))
    }
}

impl RedisStore {
    /// Whether this bucket was lately seen without room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        self.shared.desk.is_known_empty(key, self.shared.clock.now_us())
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

/// One slot in the air: forms a flight, sends it, hands out its answers, for ever.
async fn fly(shared: Arc<Shared>) {
    loop {
        // Woken after the requests that are being read at the moment, so these travel together.
        let Some(flight) = shared.desk.form(shared.clock.now_us()) else {
            shared.queued.notified().await;
            continue;
        };
        let mut aloft = Aloft { shared: &shared, flight: Some(flight) };
        let answers = aloft.send().await;
        aloft.land(answers);
    }
}

/// A flight, which lands however its task ends: its slot would stay taken, and what waits for it would wait for ever.
struct Aloft<'a> {
    shared: &'a Shared,
    flight: Option<Flight<Ticket>>,
}

impl Aloft<'_> {
    async fn send(&self) -> Result<Vec<Answer>, StoreError> {
        tasks::may_panic(Task::StoreCalls);
        self.shared.send(self.flight.as_ref().ok_or(StoreError::Abandoned)?).await
    }

    fn land(&mut self, answers: Result<Vec<Answer>, StoreError>) {
        if let Some(flight) = self.flight.take() {
            self.shared.desk.land(flight, answers, self.shared.clock.now_us());
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
        shared.desk.give_up_overdue(shared.clock.now_us());
    }
}

impl Shared {
    async fn send(&self, flight: &Flight<Ticket>) -> Result<Vec<Answer>, StoreError> {
        let connection = self.line.connection().ok_or(StoreError::Disconnected)?;
        let call = Call::new(flight.requests.iter().map(|request| &request.takes[..]));
        let mut reply = self.exchange(&connection, &call.command("EVALSHA", &connection.script)).await;
        if reply.as_ref().is_err_and(StoreError::may_be_sent_again) {
            reply = self.exchange(&connection, &call.command("EVAL", &script::text(Now::Server))).await;
        }
        match reply? {
            Value::BulkString(bytes) => {
                script::answers(&bytes, flight.requests.iter().map(|request| &request.takes[..]))
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
