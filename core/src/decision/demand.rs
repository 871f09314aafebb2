//! What one take asks of its bucket, what it does to it, and the verdict that the takes of a request amount to.

use super::{Seen, State, Verdict, fixed_window, lease, sliding_log, token_bucket};
use crate::{
    descriptor::Hits,
    limit::{AfterStoreLoss, Algorithm, Exact, Kept, Limit, Overdraft, Windows},
};

/// What a take asks of its bucket. It is made from hits and a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Whether hits are taken, looked for or given back.
    pub kind: Kind,
    /// What it means for the request if the take does not fit.
    pub enforcement: Enforcement,
    /// Whether the take is charged though it does not fit; `auto` counts as never here.
    pub overdraft: Overdraft,
    /// What a missing bucket holds.
    pub after_store_loss: AfterStoreLoss,
    /// How long hits may be reserved that are asked for by lease, in microseconds; 0 if they are asked for one by one.
    pub lease_us: u32,
    /// How much is asked.
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
    /// Undoes a take: gives back what has not come back by itself since.
    Undo {
        /// When that take was charged, by the clock of the bucket, in microseconds.
        taken_us: u64,
    },
}

/// What it means for a request if one of its takes does not fit.
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

/// How much is asked, as the limit's algorithm measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Tokens of a token bucket, as time.
    TokenBucket(Tokens),
    /// Hits in a fixed window.
    FixedWindow(Count),
    /// Hits in a log.
    SlidingLog(Count),
}

/// Tokens as time; see [`Exact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// The cost of the hits; for a peek, the cost of one hit.
    pub cost: Exact,
    /// The worth of a full bucket.
    pub burst: Exact,
    /// R of [`Exact`]; at least 1.
    pub per_us: u32,
    /// The number of hits that they are worth; the largest one for more than a u32 holds.
    pub hits: u32,
}

/// Hits of at most `limit` in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The hits that are asked for: 1 for a peek, and at most 2^32.
    pub hits: u64,
    /// The most hits in a period.
    pub limit: u32,
    /// The length of the period in microseconds.
    pub length_us: u64,
    /// Where windows begin. Those of calendar months have lengths of their own.
    pub windows: Windows,
}

/// What a take does to its bucket.
pub(super) struct Step {
    pub(super) seen: Seen,
    pub(super) fits: bool,
    /// The state afterwards, if the take changes it because it fits, or though it does not.
    pub(super) charged: Option<Option<State>>,
    /// The instant until which the bucket would count as used up if it went missing; 0 if it would count as full.
    pub(super) missed_until_us: u64,
    /// Whether a part of what was seen as spent is only reserved.
    pub(super) is_reserved: bool,
}

// === impl Kind ===

impl Kind {
    /// Whether it leaves the bucket as full as before, or fuller; then it always fits.
    pub fn gives_back(self) -> bool {
        matches!(self, Kind::GiveBack | Kind::Undo { .. })
    }
}

// === impl Demand ===

impl Demand {
    /// The demand for these hits under this limit, which is enforced. Hits that can make no difference are cut, so
    /// that all later arithmetic fits.
    ///
    /// What happens to hits that do not fit is up to the limit, where [`Overdraft::Auto`] counts as never: see
    /// [`Demand::with_overdraft`].
    pub fn new(hits: Hits, limit: &Limit) -> Demand {
        Demand::with_overdraft(hits, limit, limit.overdraft())
    }

