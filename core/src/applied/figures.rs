//! From what a take found to the figures that clients are told: what remains, and when there is more.

use super::AppliedLimit;
use crate::{
    decision::{Answer, Demand, Found, Measure, Seen, Verdict},
    descriptor::Hits,
    limit::{Kept, Limit},
};

/// The wait that clients are told, in microseconds, if none can be worked out; fallback answers have no other.
pub const FALLBACK_WAIT_US: u64 = 1_000_000;

/// The shortest wait that is told for a take that never fits: the client would only come back to be denied again.
const SHORTEST_FOR_NEVER_US: u64 = 60_000_000;

/// What clients are told about one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Deny: the take does not fit.
    pub verdict: Verdict,
    /// Whole hits that would pass now.
    pub remaining: u32,
    /// Denied: microseconds until this take would fit. Allowed: until there is more room; 0 if there is none to come.
    pub reset_us: u64,
    /// The request asks for more than the bucket can ever hold.
    pub never_fits: bool,
    /// The clock of what decided, in microseconds since the Unix epoch; none if nothing was asked.
    pub now_us: Option<u64>,
}

/// The figures of the limit at `index` of those that the answer is for. `share` is the limit of the bucket that was
/// asked, if that is a local bucket, which has only a share of the limit.
///
/// Panics if `index` is none of `limits`, or if the answer is for fewer limits.
pub fn figures(limits: &[AppliedLimit<'_>], share: Option<&Limit>, answer: &Answer, index: usize) -> Figures {
    let (applied, found) = (&limits[index], &answer.found[index]);
    let whole = &applied.limit.limit;
    let limit = share.unwrap_or(whole);
    let now_us = Some(answer.now_us);
    if found.fits {
        let (remaining, reset_us) = left(limit, seen_and_charged(limits, answer, index), answer.now_us);
        return Figures { verdict: Verdict::Allow, remaining, reset_us, never_fits: false, now_us };
    }
    let hits = hits_in_all(limits, applied);
    let never_fits = is_too_much(hits, whole);
    let reset_us = if never_fits {
        never_fits_wait_us(whole, now_us)
    } else if is_too_much(hits, limit) {
        // It fits once the store is back, and nobody knows when that is.
        FALLBACK_WAIT_US
    } else {
        wait_us(limit, &applied.take.demand, found, answer.now_us)
    };
    Figures { verdict: Verdict::Deny, remaining: 0, reset_us, never_fits, now_us }
}

/// Whether all that the request takes from the bucket of this limit is more than the bucket can ever hold.
pub fn never_fits(limits: &[AppliedLimit<'_>], applied: &AppliedLimit<'_>) -> bool {
    is_too_much(hits_in_all(limits, applied), &applied.limit.limit)
}

/// The wait that is told for what never fits under this limit, however full its bucket is: the longer of its period and
/// a minute, in microseconds. `now_us` is as for [`Limit::period_seconds_at`].
pub fn never_fits_wait_us(limit: &Limit, now_us: Option<u64>) -> u64 {
    let seconds = limit.period_seconds_at(now_us).unwrap_or_else(|| limit.period().seconds());
    seconds.saturating_mul(1_000_000).max(SHORTEST_FOR_NEVER_US)
}

/// The bucket of a take as it was seen, and the demand that was then charged to it, if it was.
///
/// On a denial only metering takes are charged. Any other take shows its bucket as the last charged take before it left
/// the bucket; if there is none, as it was before the request.
fn seen_and_charged<'a>(
    limits: &'a [AppliedLimit<'_>],
    answer: &Answer,
    index: usize,
) -> (Seen, &'a Demand, bool) {
    let is_charged = |at: usize| limits[at].take.is_charged(&answer.found[at], answer.verdict);
    let seen_at = |at: usize| (answer.found[at].seen, &limits[at].take.demand, is_charged(at));
    if answer.verdict == Verdict::Allow || is_charged(index) {
        return seen_at(index);
    }
    let is_same = |at: &usize| limits[*at].take.key == limits[index].take.key;
    let charged = (0..index).rev().filter(is_same).find(|at| is_charged(*at));
    // What the take itself saw is exact, unless earlier takes of the bucket changed what it saw.
    let changed = |at: usize| answer.found[at].fits && !limits[at].take.demand.changes_nothing();
    let first = || (0..index).filter(is_same).any(changed).then(|| (0..index).find(is_same)).flatten();
    seen_at(charged.or_else(first).unwrap_or(index))
}

/// The hits that a request takes from one bucket, all of which have to fit at once.
fn hits_in_all(limits: &[AppliedLimit<'_>], applied: &AppliedLimit<'_>) -> u64 {
    let same = limits.iter().filter(|one| one.take.key == applied.take.key);
    same.fold(0, |sum: u64, one| match one.hits {
        Hits::One => sum.saturating_add(1),
        Hits::Take(hits) => sum.saturating_add(hits),
        Hits::Peek | Hits::GiveBack(_) => sum,
    })
}

fn is_too_much(hits: u64, limit: &Limit) -> bool {
    hits > u64::from(limit.burst()) || limit.burst() == 0
}

/// What remains, and the microseconds until more does.
fn left(limit: &Limit, (seen, demand, is_charged): (Seen, &Demand, bool), now_us: u64) -> (u32, u64) {
    match (seen, &demand.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            let after = if is_charged { demand.charged_full_at(tokens, full_at, now_us) } else { full_at };
            // Another limit of the same bucket may have charged it, whose fractions have another size.
            let after = Kept::new(after, tokens.per_us).under(limit.per_us());
            (limit.level(after, now_us), limit.next_token_us(after, now_us))
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(asked)) => {
            let count = if is_charged { demand.charged_count(asked, window.count) } else { window.count };
            (limit.burst().saturating_sub(count), window.ends_us.saturating_sub(now_us))
        }
        (Seen::SlidingLog { held, oldest_us, .. }, Measure::SlidingLog(asked)) => {
            let after = if is_charged { demand.charged_held(asked, held) } else { held };
            let leaves_us = match (held, after) {
                (_, 0) => now_us,
                (0, _) => now_us.saturating_add(asked.length_us),
                _ => oldest_us,
            };
            (limit.burst().saturating_sub(after), leaves_us.saturating_sub(now_us))
        }
        // Cannot be: a store answers in the terms of the take.
        _ => (0, FALLBACK_WAIT_US),
    }
}

/// The microseconds until a take that does not fit would.
fn wait_us(limit: &Limit, demand: &Demand, found: &Found, now_us: u64) -> u64 {
    match (found.seen, &demand.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            // What was charged though it does not fit has to come back first.
            let full_at = demand.charged_full_at(tokens, full_at, now_us);
            limit.wait_us(full_at, tokens.cost, now_us)
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(_)) => window.ends_us.saturating_sub(now_us),
        (Seen::SlidingLog { fits_at_us, .. }, Measure::SlidingLog(_)) => fits_at_us.saturating_sub(now_us),
        // Cannot be: a store answers in the terms of the take.
        _ => FALLBACK_WAIT_US,
    }
}
