//! What one take asks of its bucket, and what it does to it.

use super::{Seen, State, Verdict, fixed_window, sliding_log, token_bucket};
use crate::{
    descriptor::Hits,
    limit::{AfterStoreLoss, Algorithm, Exact, Kept, Limit, Overdraft},
};

/// What a take asks; made from hits and a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub kind: Kind,
    pub enforcement: Enforcement,
    pub overdraft: Overdraft,
    pub after_store_loss: AfterStoreLoss,
    pub measure: Measure,
}

/// What a demand does with its hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Charges them if they fit.
    Take,
    /// Looks whether one hit would fit, and changes nothing.
    Peek,
    /// Gives them back, up to a full bucket.
    GiveBack,
}

/// What a take that does not fit means for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// The request is denied.
    #[default]
    Enforced,
    /// The request is denied if no other quota fits either.
    Quota,
    /// Nothing: the limit is reported, and not charged.
    Shadow,
}

/// How much is asked, in the terms of the limit's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    TokenBucket(Tokens),
    FixedWindow(Count),
    SlidingLog(Count),
}

/// Tokens as time; see [`Exact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// What the hits cost; for a peek, what one hit costs.
    pub cost: Exact,
    /// What a full bucket is worth.
    pub burst: Exact,
    /// R of [`Exact`]; at least 1.
    pub per_us: u32,
}

/// Hits out of so many in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// For a peek 1; at most 2^32.
    pub hits: u64,
    pub limit: u32,
    pub length_us: u64,
}

/// What a take does to its bucket.
pub(super) struct Step {
    pub(super) seen: Seen,
    pub(super) fits: bool,
    /// The state afterwards, if the take changes it: because it fits, or though it does not.
    pub(super) charged: Option<Option<State>>,
    /// Until then the bucket would count as used up if it went missing; 0 if it would be full.
    pub(super) missed_until_us: u64,
}

// === impl Ask ===

impl Demand {
    pub fn new(hits: Hits, limit: &Limit) -> Demand {
        let kind = match hits {
            Hits::Take(_) => Kind::Take,
            Hits::Peek => Kind::Peek,
            Hits::GiveBack(_) => Kind::GiveBack,
        };
        let count = |hits| Count {
            hits,
            limit: limit.requests_per_unit(),
            length_us: limit.period().seconds() * 1_000_000,
        };
        // A limit of 0 neither charges nor gives back: what is there stays for the limit that comes after it.
        let burst = u64::from(limit.burst());
        let overdraft = if burst == 0 { Overdraft::Never } else { limit.overdraft() };
        let hits = match (hits, overdraft) {
            (Hits::Peek, _) => 1,
            (Hits::GiveBack(_), _) if burst == 0 => 0,
            // They may have been taken under a larger limit, and no window counts more than a u32 can.
            (Hits::GiveBack(hits), _) => match limit.algorithm() {
                Algorithm::TokenBucket => hits,
                Algorithm::FixedWindow | Algorithm::SlidingWindowLog => hits.min(u64::from(u32::MAX)),
            },
            // Beyond these, more hits make no difference.
            (Hits::Take(hits), Overdraft::Charge) => hits.min(2 * burst + 1),
            (Hits::Take(hits), Overdraft::Never) => hits.min(burst + 1),
        };
        let measure = match limit.algorithm() {
            Algorithm::TokenBucket => Measure::TokenBucket(Tokens {
                cost: limit.worth(hits),
                burst: limit.worth_of_burst(),
                per_us: limit.per_us(),
            }),
            Algorithm::FixedWindow => Measure::FixedWindow(count(hits)),
            Algorithm::SlidingWindowLog => Measure::SlidingLog(count(hits)),
        };
        let after_store_loss = limit.after_store_loss();
        Demand { kind, enforcement: Enforcement::default(), overdraft, after_store_loss, measure }
    }

    #[must_use]
    pub fn enforcement(self, enforcement: Enforcement) -> Demand {
        Demand { enforcement, ..self }
    }

    /// What is asked of a token bucket.
    pub fn tokens(&self) -> Option<&Tokens> {
        match &self.measure {
            Measure::TokenBucket(tokens) => Some(tokens),
            Measure::FixedWindow(_) | Measure::SlidingLog(_) => None,
        }
    }

