//! Buckets in Redis: each request is one call of one script, so it is atomic on any number of nodes.
//!
//! Every runtime has a store of its own, since a connection is driven by the runtime that opened it. A
//! task keeps one connection up and replaces it when it breaks or falls silent; a request never waits for
//! a connection. A take is sent again only after NOSCRIPT, which proves that nothing ran, and never after
//! silence, when it may have been charged.

pub mod script;

use std::{
    fmt,
    future::{self, Future},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use deadpool_redis::{
    Manager, Pool, Runtime,
    redis::{
        AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value,
        aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
    },
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    decision::{Answer, Take},
    store::StoreError,
};
use script::{Call, Now};

/// Opening a connection, log-in and script included, may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts to connect: this long at first, doubled up to the longest, then spread at random
/// over half of it, so that replicas do not come back in step.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that has let a deadline pass and answered nothing since is replaced after this long: its
/// peer may be gone without a word.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);

// === RedisTarget ===

/// Where Redis is and how to log in. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone)]
pub struct RedisTarget(ConnectionInfo);

impl RedisTarget {
    pub fn parse(url: &str) -> Result<RedisTarget, RedisError> {
        let info = url.into_connection_info()?;
        // Off by default in the redis crate; Nagle's algorithm would hold back a call for 40 ms.
        Ok(RedisTarget(info.set_tcp_settings(TcpSettings::default().set_nodelay(true))))
    }

    fn pool(&self) -> Pool {
        // The store's own deadline counts, and it is shorter than the crate's default of 500 ms or longer
        // only where a test says so.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(CONNECT_TIMEOUT));
        let manager =
            Manager::new_with_config(self.0.clone(), config).expect("the address was parsed before");
        Pool::builder(manager)
            .max_size(1)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool without timeouts needs nothing more")
    }
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}"),
            other => write!(f, "redis at {other}"),
        }
    }
}

// === RedisStore ===

#[derive(Debug)]
pub struct RedisStore {
    line: Arc<Line>,
    deadline: Duration,
    keeper: JoinHandle<()>,
}

impl RedisStore {
    /// Starts connecting and returns at once. Must be called within a tokio runtime.
    pub fn open(target: &RedisTarget, deadline: Duration) -> RedisStore {
        let line = Arc::new(Line::default());
        let keeper = tokio::spawn(keep_connected(Arc::clone(&line), target.clone()));
        RedisStore { line, deadline, keeper }
    }

    /// Takes all or none. Without a connection it fails at once.
    pub async fn take(&self, takes: &[Take]) -> Result<Answer, StoreError> {
        let connection = self.line.connection().ok_or(StoreError::Disconnected)?;
        let call = Call::new(takes);
        let mut reply = self.send(&connection, &call.command("EVALSHA", &connection.script)).await;
        if let Err(StoreError::Refused(code)) = &reply
            && code == "NOSCRIPT"
        {
            reply = self.send(&connection, &call.command("EVAL", &script::text(Now::Server))).await;
        }
        match reply? {
            Value::BulkString(bytes) => script::answer(&bytes, takes.len()),
            _ => Err(StoreError::Reply("it is not a string")),
        }
    }

    async fn send(&self, connection: &Connection, command: &Cmd) -> Result<Value, StoreError> {
        let mut handle = connection.inner.clone();
        let reply = within(self.deadline, handle.send_packed_command(command)).await;
        // What Redis says in place of an answer comes as a value.
        let reply = reply.map(|reply| reply.and_then(Value::extract_error));
        self.line.note(connection.number, reply.as_ref());
        reply.ok_or(StoreError::Deadline)?.map_err(|error| store_error(&error))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.keeper.abort();
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
        // The code alone: the rest of an error may repeat what was sent.
        Some(code) => StoreError::Refused(code.to_owned()),
        None => StoreError::Disconnected,
    }
}

// === Line ===

/// The connection in use, if there is one.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    lost: Notify,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// When a deadline first passed with no reply since.
    silent_since: Option<Instant>,
}

#[derive(Clone)]
struct Connection {
    inner: MultiplexedConnection,
    script: Arc<str>,
    /// Counts up, so that a late failure of an old connection does not end the new one.
    number: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Option<Connection> {
        self.state().connection.clone()
    }

    fn up(&self, connection: Connection) {
        *self.state() = State { connection: Some(connection), silent_since: None };
    }

    /// Learns from a reply, or from none within the deadline, whether connection `number` is still good.
    fn note(&self, number: u64, reply: Option<&Result<Value, RedisError>>) {
        let mut state = self.state();
        if state.connection.as_ref().is_none_or(|connection| connection.number != number) {
            return;
        }
        let broken = match reply {
            Some(Ok(_)) => {
                state.silent_since = None;
                false
            }
            // A demoted master keeps its connections and refuses every write.
            Some(Err(error)) => error.code().is_none_or(|code| code == "READONLY"),
            None => state.silent_since.get_or_insert_with(Instant::now).elapsed() > LONGEST_SILENCE,
        };
        if broken {
            *state = State::default();
            self.lost.notify_one();
        }
    }
}

/// Connects, waits until the connection is lost, and connects again, for ever.
async fn keep_connected(line: Arc<Line>, target: RedisTarget) {
    let pool = target.pool();
    let mut pause = FIRST_PAUSE;
    let mut failing = false;
    let mut number = 0;
    loop {
        match timeout(CONNECT_TIMEOUT, connect(&pool)).await.unwrap_or_else(|late| Err(late.to_string())) {
            Ok((inner, script)) => {
                number += 1;
                tracing::info!(store = %target, "connected to the store");
                (pause, failing) = (FIRST_PAUSE, false);
                line.up(Connection { inner, script, number });
                line.lost.notified().await;
                tracing::warn!(store = %target, "lost the connection to the store");
            }
            Err(error) => {
                // Once for each outage: the metrics count the rest.
                if !failing {
                    tracing::warn!(store = %target, %error, "cannot reach the store; trying on");
                }
                failing = true;
                let spread = rand::random_range(0.5..1.0);
                sleep(pause.mul_f64(spread)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// A connection of our own, taken out of the pool for good, and the digest of the script that it has.
async fn connect(pool: &Pool) -> Result<(MultiplexedConnection, Arc<str>), String> {
    let pooled = pool.get().await.map_err(|error| error.to_string())?;
    let mut connection = deadpool_redis::Connection::take(pooled);
    let digest: String = cmd("SCRIPT")
        .arg("LOAD")
        .arg(script::text(Now::Server))
        .query_async(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
    Ok((connection, digest.into()))
}
