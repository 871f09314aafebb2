//! Whether the store can be reached, as all runtimes together see it.
//!
//! Each runtime that keeps a connection writes here when it comes and goes; the admin port reads. Nothing on the
//! request path does either, and nothing is decided by it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Shared by all runtimes. A new one has not met the store.
#[derive(Debug, Default)]
pub struct StoreHealth {
    met: AtomicBool,
    kept: AtomicUsize,
    up: AtomicUsize,
    trouble: Mutex<String>,
}

/// One runtime's connection, which is down at first. Dropped, it no longer counts.
#[derive(Debug)]
pub struct LineHealth {
    shared: Arc<StoreHealth>,
    up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// No runtime has had a connection so far.
    NotYet {
        trouble: String,
    },
    All,
    /// Some runtimes are without one, or all.
    Degraded {
        up: usize,
        of: usize,
        trouble: String,
    },
}

// === impl StoreHealth ===

impl StoreHealth {
    /// Of a store that cannot be away.
    pub fn always() -> StoreHealth {
        StoreHealth { met: true.into(), ..StoreHealth::default() }
    }

    pub fn contact(&self) -> Contact {
        let trouble = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (up, of) = (self.up.load(Ordering::Acquire), self.kept.load(Ordering::Acquire));
        if !self.met.load(Ordering::Acquire) {
            Contact::NotYet { trouble: trouble() }
        } else if up < of {
            Contact::Degraded { up, of, trouble: trouble() }
        } else {
            Contact::All
        }
    }
}

// === impl LineHealth ===

impl LineHealth {
    pub fn of(shared: &Arc<StoreHealth>) -> LineHealth {
        shared.kept.fetch_add(1, Ordering::AcqRel);
        LineHealth { shared: Arc::clone(shared), up: false }
    }

    pub fn is_up(&mut self) {
        if !self.up {
            self.up = true;
            self.shared.up.fetch_add(1, Ordering::AcqRel);
        }
        self.shared.met.store(true, Ordering::Release);
    }

    /// `trouble` is shown to operators: it must hold no password.
    pub fn is_down(&mut self, trouble: impl fmt::Display) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.to_string();
        self.leave();
    }

    fn leave(&mut self) {
        if self.up {
            self.up = false;
            self.shared.up.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for LineHealth {
    fn drop(&mut self) {
        self.leave();
        self.shared.kept.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Contact ===

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = match self {
            Contact::All => return f.write_str("OK"),
            Contact::NotYet { trouble } => {
                f.write_str("no contact with the store yet")?;
                trouble
            }
            Contact::Degraded { up, of, trouble } => {
                write!(f, "degraded: {up} of {of} connections to the store are up")?;
                trouble
            }
        };
        if trouble.is_empty() { Ok(()) } else { write!(f, ": {trouble}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_met_once_and_then_there_or_degraded() {
        let health = Arc::new(StoreHealth::default());
        let (mut one, mut two) = (LineHealth::of(&health), LineHealth::of(&health));
        assert_eq!(health.contact().to_string(), "no contact with the store yet");
        one.is_down("connection refused");
        assert_eq!(health.contact().to_string(), "no contact with the store yet: connection refused");
        one.is_up();
        one.is_up();
        assert!(matches!(health.contact(), Contact::Degraded { up: 1, of: 2, .. }));
        two.is_up();
        assert_eq!(health.contact(), Contact::All);
        for line in [&mut one, &mut two] {
            line.is_down("reset");
            line.is_down("gone");
        }
        let said = "degraded: 0 of 2 connections to the store are up: gone";
        assert_eq!(health.contact().to_string(), said);
        two.is_up();
        drop(one);
        assert_eq!(health.contact(), Contact::All);
    }

    #[test]
    fn memory_is_there_at_once() {
        assert_eq!(StoreHealth::always().contact().to_string(), "OK");
    }
}
