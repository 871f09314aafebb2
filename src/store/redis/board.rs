//! Where replicas that share a Redis show each other what they did: each puts up its last second, and reads those of
//! the others.
//!
//! It is off the way of requests, and nothing is written unless a reader somewhere keeps the mark fresh: without one,
//! each replica reads the mark once a second. A failed call shows nothing; the next second is the next attempt. What
//! the seconds mean is left to [`live`](crate::live).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::cmd;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{line::Line, replica_count::Reach};
use crate::{
    replica,
    tasks::{self, Task},
};

const SCRIPT: &str = include_str!("../../../lua/live.lua");
const MARK: &str = "tg:{live}:mark";
const KEYS: [&str; 3] = [MARK, "tg:{live}:names", "tg:{live}:secret"];
/// All replicas end their seconds at about the same time, so half a second later each has put up its own.
const UNTIL_ALL_ARE_UP: Duration = Duration::from_millis(500);
/// The time for an answer. No request waits for it.
const PATIENCE: Duration = Duration::from_millis(400);
/// The most bytes of a second.
pub const MOST_BYTES: usize = 64 << 10;

/// The board, as this process sees it. All its runtimes share it, and one of them keeps it.
#[derive(Debug, Default)]
pub struct Board {
    notices: Mutex<Notices>,
    due: Notify,
    answered: Notify,
}

#[derive(Debug, Default)]
struct Notices {
    /// What the readers of this process want; none if it has no reader.
    wants: Option<String>,
    /// Its last second, which was not put up yet.
    second: Option<Vec<u8>>,
    needs_secret: bool,
    secret: Option<[u8; 32]>,
    /// What the readers of each replica want.
    wanted: Vec<String>,
    /// The seconds of others, since they were last taken.
    others: Vec<Vec<u8>>,
}

type Found = Vec<Option<Vec<u8>>>;

// === impl Board ===

impl Board {
    /// A second has ended: puts it up, if there is one, and says what the readers of this process want.
    pub fn put(&self, second: Option<Vec<u8>>, wants: Option<String>) {
        let mut notices = self.notices();
        notices.second = second.filter(|second| second.len() <= MOST_BYTES);
        notices.wants = wants;
        drop(notices);
        self.due.notify_one();
    }

    /// The seconds of others that were read since the last call.
    pub fn take_others(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.notices().others)
    }

    /// What the readers of each replica want. Empty if nobody reads, so that nothing need be put up.
    pub fn wanted(&self) -> Vec<String> {
        self.notices().wanted.clone()
    }

    /// The secret that all replicas share, once it is known.
    pub fn secret(&self) -> Option<[u8; 32]> {
        self.notices().secret
    }

    /// Asks for the secret every second, until it is known.
    pub fn ask_for_secret(&self) {
        self.notices().needs_secret = true;
    }

    /// Asks for the secret, and waits for it as long as one call may take.
    pub async fn shared_secret(&self) -> Option<[u8; 32]> {
        let answered = self.answered.notified();
        {
            let mut notices = self.notices();
            if notices.secret.is_some() {
                return notices.secret;
            }
            notices.needs_secret = true;
        }
        self.due.notify_one();
        let _ = timeout(PATIENCE, answered).await;
        self.secret()
    }

    /// Keeps it forever. The runtime that counts the replicas does.
    pub(super) async fn keep(self: Arc<Self>, reach: Reach) {
        loop {
            self.due.notified().await;
            tasks::may_panic(Task::Live);
            let Some(line) = reach.line(MARK) else { continue };
            let (second, wants, candidate) = {
                let notices = &mut *self.notices();
                let needs_secret =
                    notices.secret.is_none() && (notices.needs_secret || notices.wants.is_some());
                let candidate = needs_secret.then(rand::random::<[u8; 32]>);
                (notices.second.take(), notices.wants.clone(), candidate)
            };
            let is_reader = wants.is_some();
            let found = if second.is_none() && wants.is_none() && candidate.is_none() {
                look_at_mark(&line).await
            } else {
                call(&line, wants.as_deref(), second.as_deref(), "", candidate).await
            };
            self.see(found);
            if is_reader {
                sleep(UNTIL_ALL_ARE_UP).await;
                self.see(call(&line, None, None, "read", None).await);
            }
        }
    }

    fn see(&self, found: Option<Found>) {
        let Some(found) = found else { return };
        let mut found = found.into_iter().map(Option::unwrap_or_default);
        let mut notices = self.notices();
        let mark = String::from_utf8_lossy(&found.next().unwrap_or_default()).into_owned();
        // Each line is a name, when it ends, and what is wanted.
        let wanted = mark.lines().filter_map(|line| line.splitn(3, ' ').nth(2));
        notices.wanted = wanted.map(str::to_owned).collect();
        if let Some(Ok(secret)) = found.next().map(<[u8; 32]>::try_from) {
            notices.secret = Some(secret);
            notices.needs_secret = false;
        }
        notices.others.extend(found.filter(|second| second.len() <= MOST_BYTES));
        // Nobody may take them, for example while the collector is stuck.
        let surplus = notices.others.len().saturating_sub(64);
        notices.others.drain(..surplus);
        drop(notices);
        self.answered.notify_waiters();
    }

    fn notices(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_at_mark(line: &Line) -> Option<Found> {
    let mut command = cmd("MGET");
    command.arg(MARK);
    exchange(line, &command).await
}

async fn call(
    line: &Line,
    wants: Option<&str>,
    second: Option<&[u8]>,
    read: &str,
    candidate: Option<[u8; 32]>,
) -> Option<Found> {
    let mut command = cmd("EVAL");
    command.arg(SCRIPT).arg(KEYS.len()).arg(&KEYS).arg(replica::name());
    command.arg(wants.unwrap_or_default()).arg(second.unwrap_or_default()).arg(read);
    command.arg(candidate.as_ref().map_or(&[][..], |candidate| &candidate[..]));
    exchange(line, &command).await
}

async fn exchange(line: &Line, command: &redis::Cmd) -> Option<Found> {
    let mut connection = line.connection()?;
    let answer = command.query_async::<Found>(&mut connection.dialled.inner);
    match timeout(PATIENCE, answer).await.ok()? {
        Ok(found) => Some(found),
        Err(error) => {
            line.note(connection.number, &error);
            None
        }
    }
}
