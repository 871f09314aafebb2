//! Whether the store can be used, as all runtimes of the process see it.
//!
//! Each runtime reports here when its connection opens or is lost, and when the store refuses a call; the admin port
//! and the metrics read it. It decides nothing, and a request that is answered does not touch it.

mod contact;
mod lines;
mod outage;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::refusal::{Complaint, Refusal};
use crate::{clock::Clock, logging::hourly::Hourly};
pub use contact::Contact;
use lines::{Lines, Trouble};
use outage::Outage;

/// The state of the store, shared by all runtimes. At first no runtime has had a connection.
#[derive(Debug)]
pub struct StoreHealth {
    /// The address of the store, without its password.
    address: Arc<str>,
    clock: Clock,
    lines: Mutex<Lines>,
    refused: [AtomicU64; Refusal::ALL.len()],
    told: [Hourly; Refusal::ALL.len()],
}

/// The state of one runtime's connection, which is down at first. Once dropped, it no longer counts.
#[derive(Debug)]
pub struct LineHealth {
    shared: Arc<StoreHealth>,
    /// The address of the server, without a password.
    server: Arc<str>,
    role: Role,
    /// Only the thread of its runtime uses it; a mutex because futures must be `Send`.
    state: Mutex<LineState>,
}

/// What a connection is to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Without it the store cannot be used.
    Whole,
    /// It leads to one of the masters of a Redis Cluster. The others serve without it, so it is waited for only until the
    /// first attempt to open it has ended.
    Part,
}

#[derive(Debug, Clone, Copy, Default)]
struct LineState {
    /// It was up at least once while nothing was refused.
    has_met: bool,
    is_up: bool,
    refuses: bool,
    is_settled: bool,
}

// === impl StoreHealth ===

impl StoreHealth {
    /// The health of a store that cannot be away.
    pub fn always() -> StoreHealth {
        StoreHealth::new(String::new())
    }

    /// The health of the store at this address. The address is shown to operators and must hold no password.
    pub fn new(address: String) -> StoreHealth {
        StoreHealth {
            address: address.into(),
            clock: Clock::start(),
            lines: Mutex::default(),
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
            told: [const { Hourly::new() }; Refusal::ALL.len()],
        }
    }

    /// The address of the store, without its password; empty if it has none.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the runtimes can use the store at the moment.
    pub fn contact(&self) -> Contact {
        let lines = self.lines();
        let (met, up, of, is_served) = (lines.met, lines.up, lines.kept, lines.unserved == 0);
        let complaint = lines.complaint.clone();
        match &lines.trouble {
            Trouble::Denied(complaint) if met < of => Contact::Unusable { complaint: complaint.clone() },
            Trouble::None if met < of && lines.refusing > 0 => Contact::Unusable { complaint },
            trouble if met < of => Contact::NotYet { met, of, trouble: trouble.text().to_owned() },
            _ if up < of || !is_served => Contact::Degraded { up, of, trouble: lines.trouble() },
            _ if lines.refusing > 0 => Contact::Refused { complaint },
            _ => Contact::All,
        }
    }

    /// The masters of a Redis Cluster that serve slots no longer, or not yet, serve this number of them.
    pub(super) fn are_unserved(&self, slots: usize) {
        self.lines().unserved = slots;
    }

    /// The number of slots of a Redis Cluster that no master serves.
    pub fn unserved(&self) -> usize {
        self.lines().unserved
    }

    /// The number of servers, and of those among them that every runtime has a connection to.
    pub fn servers(&self) -> (usize, usize) {
        let lines = self.lines();
        let connected = lines.servers.values().filter(|server| server.up == server.kept).count();
        (lines.servers.len(), connected)
    }