    /// The same, with another overdraft than the limit's.
    pub fn with_overdraft(hits: Hits, limit: &Limit, overdraft: Overdraft) -> Demand {
        let kind = match hits {
            Hits::One | Hits::Take(_) => Kind::Take,
            Hits::Peek => Kind::Peek,
            Hits::GiveBack(_) => Kind::GiveBack,
        };
        let count = |hits| Count {
            hits,
            limit: limit.requests_per_unit(),
            length_us: limit.period().seconds() * 1_000_000,
            windows: limit.windows(),
        };
        // A limit of 0 neither charges nor gives back, so its bucket stays as it is for the limit that replaces it.
        let burst = u64::from(limit.burst());
        let overdraft = if burst == 0 { Overdraft::Never } else { overdraft };
        let hits = match (hits, overdraft) {
            (Hits::One | Hits::Peek, _) => 1,
            (Hits::GiveBack(_), _) if burst == 0 => 0,
            // They may have been taken under a larger limit; and no window counts more than a u32 holds.
            (Hits::GiveBack(hits), _) => match limit.algorithm() {
                Algorithm::TokenBucket => hits,
                Algorithm::FixedWindow | Algorithm::SlidingWindowLog => hits.min(u64::from(u32::MAX)),
            },
            // More hits than these make no difference.
            (Hits::Take(hits), Overdraft::Charge) => hits.min(2 * burst + 1),
            (Hits::Take(hits), Overdraft::Never | Overdraft::Auto) => hits.min(burst + 1),
        };
        let measure = match limit.algorithm() {
            Algorithm::TokenBucket => Measure::TokenBucket(Tokens {
                cost: limit.worth(hits),
                burst: limit.worth_of_burst(),
                per_us: limit.per_us(),
                hits: u32::try_from(hits).unwrap_or(u32::MAX),
            }),
            Algorithm::FixedWindow => Measure::FixedWindow(count(hits)),
            Algorithm::SlidingWindowLog => Measure::SlidingLog(count(hits)),
        };
        let after_store_loss = limit.after_store_loss();
        let may_lease =
            matches!(kind, Kind::Take | Kind::Peek) && overdraft != Overdraft::Charge && burst > 0;
        let lease_us = if may_lease { limit.lease_us() } else { 0 };
        Demand { kind, enforcement: Enforcement::default(), overdraft, after_store_loss, lease_us, measure }
    }

    /// The same demand with another enforcement.
    #[must_use]
    pub fn enforcement(self, enforcement: Enforcement) -> Demand {
        Demand { enforcement, ..self }
    }

    /// Undoes what this take was charged at `taken_us`.
    ///
    /// Giving back the whole would admit too much, since a part has come back by itself. Without the take, a token
    /// bucket would be full earlier by the cost, less what has passed since, unless other takes were in between: then by
    /// more. So the cost less the time passed is never too much, in whatever order takes and their undoing come. A window
    /// gets its hits back while it lasts, and a log those that leave when the hits of the take do. A bucket that is
    /// missing is full or lost, and stays so.
    #[must_use]
    pub fn undo(self, taken_us: u64) -> Demand {
        Demand { kind: Kind::Undo { taken_us }, overdraft: Overdraft::Never, ..self }
    }

    /// A take under the same limit that never fits.
    #[must_use]
    pub fn never_fitting(self) -> Demand {
        let too_many = |count: Count| Count { hits: u64::from(count.limit) + 1, ..count };
        let measure = match self.measure {
            Measure::TokenBucket(tokens) => {
                let cost = tokens.burst.plus(Exact::at_us(1), tokens.per_us);
                Measure::TokenBucket(Tokens { cost, ..tokens })
            }
            Measure::FixedWindow(count) => Measure::FixedWindow(too_many(count)),
            Measure::SlidingLog(count) => Measure::SlidingLog(too_many(count)),
        };
        let (kind, enforcement, overdraft) = (Kind::Take, Enforcement::Enforced, Overdraft::Never);
        Demand { kind, enforcement, overdraft, measure, ..self }
    }

    /// Whether it fits no bucket of its limit, however full.
    pub fn never_fits(&self) -> bool {
        let is_too_much = match &self.measure {
            Measure::TokenBucket(tokens) => tokens.cost > tokens.burst,
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => count.hits > u64::from(count.limit),
        };
        is_too_much && !self.kind.gives_back()
    }

    /// The same demand, which gives back nothing: it shows the bucket and always fits.
    #[must_use]
    pub fn giving_back_nothing(self) -> Demand {
        let measure = match self.measure {
            Measure::TokenBucket(tokens) => Measure::TokenBucket(Tokens { cost: Exact::default(), ..tokens }),
            Measure::FixedWindow(count) => Measure::FixedWindow(Count { hits: 0, ..count }),
            Measure::SlidingLog(count) => Measure::SlidingLog(Count { hits: 0, ..count }),
        };
        Demand { kind: Kind::GiveBack, measure, ..self }
    }

    /// What is asked of a token bucket; none for the other algorithms.
    pub fn tokens(&self) -> Option<&Tokens> {
        match &self.measure {
            Measure::TokenBucket(tokens) => Some(tokens),
            Measure::FixedWindow(_) | Measure::SlidingLog(_) => None,
        }
    }

    /// The state of the bucket if it is used up now; none if that is the same as a missing one.
    pub fn empty(&self, now_us: u64) -> Option<State> {
        Some(self.used_up(now_us)).filter(|state| state.spent_us() > now_us)
    }

