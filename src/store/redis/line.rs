//! The connection of one runtime that is in use, if there is one: what takes, the replica count and its keeper share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{RedisError, aio::MultiplexedConnection};
use tokio::sync::Notify;

use crate::store::{
    health::{LineHealth, StoreHealth},
    refusal::{Complaint, Refusal},
};

#[derive(Debug)]
pub(super) struct Line {
    connection: Mutex<Option<Connection>>,
    /// Connections so far.
    opened: AtomicU64,
    /// Refusals so far of what was sent over them.
    refused: AtomicU64,
    taken_up: Notify,
    lost: Notify,
    pub(super) health: LineHealth,
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

// === impl Line ===

impl Line {
    pub(super) fn new(health: &Arc<StoreHealth>) -> Line {
        Line {
            connection: Mutex::default(),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            taken_up: Notify::new(),
            lost: Notify::new(),
            health: LineHealth::of(health),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.locked().is_some()
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.locked().clone()
    }

    /// From now on requests go over this connection, until it is [given up](Self::give_up).
    pub(super) fn take_up(&self, inner: MultiplexedConnection, script: Arc<str>) -> Connection {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { inner, script, number };
        *self.locked() = Some(connection.clone());
        self.taken_up.notify_waiters();
        connection
    }

    /// Returns when there is a connection.
    pub(super) async fn up(&self) {
        loop {
            let taken_up = self.taken_up.notified();
            if self.is_up() {
                return;
            }
            taken_up.await;
        }
    }

    /// Learns from a failure whether connection `number` is of any more use, and tells what was refused.
    pub(super) fn note(&self, number: u64, error: &RedisError) {
        // Without a code it comes from the connection.
        let Some(code) = error.code() else { return self.give_up(number) };
        let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
        match complaint.refusal {
            // Sent again at once: nothing is amiss.
            Refusal::NoScript => self.health.count(Refusal::NoScript),
            _ => self.is_refused(number, &complaint),
        }
    }

    /// Something that every request needs was refused over connection `number`.
    pub(super) fn is_refused(&self, number: u64, complaint: &Complaint) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.connection().is_some_and(|connection| connection.number == number) {
            self.health.is_refused(complaint);
        } else {
            self.health.count(complaint.refusal);
        }
        // A demoted master keeps its connections and refuses every write, so that one is given up as well.
        if complaint.refusal == Refusal::ReadOnly {
            self.give_up(number);
        }
    }

    /// How often something was refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn give_up(&self, number: u64) {
        let mut connection = self.locked();
        if connection.as_ref().is_some_and(|connection| connection.number == number) {
            *connection = None;
            self.lost.notify_one();
        }
    }

    /// Returns when the connection in use was given up.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    fn locked(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
