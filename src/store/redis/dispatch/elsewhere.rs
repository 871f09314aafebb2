//! For how many calls of other runtimes a request waits, and for how long.

use crate::store::redis::denial_cache::{Question, WAITS_US};

/// The number of calls of other runtimes for which a request waits. A first call is sent as soon as Redis *might* admit,
/// so it is often denied for want of microseconds; if requests waited for no second one, each runtime would then ask.
pub const MOST_QUESTIONS: u8 = 2;

/// The calls of other runtimes for which a request waits, or has waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    questions: u8,
    /// The number of the last one.
    last: u64,
    /// None if it does not wait for one now.
    pub(super) until_us: Option<u64>,
}

impl Elsewhere {
    /// Waits for this question too, unless the request has waited for long enough.
    pub(super) fn waits_for(&mut self, question: Question, queued_us: u64, now_us: u64) -> bool {
        let questions = if question.number == self.last { self.questions } else { self.questions + 1 };
        let until_us = queued_us.saturating_add(WAITS_US).min(question.until_us);
        if questions > MOST_QUESTIONS || until_us <= now_us {
            return false;
        }
        *self = Elsewhere { questions, last: question.number, until_us: Some(until_us) };
        true
    }
}
