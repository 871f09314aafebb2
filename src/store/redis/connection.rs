//! Keeps one connection to Redis: opens it at the start, and replaces it when it breaks or falls silent.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, ErrorKind, RedisError, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    address::Server,
    advice::Advice,
    dial::{self, Stream, dial},
    discovery::Discovery,
    dispatch::queue::MOST_UNDER_WAY,
    line::{Connection, Line},
    probe::{self, Probed},
    tls::HandshakeError,
};
use crate::{
    error,
    store::refusal::{Complaint, Refusal},
    tasks::{self, Task},
};

/// The time for opening a connection, including the login and loading the script.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two attempts to connect. It doubles up to the longest, and each is shortened at random by up to
/// half, so that replicas do not connect in step.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The time between two PINGs, and the time for their answer. A peer that disappeared silently is noticed within the
/// sum of both, before a request has to find out; with the pause that is less than a second.
const PING_EVERY: Duration = Duration::from_millis(350);
const PING_TIMEOUT: Duration = Duration::from_millis(350);
/// A connection that is lost sooner counts as a failed attempt: a demoted master accepts connections and refuses the
/// calls over them.
const SETTLED: Duration = Duration::from_secs(1);

const SPEAKS_TLS: &str = "this port speaks TLS: write rediss:// in place of redis://";

/// Why there is no connection.
pub(super) enum NoConnection {
    Away(String),
    /// Redis was reached and cannot be used.
    Denied(Complaint),
}

/// A connection that can be used.
struct Opened {
    server: Server,
    dialled: Dialled,
    lanes: Arc<[Dialled]>,
    script: Arc<str>,
    /// What it refuses at the moment.
    complaint: Option<Complaint>,
}

