//! The protocols by which requests come in and answers go out.
//!
//! Each protocol parses its messages once into a [`Request`](tollgate_core::descriptor::Request), asks the limiter, and
//! encodes the outcome. Counting it, explaining it in the log and turning errors into statuses is common to all.

mod counting;
mod explain;
pub mod rls;
pub(crate) mod status;
mod unmatched;

/// Switches for all rules at once. Each is off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Every request is answered with OK. What is charged, counted and reported for each limit stays the same.
    pub shadow: bool,
    /// Answers carry dynamic metadata for Envoy.
    pub dynamic_metadata: bool,
    /// Log lines at debug level show the values of descriptors, which may be secrets.
    pub show_values: bool,
}