    /// The bucket with nothing left in it.
    pub fn empty(&self, now_us: u64) -> Option<State> {
        Some(self.used_up(now_us)).filter(|state| state.spent_us() > now_us)
    }

    fn used_up(&self, at_us: u64) -> State {
        match &self.measure {
            Measure::TokenBucket(tokens) => {
                let full_at = Exact::at_us(at_us).plus(tokens.burst, tokens.per_us);
                State::TokenBucket(Kept::new(full_at, tokens.per_us))
            }
            Measure::FixedWindow(count) => fixed_window::spent(count, at_us),
            Measure::SlidingLog(count) => sliding_log::spent(count, at_us),
        }
    }

    /// It may bring a bucket into being, in a store that began at this instant: by a charge, or by a refund to one
    /// that counts as used up while it is missing.
    pub fn may_begin_bucket(&self, epoch_us: u64, now_us: u64) -> bool {
        match self.kind {
            Kind::Take => true,
            Kind::Peek => false,
            Kind::GiveBack => {
                !self.changes_nothing()
                    && self.after_store_loss == AfterStoreLoss::Empty
                    && self.used_up(epoch_us).spent_us() > now_us
            }
        }
    }

    /// A peek, or a refund of nothing: its bucket stays as it is.
    pub fn changes_nothing(&self) -> bool {
        let is_nothing = match &self.measure {
            Measure::TokenBucket(tokens) => tokens.cost == Exact::default(),
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => count.hits == 0,
        };
        self.kind == Kind::Peek || (self.kind == Kind::GiveBack && is_nothing)
    }

    /// It is charged whether or not its request is denied.
    pub fn meters(&self) -> bool {
        self.overdraft == Overdraft::Charge
    }

    /// A bucket that is full, and yet not missing.
    fn full(&self) -> State {
        match &self.measure {
            Measure::TokenBucket(tokens) => State::TokenBucket(Kept::new(Exact::default(), tokens.per_us)),
            Measure::FixedWindow(_) => State::FixedWindow(fixed_window::Window { ends_us: 0, count: 0 }),
            Measure::SlidingLog(_) => State::SlidingLog(Box::default()),
        }
    }

    /// What it does to a bucket whose store began at this instant. One that is missing is full, unless the limit
    /// says that it counts as used up since then; a bucket that this take fills must not be missing then.
    pub(super) fn step_since(&self, epoch_us: u64, state: Option<&State>, now_us: u64) -> Step {
        let used_up = self.used_up(epoch_us);
        let mut step = self.step(state.or(Some(&used_up)), now_us);
        if used_up.spent_us() > now_us {
            step.missed_until_us = used_up.spent_us();
            if let Some(after @ None) = &mut step.charged {
                *after = Some(self.full());
            }
        }
        step
    }

    pub(super) fn step(&self, state: Option<&State>, now_us: u64) -> Step {
        match &self.measure {
            Measure::TokenBucket(tokens) => token_bucket::step(self, tokens, state, now_us),
            Measure::FixedWindow(count) => fixed_window::step(self, count, state, now_us),
            Measure::SlidingLog(count) => sliding_log::step(self, count, state, now_us),
        }
    }
}

// === verdict ===

/// The verdict on a request, from the enforcement of each of its limits and whether its take fits: Deny if an enforced
/// take does not fit, or if there are quotas and none of them fits.
///
/// `decide` in `lua/batch.lua` says the same in Redis; there is no third place.
pub fn verdict(takes: impl IntoIterator<Item = (Enforcement, bool)>) -> Verdict {
    let (mut an_enforced_is_over, mut has_quota, mut a_quota_fits) = (false, false, false);
    for (enforcement, fits) in takes {
        match enforcement {
            Enforcement::Enforced => an_enforced_is_over |= !fits,
            Enforcement::Quota => (has_quota, a_quota_fits) = (true, a_quota_fits | fits),
            Enforcement::Shadow => {}
        }
    }
    if an_enforced_is_over || (has_quota && !a_quota_fits) { Verdict::Deny } else { Verdict::Allow }
}
