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
        let (remaining, reset_us) = left(one.limit(), seen_and_charged(asked, answer, index), answer.now_us);
        return Figures { verdict: Verdict::Allow, remaining, reset_us, never_fits: false };
    }
    let never_fits = never_fits(asked, one);
    let reset_us = wait_us(one, found, never_fits, answer.now_us);
    Figures { verdict: Verdict::Deny, remaining: 0, reset_us, never_fits }
}

/// The bucket of a take as it was seen, and what it was then charged. On a denied request nothing is charged but
/// what meters, so the figures are those of what was there before, less what an earlier take of the same bucket
/// was charged all the same.
fn seen_and_charged<'a, A: Asked>(asked: &'a [A], answer: &Answer, index: usize) -> (Seen, &'a Ask, bool) {
    let is_charged = |at: usize| asked[at].take().is_charged(&answer.found[at], answer.verdict);
    let of = |at: usize| (answer.found[at].seen, &asked[at].take().ask, is_charged(at));
    if answer.verdict == Verdict::Allow || is_charged(index) {
        return of(index);
    }
    let is_same = |at: &usize| asked[*at].take().key == asked[index].take().key;
    let charged = (0..index).rev().filter(is_same).find(|at| is_charged(*at));
    of(charged.or_else(|| (0..=index).find(is_same)).unwrap_or(index))
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

/// What remains, and the time until more does.
fn left(limit: &Limit, (seen, ask, is_charged): (Seen, &Ask, bool), now_us: u64) -> (u32, u64) {
    match (seen, &ask.measure) {
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            let after = if is_charged { ask.charged_full_at(tokens, full_at, now_us) } else { full_at };
            (limit.level(after, now_us), limit.next_token_us(after, now_us))
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(asked)) => {
            let count = if is_charged { ask.charged_count(asked, window.count) } else { window.count };
            (limit.burst().saturating_sub(count), window.ends_us.saturating_sub(now_us))
        }
        (Seen::SlidingLog { held, oldest_us, .. }, Measure::SlidingLog(asked)) => {
            let after = if is_charged { ask.charged_held(asked, held) } else { held };
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
        (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
            // What was charged though it does not fit has to come back first.
            let after = take.ask.charged_full_at(tokens, full_at, now_us);
            match never_fits {
                true => limit.full_us(after, now_us).max(SHORTEST_US),
                false => limit.wait_us(after, tokens.cost, now_us),
            }
        }
        (Seen::FixedWindow(window), Measure::FixedWindow(asked)) => {
            let until_end_us = window.ends_us.saturating_sub(now_us);
            match (never_fits, take.ask.charged_count(asked, window.count)) {
                (false, _) => until_end_us,
                (true, 0) => SHORTEST_US,
                (true, _) => until_end_us.max(SHORTEST_US),
            }
        }
        (Seen::SlidingLog { fits_at_us, .. }, Measure::SlidingLog(_)) => {
            let wait_us = fits_at_us.saturating_sub(now_us);
            if never_fits { wait_us.max(SHORTEST_US) } else { wait_us }
        }
        // A store answers in the terms of the take.
        _ => SHORTEST_US,
    }
}
