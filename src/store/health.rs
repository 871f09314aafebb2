//! Whether the store can be used, as all runtimes together see it.
//!
//! Each runtime that keeps a connection writes here when it comes and goes, and when the store refuses what it is
//! asked; the admin port and the metrics read. Nothing is decided by it, and a request that is answered does not
//! touch it.

mod outage;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::refusal::{Complaint, Refusal};
use crate::{clock::Clock, logging::hourly::Hourly};
use outage::Outage;

/// Shared by all runtimes. A new one has not met the store.
#[derive(Debug)]
pub struct StoreHealth {
    /// Where the store is, without its password.
    address: String,
    clock: Clock,
    lines: Mutex<Lines>,
    refused: [AtomicU64; Refusal::ALL.len()],
    told: [Hourly; Refusal::ALL.len()],
}

/// How many runtimes' connections are how, and what was wrong last.
#[derive(Debug, Default)]
struct Lines {
    kept: usize,
    met: usize,
    up: usize,
    refusing: usize,
    /// Up for a moment already.
    settled: usize,
    outage: Outage,
    /// Of a connection that is down.
    trouble: Trouble,
    /// Of a connection that is up.
    complaint: String,
    /// That the store refuses was logged, and that it no longer does was not.
    is_told: bool,
}

/// Why a connection is down.
#[derive(Debug, Default)]
enum Trouble {
    #[default]
    None,
    Away(String),
    /// The store is there, and of no use.
    Denied(String),
}

/// One runtime's connection, which is down at first. Dropped, it no longer counts.
#[derive(Debug)]
pub struct LineHealth {
    shared: Arc<StoreHealth>,
    state: Mutex<LineState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct LineState {
    /// Was up once while nothing was refused.
    has_met: bool,
    is_up: bool,
    refuses: bool,
    is_settled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Not every runtime has had a connection so far.
    NotYet {
        met: usize,
        of: usize,
        trouble: String,
    },
    /// As well, since the store is none that can be used, or refuses all that it is asked.
    Unusable {
        complaint: String,
    },
    All,
    /// Some runtimes are without a connection, or all.
    Degraded {
        up: usize,
        of: usize,
        trouble: String,
    },
    /// The store is there, and refuses what it is asked.
    Refused {
        complaint: String,
    },
}

// === impl StoreHealth ===

impl StoreHealth {
    /// Of a store that cannot be away.
    pub fn always() -> StoreHealth {
        StoreHealth::of(String::new())
    }

    /// Of the store at that address, which is shown to operators: it must hold no password.
    pub fn of(address: String) -> StoreHealth {
        StoreHealth {
            address,
            clock: Clock::start(),
            lines: Mutex::default(),
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
            told: [const { Hourly::new() }; Refusal::ALL.len()],
        }
    }

    pub fn contact(&self) -> Contact {
        let lines = self.lines();
        let (met, up, of) = (lines.met, lines.up, lines.kept);
        let complaint = lines.complaint.clone();
        match &lines.trouble {
            Trouble::Denied(complaint) if met < of => Contact::Unusable { complaint: complaint.clone() },
            Trouble::None if met < of && lines.refusing > 0 => Contact::Unusable { complaint },
            trouble if met < of => Contact::NotYet { met, of, trouble: trouble.text().to_owned() },
            trouble if up < of => Contact::Degraded { up, of, trouble: trouble.text().to_owned() },
            _ if lines.refusing > 0 => Contact::Refused { complaint },
            _ => Contact::All,
        }
    }

    /// Calls that the store refused since the start, by code.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().map(Refusal::code).zip(counts)
    }

    pub(super) fn count(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it, and warns of it the first time and once an hour.
    fn note(&self, complaint: &Complaint) {
        self.count(complaint.refusal);
        if let Some(times) = self.told[complaint.refusal as usize].occurs(self.clock.now_us()) {
            self.lines().is_told = true;
            tracing::warn!(
                store = %self.address,
                code = complaint.refusal.code(),
                times,
                "the store refuses what it is asked: {}",
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
    pub fn of(shared: &Arc<StoreHealth>) -> LineHealth {
        shared.lines().kept += 1;
        LineHealth { shared: Arc::clone(shared), state: Mutex::default() }
    }

    /// Connected, and whatever was tried was granted.
    pub fn is_up(&self) {
        self.change(|state| LineState { has_met: true, is_up: true, refuses: false, ..*state });
    }

    /// Connected, and refused what it was asked over that connection, for the time being.
    pub fn is_refused(&self, complaint: &Complaint) {
        self.shared.note(complaint);
        self.shared.lines().complaint = complaint.to_string();
        self.change(|state| LineState { is_up: true, refuses: true, ..*state });
    }

    /// Connected, and found to be of no use, so that the connection was closed again.
    pub fn is_denied(&self, complaint: &Complaint) {
        self.shared.note(complaint);
        self.shared.lines().outage.denied();
        let denied = format!("{} cannot be used: {complaint}", self.shared.address);
        self.is_down_by(Trouble::Denied(denied));
    }

    fn is_down_by(&self, trouble: Trouble) {
        self.shared.lines().trouble = trouble;
        self.change(|state| LineState { has_met: state.has_met, ..LineState::default() });
    }

    pub fn count(&self, refusal: Refusal) {
        self.shared.count(refusal);
    }

    /// Something was refused over the connection that is up, and it is not known to be granted again.
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
        counted(&mut lines.settled, old.is_settled, state.is_settled);
        if lines.up == lines.kept {
            lines.trouble = Trouble::None;
        }
        if lines.up == lines.kept && lines.refusing == 0 && lines.is_told {
            lines.is_told = false;
            drop(lines);
            tracing::info!(store = %self.shared.address, "the store grants again what it refused");
        }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LineHealth {
    fn drop(&mut self) {
        self.change(|_| LineState::default());
        self.shared.lines().kept -= 1;
    }
}

// === impl Trouble, Contact ===

impl Trouble {
    fn text(&self) -> &str {
        match self {
            Trouble::None => "",
            Trouble::Away(text) | Trouble::Denied(text) => text,
        }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = match self {
            Contact::All => return f.write_str("OK"),
            Contact::NotYet { met: 0, trouble, .. } => {
                f.write_str("no contact with the store yet")?;
                trouble
            }
            Contact::NotYet { met, of, trouble } => {
                write!(f, "{met} of {of} connections to the store have been up so far")?;
                trouble
            }
            Contact::Unusable { complaint } => return f.write_str(complaint),
            Contact::Degraded { up, of, trouble } => {
                write!(f, "degraded: {up} of {of} connections to the store are up")?;
                trouble
            }
            Contact::Refused { complaint } => {
                f.write_str("degraded: the store refuses what it is asked")?;
                complaint
            }
        };
        if trouble.is_empty() { Ok(()) } else { write!(f, ": {trouble}") }
    }
}

#[cfg(test)]
mod tests;
