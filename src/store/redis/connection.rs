//! One connection to Redis, kept up: opened at the start, replaced when it breaks or falls silent.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{
    Manager, Pool, PoolError, Runtime,
    redis::{AsyncConnectionConfig, ConnectionInfo, RedisError, aio::MultiplexedConnection, cmd},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    address::RedisTarget,
    advice::Advice,
    script::{self, Now},
};
use crate::{error, store::health::LineHealth};

/// Opening a connection, log-in and script included, may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts to connect: this long at first, doubled up to the longest, then spread at random
/// over half of it, so that replicas do not come back in step.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How often an idle connection is tried, and how long its answer may take: a peer that is gone without a word
/// is noticed within the sum of both, and before a request has to find out. With a pause that is below a second.
const PING_EVERY: Duration = Duration::from_millis(350);
const PING_TIMEOUT: Duration = Duration::from_millis(350);
/// A connection that was lost sooner counts as an attempt that failed: a demoted master takes connections and
/// refuses what is sent over them.
const SETTLED: Duration = Duration::from_secs(1);

// === Line ===

/// The connection in use, if there is one.
#[derive(Debug, Default)]
pub(super) struct Line {
    connection: Mutex<Option<Connection>>,
    lost: Notify,
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
    pub(super) fn is_up(&self) -> bool {
        self.locked().is_some()
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.locked().clone()
    }

    /// Learns from a failure whether connection `number` is of any more use.
    pub(super) fn note(&self, number: u64, error: &RedisError) {
        // Without a code it comes from the connection. A demoted master keeps its connections and refuses
        // every write, so that one is given up as well.
        if error.code().is_none_or(|code| code == "READONLY") {
            self.give_up(number);
        }
    }

    fn give_up(&self, number: u64) {
        let mut connection = self.locked();
        if connection.as_ref().is_some_and(|connection| connection.number == number) {
            *connection = None;
            self.lost.notify_one();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, keeps the connection until it is lost, and connects again, for ever.
pub(super) async fn keep_connected(
    line: Arc<Line>,
    target: RedisTarget,
    mut health: LineHealth,
    advice: Arc<Advice>,
) {
    let mut pause = FIRST_PAUSE;
    // Whether an outage was logged and its end was not, and whether its reason was: one line for each, the metrics
    // count the rest.
    let (mut away, mut is_explained) = (false, false);
    for number in 0.. {
        match timeout(CONNECT_TIMEOUT, connect(&target)).await.unwrap_or_else(|late| Err(late.to_string())) {
            Ok((inner, script)) => {
                if !away {
                    tracing::info!(store = %target, "connected to the store");
                }
                let connection = Connection { inner, script, number };
                *line.locked() = Some(connection.clone());
                health.is_up();
                let advice = Arc::clone(&advice);
                let inner = connection.inner.clone();
                tokio::spawn(async move { advice.give(inner).await });
                if timeout(SETTLED, watch(&line, &connection)).await.is_err() {
                    if away {
                        tracing::info!(store = %target, "connected to the store again");
                    }
                    (away, is_explained, pause) = (false, false, FIRST_PAUSE);
                    watch(&line, &connection).await;
                }
                if !away {
                    tracing::warn!(store = %target, "lost the connection to the store");
                }
                health.is_down(format_args!("lost the connection to {target}"));
            }
            Err(error) => {
                health.is_down(format_args!("cannot reach {target}: {error}"));
                if !is_explained {
                    tracing::warn!(store = %target, %error, "cannot reach the store; trying on");
                }
                is_explained = true;
            }
        }
        away = true;
        let spread = rand::random_range(0.5..1.0);
        sleep(pause.mul_f64(spread)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns when the connection is lost: a request found out, or it does not answer when it is tried.
async fn watch(line: &Line, connection: &Connection) {
    let mut inner = connection.inner.clone();
    let pings = async {
        loop {
            sleep(PING_EVERY).await;
            let answer = timeout(PING_TIMEOUT, cmd("PING").query_async::<()>(&mut inner)).await;
            // A refusal is an answer.
            if answer.is_err() || answer.is_ok_and(|answer| answer.is_err_and(|error| error.code().is_none()))
            {
                line.give_up(connection.number);
            }
        }
    };
    tokio::select! {
        () = line.lost.notified() => {}
        () = pings => {}
    }
}

/// A connection of our own, taken out of the pool for good, and the digest of the script that it has.
async fn connect(target: &RedisTarget) -> Result<(MultiplexedConnection, Arc<str>), String> {
    let login = target.login().await.map_err(|error| error::chain(&error))?;
    let pooled = pool(login).get().await.map_err(|error| match error {
        PoolError::Backend(error) => error.to_string(),
        error => error.to_string(),
    })?;
    let mut connection = deadpool_redis::Connection::take(pooled);
    let digest: String = cmd("SCRIPT")
        .arg("LOAD")
        .arg(script::text(Now::Server))
        .query_async(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
    Ok((connection, digest.into()))
}

fn pool(login: ConnectionInfo) -> Pool {
    // The store's own deadline counts, and it is shorter than the crate's default of 500 ms or longer
    // only where a test says so.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(CONNECT_TIMEOUT));
    let manager = Manager::new_with_config(login, config).expect("the address was parsed before");
    Pool::builder(manager)
        .max_size(1)
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a pool without timeouts needs nothing more")
}
