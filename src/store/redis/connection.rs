//! One connection to Redis, kept up: opened at the start, replaced when it breaks or falls silent.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{
    Manager, Pool, Runtime,
    redis::{
        AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value,
        aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::script::{self, Now};

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

// === Line ===

/// The connection in use, if there is one.
#[derive(Debug, Default)]
pub(super) struct Line {
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
pub(super) struct Connection {
    pub(super) inner: MultiplexedConnection,
    pub(super) script: Arc<str>,
    /// Counts up, so that a late failure of an old connection does not end the new one.
    pub(super) number: u64,
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

    pub(super) fn is_up(&self) -> bool {
        self.state().connection.is_some()
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.state().connection.clone()
    }

    fn up(&self, connection: Connection) {
        *self.state() = State { connection: Some(connection), silent_since: None };
    }

    /// Learns from a reply, or from none within the deadline, whether connection `number` is still good.
    pub(super) fn note(&self, number: u64, reply: Option<&Result<Value, RedisError>>) {
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
pub(super) async fn keep_connected(line: Arc<Line>, target: RedisTarget) {
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