    /// The number of calls that the store refused since the start, by code.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().map(Refusal::code).zip(counts)
    }

    pub(super) fn count(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal, and logs a warning the first time and then once an hour.
    fn note(&self, complaint: &Complaint) {
        self.count(complaint.refusal);
        if let Some(times) = self.told[complaint.refusal as usize].occurs(self.clock.now_us()) {
            self.lines().is_told = true;
            tracing::warn!(
                store = %self.address,
                code = complaint.refusal.code(),
                times,
                "the store refuses calls: {}",
                complaint.help()
            );
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for StoreHealth {
    fn default() -> StoreHealth {
        StoreHealth::always()
    }
}

// === impl LineHealth ===

impl LineHealth {
    /// One more connection, which is down.
    pub fn new(shared: &Arc<StoreHealth>) -> LineHealth {
        LineHealth::to(shared, Arc::clone(&shared.address), Role::Whole)
    }

    /// One more connection to one of several masters, at this address, which is shown to operators and must hold no
    /// password.
    pub fn of_master(shared: &Arc<StoreHealth>, address: &str) -> LineHealth {
        LineHealth::to(shared, address.into(), Role::Part)
    }

    fn to(shared: &Arc<StoreHealth>, server: Arc<str>, role: Role) -> LineHealth {
        let mut lines = shared.lines();
        lines.kept += 1;
        lines.servers.entry(Arc::clone(&server)).or_default().kept += 1;
        drop(lines);
        LineHealth { shared: Arc::clone(shared), server, role, state: Mutex::default() }
    }

    /// The connection is up, and everything that was tried was granted.
    pub fn is_up(&self) {
        self.change(|state| LineState { has_met: true, is_up: true, refuses: false, ..*state });
    }

    /// The connection is up, and the store refuses calls over it at the moment.
    pub fn is_refused(&self, complaint: &Complaint) {
        self.shared.note(complaint);
        self.shared.lines().complaint = complaint.to_string();
        self.change(|state| LineState { is_up: true, refuses: true, ..*state });
    }

    /// The store was reached and cannot be used, so the connection was closed again.
    pub fn is_denied(&self, complaint: &Complaint) {
        self.shared.note(complaint);
        self.outage(Outage::denied);
        let denied = format!("{} cannot be used: {complaint}", self.server);
        self.is_down_by(Trouble::Denied(denied));
    }

    fn is_down_by(&self, trouble: Trouble) {
        self.shared.lines().trouble = trouble;
        let is_excused = self.role == Role::Part;
        self.change(|state| LineState { has_met: state.has_met || is_excused, ..LineState::default() });
    }

    /// Counts a refusal that says nothing about the connection in use.
    pub fn count(&self, refusal: Refusal) {
        self.shared.count(refusal);
    }

    /// Whether a call was refused over the connection that is up, and is not known to be granted again.
    pub fn refuses(&self) -> bool {
        self.state().refuses
    }

    fn change(&self, change: impl Fn(&LineState) -> LineState) {
        let mut state = self.state();
        let old = *state;
        *state = change(&old);
        let mut lines = self.shared.lines();
        let counted = |count: &mut usize, was: bool, is: bool| {
            *count = *count + usize::from(is) - usize::from(was);
        };
        counted(&mut lines.met, old.has_met, state.has_met);
        counted(&mut lines.up, old.is_up, state.is_up);
        counted(&mut lines.refusing, old.refuses, state.refuses);
        if let Some(server) = lines.servers.get_mut(&self.server) {
            counted(&mut server.up, old.is_up, state.is_up);
            counted(&mut server.settled, old.is_settled, state.is_settled);
        }
        if lines.up == lines.kept {
            lines.trouble = Trouble::None;
        }
        if lines.up == lines.kept && lines.refusing == 0 && lines.is_told {
            lines.is_told = false;
            drop(lines);
            tracing::info!(store = %self.shared.address, "the store grants again the calls that it refused");
        }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LineHealth {
    fn drop(&mut self) {
        self.change(|_| LineState::default());
        let mut lines = self.shared.lines();
        lines.kept -= 1;
        if let Some(server) = lines.servers.get_mut(&self.server) {
            server.kept -= 1;
        }
        lines.servers.retain(|_, server| server.kept > 0);
    }
}

#[cfg(test)]
mod tests;
