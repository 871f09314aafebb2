//! From what a take found to the figures that are told: what remains, and when there is more.

use super::{Decision, Few, Member};
use crate::{
    decision::{Answer, Ask, Found, Measure, Seen, Verdict},
    descriptor::Hits,
    limit::Limit,
};

/// The shortest wait that is told where no wait would help.
const SHORTEST_US: u64 = 1_000_000;

pub(super) fn decisions<'m>(members: &[Member<'m>], answer: &Answer) -> Few<Decision<'m>> {
    let figures = |(index, member): (usize, &Member<'m>)| {
        let found = &answer.found[index];
        let never_fits = !found.fits && never_fits(members, member);
        let (remaining, reset_us) = if found.fits {
            member.left(first_found(members, answer, index), found, answer)
        } else {
            (0, member.wait_us(found, never_fits, answer.now_us))
        };
        Decision {
            descriptor: member.descriptor,
            limit: member.limit.clone(),
            standing: member.standing,
            verdict: if found.fits { Verdict::Allow } else { Verdict::Deny },
            remaining,
            reset_us,
            never_fits,
        }
    };
    members.iter().enumerate().map(figures).collect()
}

/// What the first take of the same bucket found: what was there before this request.
fn first_found<'a>(members: &[Member<'_>], answer: &'a Answer, index: usize) -> &'a Found {
    let key = members[index].take.key;
    let first = members.iter().position(|member| member.take.key == key).unwrap_or(index);
    &answer.found[first]
}

/// All that a request takes from a bucket has to fit at once.
fn never_fits(members: &[Member<'_>], of: &Member<'_>) -> bool {
    let same = members.iter().filter(|member| member.take.key == of.take.key);
    let hits = same.fold(0_u64, |sum, member| match member.hits {
        Hits::Take(hits) => sum.saturating_add(hits),
        Hits::Peek | Hits::GiveBack(_) => sum,
    });
    let burst = of.limit.limit.burst();
    hits > u64::from(burst) || burst == 0
}

impl Member<'_> {
    /// This take fits: what remains, and the time until more does. On a denied request what is not charged
    /// leaves the figures of `before`.
    fn left(&self, before: &Found, found: &Found, answer: &Answer) -> (u32, u64) {
        let is_charged = self.take.is_charged(found, answer.verdict);
        let seen = if is_charged || answer.verdict == Verdict::Allow { found.seen } else { before.seen };
        left(&self.limit.limit, is_charged.then_some(&self.take.ask), &seen, &self.take.ask, answer.now_us)
    }

    fn wait_us(&self, found: &Found, never_fits: bool, now_us: u64) -> u64 {
        let limit = &self.limit.limit;
        if limit.burst() == 0 {
            return limit.period().seconds() * 1_000_000;
        }
        match (found.seen, &self.take.ask.measure) {
            (Seen::TokenBucket { full_at }, _) if never_fits => {
                limit.full_us(full_at, now_us).max(SHORTEST_US)
            }
            (Seen::TokenBucket { full_at }, Measure::TokenBucket(tokens)) => {
                // What was charged though it does not fit has to come back first.
                let after = self.take.ask.charged_full_at(tokens, full_at, now_us);
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
}

fn left(limit: &Limit, charged: Option<&Ask>, seen: &Seen, ask: &Ask, now_us: u64) -> (u32, u64) {
    match (*seen, &ask.measure) {
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