/// A connection, and the task that reads and writes for it.
#[derive(Clone)]
pub(super) struct Dialled {
    pub(super) inner: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// Ends its task when it is dropped: with a silent Redis, the task would wait for its answers for ever.
struct Driver {
    task: JoinHandle<()>,
    ended: Arc<Notify>,
}

impl Driver {
    fn start(drives: impl Future<Output = ()> + Send + 'static) -> Arc<Driver> {
        let ended = Arc::new(Notify::new());
        let tells = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            drives.await;
            tells.notify_one();
        });
        Arc::new(Driver { task, ended })
    }
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").finish_non_exhaustive()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, keeps the connection until it is lost, and connects again, forever.
pub(super) async fn keep_connected(line: Arc<Line>, discovery: Discovery, advice: Arc<Advice>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tasks::may_panic(Task::StoreConnection);
        let opened = timeout(CONNECT_TIMEOUT, open(&discovery, line.acks, &advice)).await;
        match opened.unwrap_or_else(|late| Err(NoConnection::Away(late.to_string()))) {
            Ok(Opened { server, dialled, lanes, script, complaint }) => {
                let connection = line.take_up(dialled, lanes, script);
                line.health.is_opened();
                match complaint {
                    None => line.health.is_up(),
                    Some(complaint) => line.health.is_refused(&complaint),
                }
                let lost = async {
                    if timeout(SETTLED, watch(&line, &connection, &discovery)).await.is_err() {
                        line.health.has_settled();
                        pause = FIRST_PAUSE;
                        watch(&line, &connection, &discovery).await;
                    }
                };
                tokio::select! {
                    () = lost => {}
                    () = discovery.moved(&server) => {
                        line.give_up(connection.number);
                        line.lost().await;
                    }
                }
                line.health.is_lost();
            }
            Err(NoConnection::Denied(complaint)) => line.health.is_denied(&complaint),
            Err(NoConnection::Away(error)) => line.health.is_unreachable(&error),
        }
        line.has_been_tried();
        discovery.is_lost();
        let spread = rand::random_range(0.5..1.0);
        sleep(pause.mul_f64(spread)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns when the connection is lost: Redis closed it, a request noticed, or a PING had no answer.
async fn watch(line: &Line, connection: &Connection, discovery: &Discovery) {
    let mut inner = connection.dialled.inner.clone();
    let looks = async {
        loop {
            let refused_before = line.refused();
            sleep(PING_EVERY).await;
            let is_there = if line.health.refuses() {
                // It makes several calls, and may take as long as opening another connection.
                let look = look_again(line, connection, discovery, refused_before);
                timeout(CONNECT_TIMEOUT, look).await.unwrap_or(false)
            } else {
                let answer = timeout(PING_TIMEOUT, cmd("PING").query_async::<()>(&mut inner)).await;
                // A refusal is an answer.
                answer.is_ok_and(|answer| answer.is_ok() || answer.is_err_and(|error| error.code().is_some()))
            };
            if !is_there {
                line.give_up(connection.number);
            }
        }
    };
    let closed = async {
        connection.dialled.driver.ended.notified().await;
        line.give_up(connection.number);
        pending::<()>().await;
    };
    tokio::select! {
        () = line.lost() => {}
        () = closed => {}
        () = looks => {}
    }
}

/// Asks whether Redis grants again the calls that it refused. False if the connection cannot be used.
///
/// Redis may refuse a request and grant the probe, so both must have been granted since the previous look.
async fn look_again(
    line: &Line,
    connection: &Connection,
    discovery: &Discovery,
    refused_before: u64,
) -> bool {
    let refused = line.refused();
    let Ok(probed) = probe::probe(&mut connection.dialled.inner.clone(), discovery).await else {
        return false;
    };
    match probed.complaint {
        Some(complaint) => line.is_refused(connection.number, &complaint),
        None if refused == refused_before => line.health.is_up(),
        None => {}
    }
    true
}

/// Opens a connection to a Redis that can be used, and loads the script.
async fn open(discovery: &Discovery, acks: u32, advice: &Advice) -> Result<Opened, NoConnection> {
    let server = discovery.server().await.map_err(NoConnection::Away)?;
    let Dialled { mut inner, driver } = connect(&server).await?;
    if let Some(complaint) = probe::kind(&mut inner, discovery.expected()).await? {
        return Err(NoConnection::Denied(complaint));
    }
    match probe::probe(&mut inner, discovery).await? {
        Probed { digest: Some(script), complaint }
            if complaint.as_ref().is_none_or(|complaint| discovery.may_grant_again(complaint.refusal)) =>
        {
            advice.give(&mut inner).await;
            let lanes = lanes(&server, acks).await?;
            Ok(Opened { server, dialled: Dialled { inner, driver }, lanes, script, complaint })
        }
        Probed { complaint, .. } => {
            Err(NoConnection::Denied(complaint.unwrap_or_else(|| Complaint::new(Refusal::Other))))
        }
    }
}

/// Connections on which batches wait for replicas; none if no replica has to acknowledge anything.
async fn lanes(server: &Server, acks: u32) -> Result<Arc<[Dialled]>, NoConnection> {
    let mut lanes = Vec::new();
    while acks > 0 && lanes.len() < MOST_UNDER_WAY {
        let mut lane = connect(server).await?;
        // Waits for nothing, and shows whether the user may wait.
        if let Err(error) = cmd("WAIT").arg(0).arg(1).query_async::<u32>(&mut lane.inner).await {
            let Some(code) = error.code() else { return Err(error.into()) };
            let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
            return Err(NoConnection::Denied(match complaint.refusal {
                Refusal::NoPerm => Complaint::rights(&["wait"]),
                _ => complaint,
            }));
        }
        lanes.push(lane);
    }
    Ok(lanes.into())
}

/// Connects and logs in.
pub(super) async fn connect(server: &Server) -> Result<Dialled, NoConnection> {
    connect_with(server, AsyncConnectionConfig::new()).await
}

pub(super) async fn connect_with(
    server: &Server,
    config: AsyncConnectionConfig,
) -> Result<Dialled, NoConnection> {
    let stream = dial(server).await.map_err(|error| NoConnection::Away(error::chain(&error)))?;
    log_in(server, stream, config).await
}

/// Logs in over a connection that was opened for this server.
pub(super) async fn log_in(
    server: &Server,
    stream: Box<dyn Stream>,
    config: AsyncConnectionConfig,
) -> Result<Dialled, NoConnection> {
    let login = server.login().await.map_err(|error| NoConnection::Away(error::chain(&error)))?;
    // The store deadline bounds each call; the crate's own default of 500 ms would cut short a longer one.
    let config = config.set_response_timeout(None);
    match MultiplexedConnection::new_with_config(&login, stream, config).await {
        Ok((inner, driver)) => Ok(Dialled { inner, driver: Driver::start(driver) }),
        Err(error) if error.kind() == ErrorKind::AuthenticationFailed => {
            Err(NoConnection::Denied(Complaint::new(Refusal::WrongPass)))
        }
        Err(error) if error.is_io_error() => Err(NoConnection::Away(match HandshakeError::late(&error) {
            Some(refused) => error::chain(&refused),
            None if dial::speaks_tls(server).await => SPEAKS_TLS.to_owned(),
            None => error.to_string(),
        })),
        Err(error) => Err(refused_login(&error)),
    }
}

/// Redis refused the login or the database.
fn refused_login(error: &RedisError) -> NoConnection {
    let complaint = error.code().map(|code| Complaint::of_error(code, error.detail().unwrap_or_default()));
    match complaint {
        // The text of an unexpected error, such as one about a database that does not exist, says more than its code.
        Some(complaint) if !matches!(complaint.refusal, Refusal::Err | Refusal::Other) => {
            NoConnection::Denied(complaint)
        }
        _ => NoConnection::Away(error.to_string()),
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConnection::Away(error) => f.write_str(error),
            NoConnection::Denied(complaint) => complaint.fmt(f),
        }
    }
}

impl From<RedisError> for NoConnection {
    fn from(error: RedisError) -> NoConnection {
        NoConnection::Away(error.to_string())
    }
}
