//! Where a request belongs: the ids of its trace and of its spans.

use std::fmt;

/// A span that others can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace that it is part of; never 0.
    pub trace: TraceId,
    /// The span itself; never 0.
    pub span: u64,
}

/// The name of a trace; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    pub(super) fn random() -> TraceId {
        TraceId(rand::random::<u128>().max(1))
    }
}

impl fmt::Display for TraceId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

pub(super) fn random_span() -> u64 {
    rand::random::<u64>().max(1)
}
