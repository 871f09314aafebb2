//! One answer from those of the legs, whose masters have clocks of their own.

use crate::store::StoreError;
use tollgate_core::{
    decision::{self, Answer, AnswerSource, Found, Take, fixed_window::Window, verdict},
    limit::Exact,
};

/// What one take has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) found: Found,
    /// By the clock of the master that answered.
    now_us: u64,
    source: AnswerSource,
}

// === impl Seen ===

impl Seen {
    /// What a take of this answer has found.
    pub(super) fn new(found: Found, answer: &Answer) -> Seen {
        Seen { found, now_us: answer.now_us, source: answer.source }
    }

    /// The same, by a clock that shows `now_us` when that of the master shows its time.
    fn at(&self, now_us: u64) -> Found {
        by_clock(self.found, self.now_us, now_us)
    }
}

/// The answer to the request, by the clock of the master that decided its first take: all other times are moved by the
/// difference of the clocks.
pub(super) fn joined(takes: &[Take], seen: &[Option<Seen>], malformed: u32) -> Result<Answer, StoreError> {
    let seen: Option<Vec<Seen>> = seen.iter().copied().collect();
    let seen = seen.filter(|seen| !seen.is_empty()).ok_or(StoreError::Abandoned)?;
    let now_us = seen[0].now_us;
    let fits = takes.iter().zip(&seen).map(|(take, seen)| (take.demand.enforcement, seen.found.fits));
    let is_remembered = seen.iter().all(|seen| seen.source == AnswerSource::Cache);
    Ok(Answer {
        now_us,
        verdict: verdict(fits),
        found: seen.iter().map(|seen| seen.at(now_us)).collect(),
        malformed,
        source: if is_remembered { AnswerSource::Cache } else { AnswerSource::Store },
    })
}

/// What was found, by a clock that shows `now_us` when that of the bucket's master shows `there_us`.
pub(in crate::store::redis) fn by_clock(found: Found, there_us: u64, now_us: u64) -> Found {
    moved(found, |at_us| at_us.saturating_add(now_us).saturating_sub(there_us))
}

fn moved(found: Found, to: impl Fn(u64) -> u64) -> Found {
    let seen = match found.seen {
        decision::Seen::TokenBucket { full_at } => {
            let full_at = Exact { whole_us: to(full_at.whole_us), ..full_at };
            decision::Seen::TokenBucket { full_at }
        }
        decision::Seen::FixedWindow(window) => {
            decision::Seen::FixedWindow(Window { ends_us: to(window.ends_us), ..window })
        }
        decision::Seen::SlidingLog { held, oldest_us, fits_at_us } => {
            // Zero says that there is no such time.
            let to = |at_us| if at_us == 0 { 0 } else { to(at_us) };
            decision::Seen::SlidingLog { held, oldest_us: to(oldest_us), fits_at_us: to(fits_at_us) }
        }
    };
    Found { seen, ..found }
}
