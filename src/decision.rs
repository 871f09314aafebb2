//! The answer for one bucket, and where it came from.

pub mod token_bucket;

/// The answer for one bucket, or for all of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Who made a decision: the store, or a guess because the store had no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Store,
    /// A guess that lets the request pass.
    Allow,
    /// A guess that denies it.
    Deny,
    /// No decision: the caller gets UNAVAILABLE.
    Error,
}
