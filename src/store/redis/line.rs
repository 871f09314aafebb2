//! The connection that one runtime uses at the moment, if there is one. Takes, the replica count and the task that
//! keeps the connection share it.

mod calls;

pub(super) use calls::NO_LANE;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::RedisError;
use tokio::sync::Notify;

use super::{OwnThread, connection::Dialled, slots::Slots};
use crate::store::{
    health::LineHealth,
    refusal::{Complaint, Refusal},
};

#[derive(Debug)]
pub(super) struct Line {
    state: OwnThread<State>,
    /// Whether there is a connection; each request reads it.
    is_up: AtomicBool,
    /// Whether the first attempt to connect has ended.
    is_tried: AtomicBool,
    taken_up: Notify,
    lost: Notify,
    /// The number of replicas that must acknowledge each batch.
    pub(super) acks: u32,
    /// The slots of the Redis Cluster that the server is a node of.
    slots: Option<Arc<Slots>>,
    pub(super) health: LineHealth,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// The number of connections so far.
    opened: u64,
    /// The number of refusals of calls sent over them so far.
    refused: u64,
}

#[derive(Clone)]
pub(super) struct Connection {
    pub(super) dialled: Dialled,
    /// If replicas must acknowledge, a connection for each batch under way: it waits for them.
    pub(super) lanes: Arc<[Dialled]>,
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
    pub(super) fn new(health: LineHealth, acks: u32, slots: Option<Arc<Slots>>) -> Line {
        Line {
            state: OwnThread::default(),
            is_up: AtomicBool::new(false),
            is_tried: AtomicBool::new(false),
            taken_up: Notify::new(),
            lost: Notify::new(),
            acks,
            slots,
            health,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.state.with(|state| state.connection.clone())
    }

    /// Requests use this connection from now on, until it is [given up](Self::give_up).
    pub(super) fn take_up(&self, dialled: Dialled, lanes: Arc<[Dialled]>, script: Arc<str>) -> Connection {
        let connection = self.state.with(|state| {
            let connection = Connection { dialled, lanes, script, number: state.opened };
            state.opened += 1;
            state.connection = Some(connection.clone());
            connection
        });
        self.is_up.store(true, Ordering::Relaxed);
        self.is_tried.store(true, Ordering::Relaxed);
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

    /// Whether the first connection is being opened. It takes some milliseconds, unless the server is away.
    pub(super) fn is_new(&self) -> bool {
        !self.is_tried.load(Ordering::Relaxed)
    }

    /// An attempt to connect has ended, or the connection that it opened.
    pub(super) fn has_been_tried(&self) {
        self.is_tried.store(true, Ordering::Relaxed);
        self.taken_up.notify_waiters();
    }

    /// Returns when the first attempt to connect has succeeded or failed.
    pub(super) async fn tried(&self) {
        loop {
            let taken_up = self.taken_up.notified();
            if self.is_up() || !self.is_new() {
                return;
            }
            taken_up.await;
        }
    }

    // === failures ===

    /// Learns from a failure whether connection `number` is still of use, and reports what was refused.
    pub(super) fn note(&self, number: u64, error: &RedisError) {
        // An error without a code comes from the connection.
        let Some(code) = error.code() else { return self.give_up(number) };
        let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
        match (complaint.refusal, &self.slots) {
            // The call is sent again at once: nothing is wrong.
            (Refusal::NoScript, _) => self.health.count(Refusal::NoScript),
            (Refusal::Moved | Refusal::Ask | Refusal::TryAgain, Some(slots)) => {
                self.health.count(complaint.refusal);
                slots.may_be_old();
            }
            _ => self.is_refused(number, &complaint),
        }
    }

    /// Redis refused, over connection `number`, something that every request needs.
    pub(super) fn is_refused(&self, number: u64, complaint: &Complaint) {
        let is_in_use = self.state.with(|state| {
            state.refused += 1;
            state.connection.as_ref().is_some_and(|connection| connection.number == number)
        });
        if is_in_use {
            self.health.is_refused(complaint);
        } else {
            self.health.count(complaint.refusal);
        }
        if let (Refusal::ReadOnly | Refusal::ClusterDown, Some(slots)) = (complaint.refusal, &self.slots) {
            slots.may_be_old();
        }
        // A demoted master keeps its connections and refuses every write, so its connection is given up as well.
        if complaint.refusal == Refusal::ReadOnly {
            self.give_up(number);
        }
    }

    /// The number of refusals so far.
    pub(super) fn refused(&self) -> u64 {
        self.state.with(|state| state.refused)
    }

    pub(super) fn give_up(&self, number: u64) {
        let is_given_up = self
            .state
            .with(|state| state.connection.take_if(|connection| connection.number == number).is_some());
        if is_given_up {
            self.is_up.store(false, Ordering::Relaxed);
            self.lost.notify_one();
        }
    }

    /// Returns when the connection in use is given up.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}
