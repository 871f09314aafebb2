//! What is answered when the store has no answer.
//!
//! Everything below this module may fail; the limiter above it gets an outcome, which says that it is a
//! guess, never an error of the store.

use crate::decision::{Source, Verdict};

/// What a denying guess tells the client to wait.
pub const GUESSED_WAIT_US: u64 = 1_000_000;

/// What a request gets when the store cannot decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStoreFailure {
    /// It passes: a limit is worth less than an outage.
    Allow,
    /// It is denied, and told to come back in a second.
    Deny,
    /// The caller gets UNAVAILABLE, and Envoy's `failure_mode_deny` decides.
    #[default]
    Error,
}

impl OnStoreFailure {
    /// None: there is no decision, and the caller is told so.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            OnStoreFailure::Allow => Some(Verdict::Allow),
            OnStoreFailure::Deny => Some(Verdict::Deny),
            OnStoreFailure::Error => None,
        }
    }

    pub fn source(self) -> Source {
        match self {
            OnStoreFailure::Allow => Source::Allow,
            OnStoreFailure::Deny => Source::Deny,
            OnStoreFailure::Error => Source::Error,
        }
    }
}
