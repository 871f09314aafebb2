//! From what a take found to the figures that are told: what remains, and when there is more.

use tollgate_core::{
    decision::{Answer, Demand, Found, Measure, Seen, Take, Verdict},
    descriptor::Hits,
    limit::{Exact, Kept, Limit},
};

/// The wait that is told where none can be worked out.
const FALLBACK_WAIT_US: u64 = crate::fallback::FALLBACK_WAIT_US;

/// The least that is told to wait for what never fits: its client would only come back to be denied again.
const SHORTEST_FOR_NEVER_US: u64 = 60_000_000;

/// A take whose figures are wanted, and the limit that it was made under.
pub(super) trait Asked {
    /// Of the bucket that was asked.
    fn limit(&self) -> &Limit;
    /// The limit as it is configured, where the bucket has only a share of it.
    fn whole(&self) -> &Limit {
        self.limit()
    }
    fn take(&self) -> &Take;
    fn hits(&self) -> Hits;
}

/// What is told of one take.
pub(super) struct Figures {
    pub(super) verdict: Verdict,
    pub(super) remaining: u32,
    pub(super) reset_us: u64,
    pub(super) never_fits: bool,
}

/// The figures of the take at `index` of all that the answer is for.
pub(super) fn of<A: Asked>(asked: &[A], answer: &Answer, index: usize) -> Figures {
    let (one, found) = (&asked[index], &answer.found[index]);
    if found.fits {
        let (remaining, reset_us) = left(one.limit(), seen_and_charged(asked, answer, index), answer.now_us);
        return Figures { verdict: Verdict::Allow, remaining, reset_us, never_fits: false };
    }
    let hits = hits_in_all(asked, one);
    let never_fits = is_too_much(hits, one.whole());
    let reset_us = if never_fits {
        never_us(one.whole())
    } else if is_too_much(hits, one.limit()) {
        // It fits when the store is back, and nobody knows when that is.
        FALLBACK_WAIT_US
    } else {
        wait_us(one, found, answer.now_us)
    };
    Figures { verdict: Verdict::Deny, remaining: 0, reset_us, never_fits }
}

/// Whether what the request takes from this bucket is more than the bucket can ever hold.
pub(super) fn never_fits<A: Asked>(asked: &[A], of: &A) -> bool {
    is_too_much(hits_in_all(asked, of), of.whole())
}

/// What is told to wait for what never fits under this limit, however full its bucket is.
pub(super) fn never_us(limit: &Limit) -> u64 {
    limit.period().seconds().saturating_mul(1_000_000).max(SHORTEST_FOR_NEVER_US)
}

/// The bucket of a take as it was seen, and what it was then charged. On a denied request nothing is charged but
/// what meters, so the figures are those of what was there before, less what an earlier take of the same bucket
/// was charged all the same.
fn seen_and_charged<'a, A: Asked>(asked: &'a [A], answer: &Answer, index: usize) -> (Seen, &'a Demand, bool) {
    let is_charged = |at: usize| asked[at].take().is_charged(&answer.found[at], answer.verdict);
    let of = |at: usize| (answer.found[at].seen, &asked[at].take().demand, is_charged(at));
    if answer.verdict == Verdict::Allow || is_charged(index) {
        return of(index);
    }
    let is_same = |at: &usize| asked[*at].take().key == asked[index].take().key;
    let charged = (0..index).rev().filter(is_same).find(|at| is_charged(*at));
    of(charged.or_else(|| (0..=index).find(is_same)).unwrap_or(index))
}

/// All that a request takes from a bucket, which has to fit at once.
fn hits_in_all<A: Asked>(asked: &[A], of: &A) -> u64 {
    let same = asked.iter().filter(|one| one.take().key == of.take().key);
    same.fold(0, |sum: u64, one| match one.hits() {
        Hits::Take(hits) => sum.saturating_add(hits),
        Hits::Peek | Hits::GiveBack(_) => sum,
    })
}

fn is_too_much(hits: u64, limit: &Limit) -> bool {
    hits > u64::from(limit.burst()) || limit.burst() == 0
}

/// What remains, and the time until more does.
fn left(limit: &Limit, (seen, demand, is_charged): (Seen, &Demand, bool), now_us: u64) -> (u32, u64) {
    match (seen, &demand.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            let after = if is_charged { demand.charged_full_at(tokens, full_at, now_us) } else { full_at };
            // Another limit of the same bucket may have charged it, and its fractions are of another size.
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
        // A store answers in the terms of the take.
        _ => (0, FALLBACK_WAIT_US),
    }
}

/// This take does not fit: the time until it would.
fn wait_us<A: Asked>(one: &A, found: &Found, now_us: u64) -> u64 {
    match (found.seen, &one.take().demand.measure) {
        (Seen::TokenBucket { .. }, Measure::TokenBucket(tokens)) => {
            one.limit().wait_us(full_at(one, found, now_us), tokens.cost, now_us)
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(_)) => window.ends_us.saturating_sub(now_us),
        (Seen::SlidingLog { fits_at_us, .. }, Measure::SlidingLog(_)) => fits_at_us.saturating_sub(now_us),
        // A store answers in the terms of the take.
        _ => FALLBACK_WAIT_US,
    }
}

/// When a token bucket would be full again. What was charged though it does not fit has to come back first.
fn full_at<A: Asked>(one: &A, found: &Found, now_us: u64) -> Exact {
    match (found.seen, &one.take().demand.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            one.take().demand.charged_full_at(tokens, full_at, now_us)
        }
        _ => Exact::default(),
    }
}
