//! From what a take found to the figures that are told: what remains, and when there is more.

use crate::{
    decision::{Answer, Ask, Found, Measure, Seen, Take, Verdict},
    descriptor::Hits,
    limit::Limit,
};

/// The shortest wait that is told where no wait would help.
const SHORTEST_US: u64 = 1_000_000;

/// A take whose figures are wanted, and the limit that it was made under.
pub(super) trait Asked {
    fn limit(&self) -> &Limit;
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
        let (remaining, reset_us) = left(one, first_found(asked, answer, index), found, answer);
        return Figures { verdict: Verdict::Allow, remaining, reset_us, never_fits: false };
    }
    let never_fits = never_fits(asked, one);
    let reset_us = wait_us(one, found, never_fits, answer.now_us);
    Figures { verdict: Verdict::Deny, remaining: 0, reset_us, never_fits }
}

/// What the first take of the same bucket found: what was there before this request.
fn first_found<'a, A: Asked>(asked: &[A], answer: &'a Answer, index: usize) -> &'a Found {
    let key = asked[index].take().key;
    let first = asked.iter().position(|one| one.take().key == key).unwrap_or(index);
    &answer.found[first]
}

/// All that a request takes from a bucket has to fit at once.
fn never_fits<A: Asked>(asked: &[A], of: &A) -> bool {
    let same = asked.iter().filter(|one| one.take().key == of.take().key);
    let hits = same.fold(0_u64, |sum, one| match one.hits() {
        Hits::Take(hits) => sum.saturating_add(hits),
        Hits::Peek | Hits::GiveBack(_) => sum,
    });
    let burst = of.limit().burst();
    hits > u64::from(burst) || burst == 0
}

/// This take fits: what remains, and the time until more does. On a denied request what is not charged leaves
/// the figures of `before`.
fn left<A: Asked>(one: &A, before: &Found, found: &Found, answer: &Answer) -> (u32, u64) {
    let (take, limit, now_us) = (one.take(), one.limit(), answer.now_us);
    let is_charged = take.is_charged(found, answer.verdict);
    let seen = if is_charged || answer.verdict == Verdict::Allow { found.seen } else { before.seen };
    let charged: Option<&Ask> = is_charged.then_some(&take.ask);
    match (seen, &take.ask.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            let after = charged.map_or(full_at, |ask| ask.charged_full_at(tokens, full_at, now_us));
            (limit.level(after, now_us), limit.next_token_us(after, now_us))
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(asked)) => {
            let count = charged.map_or(window.count, |ask| ask.charged_count(asked, window.count));
            (limit.burst().saturating_sub(count), window.ends_us.saturating_sub(now_us))
        }
        (Seen::SlidingLog { held, oldest_us, .. }, Measure::SlidingLog(asked)) => {
            let after = charged.map_or(held, |ask| ask.charged_held(asked, held));
            let leaves_us = match (held, after) {
                (_, 0) => now_us,
                (0, _) => now_us.saturating_add(asked.length_us),
                _ => oldest_us,
            };
            (limit.burst().saturating_sub(after), leaves_us.saturating_sub(now_us))
        }
        // A store answers in the terms of the take.
        _ => (0, SHORTEST_US),
    }
}

/// This take does not fit: the time until it would.
fn wait_us<A: Asked>(one: &A, found: &Found, never_fits: bool, now_us: u64) -> u64 {
    let (take, limit) = (one.take(), one.limit());
    if limit.burst() == 0 {
        return limit.period().seconds() * 1_000_000;
    }
    match (found.seen, &take.ask.measure) {
        (Seen::TokenBucket { full_at }, _) if never_fits => limit.full_us(full_at, now_us).max(SHORTEST_US),
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            // What was charged though it does not fit has to come back first.
            let after = take.ask.charged_full_at(tokens, full_at, now_us);
            limit.wait_us(after, tokens.cost, now_us)
        }
        (Seen::FixedWindow(window), _) if never_fits && window.count == 0 => SHORTEST_US,
        (Seen::FixedWindow(window), _) => window.ends_us.saturating_sub(now_us),
        (Seen::SlidingLog { fits_at_us, .. }, _) if never_fits => {
            fits_at_us.saturating_sub(now_us).max(SHORTEST_US)
        }
        (Seen::SlidingLog { fits_at_us, .. }, _) => fits_at_us.saturating_sub(now_us),
        (Seen::TokenBucket { .. }, _) => SHORTEST_US,
    }
}
