//! What a protocol has to do for the load generator: write a request, and tell what came back.

use thiserror::Error;

use crate::bench::keys::Demand;

/// A connection's side of a protocol. Requests are numbered from 0 in the order in which they are written.
pub(super) trait Wire: Send + 'static {
    /// What is sent before anything else.
    fn greet(&mut self, _out: &mut Vec<u8>) {}

    /// Whether another request may be written now, with this number in flight.
    fn may_ask(&self, _in_flight: usize) -> bool {
        true
    }

    fn ask(&mut self, ask: Demand, out: &mut Vec<u8>);

    /// Reads what is whole of `input` and returns how much that was. May write what the protocol demands.
    ///
    /// A request may be answered more than once; the first one counts.
    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<usize, WireError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of the request.
    pub(super) number: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ok,
    OverLimit,
    Error,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the other side ended a connection with HTTP/2 error {code}")]
    GoAway { code: u32 },
    #[error("the other side sent settings that this load generator cannot work with")]
    Settings,
    #[error("the other side sent what is not its protocol")]
    Protocol,
}