    /// A take of one hit from the same bucket under the same limit, which never owes.
    #[must_use]
    pub fn one(&self) -> Demand {
        let measure = match self.measure {
            Measure::TokenBucket(tokens) if tokens.hits != 1 => {
                let ticks = tokens.cost.ticks(tokens.per_us) / u128::from(tokens.hits.max(1));
                Measure::TokenBucket(Tokens {
                    cost: Exact::from_ticks(ticks, tokens.per_us),
                    hits: 1,
                    ..tokens
                })
            }
            Measure::TokenBucket(tokens) => Measure::TokenBucket(tokens),
            Measure::FixedWindow(count) => Measure::FixedWindow(Count { hits: 1, ..count }),
            Measure::SlidingLog(count) => Measure::SlidingLog(Count { hits: 1, ..count }),
        };
        let (kind, enforcement) = (Kind::Take, Enforcement::Enforced);
        Demand { kind, enforcement, overdraft: Overdraft::Never, measure, ..*self }
    }

    /// The number of its hits; the largest one for more than a u32 holds.
    pub fn hits(&self) -> u32 {
        match &self.measure {
            Measure::TokenBucket(tokens) => tokens.hits,
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => {
                u32::try_from(count.hits).unwrap_or(u32::MAX)
            }
        }
    }

    /// R of its costs; 1 where hits are counted.
    pub fn per_us(&self) -> u32 {
        self.tokens().map_or(1, |tokens| tokens.per_us)
    }

    /// What its hits cost: as time, or as their number.
    pub fn cost(&self) -> Exact {
        match &self.measure {
            Measure::TokenBucket(tokens) => tokens.cost,
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => Exact::at_us(count.hits),
        }
    }

    pub(super) fn used_up(&self, at_us: u64) -> State {
        match &self.measure {
            Measure::TokenBucket(tokens) => {
                let full_at = Exact::at_us(at_us).plus(tokens.burst, tokens.per_us);
                State::TokenBucket(Kept::new(full_at, tokens.per_us))
            }
            Measure::FixedWindow(count) => fixed_window::spent(count, at_us),
            Measure::SlidingLog(count) => sliding_log::spent(count, at_us),
        }
    }

    /// Whether the take may create a bucket in a store that began at `epoch_us`: by a charge, or by giving back to a
    /// bucket that counts as used up while it is missing.
    pub fn may_begin_bucket(&self, epoch_us: u64, now_us: u64) -> bool {
        match self.kind {
            Kind::Take => true,
            Kind::Peek | Kind::Undo { .. } => false,
            Kind::GiveBack => {
                !self.changes_nothing()
                    && self.after_store_loss == AfterStoreLoss::Empty
                    && self.used_up(epoch_us).spent_us() > now_us
            }
        }
    }

    /// Whether its bucket stays as it is in any case: for a peek, or if nothing is given back.
    pub fn changes_nothing(&self) -> bool {
        let is_nothing = match &self.measure {
            Measure::TokenBucket(tokens) => tokens.cost == Exact::default(),
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => count.hits == 0,
        };
        self.kind == Kind::Peek || (self.kind.gives_back() && is_nothing)
    }

    /// Whether it is charged even if its request is denied.
    pub fn meters(&self) -> bool {
        self.overdraft == Overdraft::Charge
    }

    /// A bucket that is full, but is not missing.
    pub(super) fn full(&self) -> State {
        match &self.measure {
            Measure::TokenBucket(tokens) => State::TokenBucket(Kept::new(Exact::default(), tokens.per_us)),
            Measure::FixedWindow(_) => State::FixedWindow(fixed_window::Window { ends_us: 0, count: 0 }),
            Measure::SlidingLog(_) => State::SlidingLog(Box::default()),
        }
    }

    /// What it does to its bucket if a missing bucket counts as used up at `epoch_us`, when its store began. A bucket
    /// that this take fills must then not be missing.
    pub(super) fn step_since(&self, epoch_us: u64, state: Option<&State>, now_us: u64) -> Step {
        if state.is_none() && matches!(self.kind, Kind::Undo { .. }) {
            return self.step(None, now_us);
        }
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
        if let Some(leased @ State::Leased(_)) = state
            && let Some(step) = lease::step(self, leased, now_us)
        {
            return step;
        }
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
