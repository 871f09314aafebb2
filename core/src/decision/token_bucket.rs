//! The token bucket, kept as one instant: `full_at`, when the bucket would be full again.
//!
//! A take of h hits costs the time in which h tokens come back. It fits if no more than the burst is missing
//! afterwards: max(full_at, now) + cost ≤ now + burst. This is GCRA (ITU-T I.371): `full_at` is its theoretical
//! arrival time, seen from the other end. It holds the limit because each admitted take raises `full_at` by its cost,
//! from at least now: the costs admitted between two takes are at most (t_last + burst) − t_first, whatever the clock
//! did in between.
//!
//! The state is not a number of tokens, so what a bucket owes in time stays owed when its rate or burst changes. Over
//! an interval, the costs of the admitted hits are at most the length of the interval, the time of the largest burst
//! and what was given back. Nothing is cut to a smaller burst: if two replicas disagreed, the one with the smaller
//! burst would empty what the other one then fills again.

use super::{
    Seen, State,
    demand::{Demand, Kind, Step, Tokens},
};
use crate::limit::{Exact, Kept};

impl Tokens {
    /// When the bucket is full again after the cost was taken; none if the take does not fit.
    pub fn after(&self, full_at: Exact, now_us: u64) -> Option<Exact> {
        let after = self.raised(full_at, now_us);
        (after <= Exact::at_us(now_us).plus(self.burst, self.per_us)).then_some(after)
    }

    fn raised(&self, full_at: Exact, now_us: u64) -> Exact {
        full_at.max(Exact::at_us(now_us)).plus(self.cost, self.per_us)
    }

    /// The instant after a take that does not fit was charged: at most until one burst is owed, two bursts from full.
    fn owed(&self, full_at: Exact, now_us: u64) -> Exact {
        let most = Exact::at_us(now_us).plus(self.burst, self.per_us).plus(self.burst, self.per_us);
        self.raised(full_at, now_us).min(most).max(full_at)
    }

    /// The part of a cost that was taken at `taken_us` and has not been refilled since.
    fn left_since(&self, taken_us: u64, now_us: u64) -> Tokens {
        let refilled = Exact::at_us(now_us.saturating_sub(taken_us));
        Tokens { cost: self.cost.minus(refilled, self.per_us), ..*self }
    }

    /// The instant after the cost was given back. It never lifts a bucket above full.
    fn lowered(&self, full_at: Exact, now_us: u64) -> Exact {
        full_at.minus(self.cost, self.per_us).max(Exact::at_us(now_us))
    }
}

impl Demand {
    /// The instant at which a bucket is full again that had `full_at` before this take was charged.
    pub fn charged_full_at(&self, tokens: &Tokens, full_at: Exact, now_us: u64) -> Exact {
        match self.kind {
            Kind::Peek => full_at,
            Kind::GiveBack => tokens.lowered(full_at, now_us),
            Kind::Undo { taken_us } => tokens.left_since(taken_us, now_us).lowered(full_at, now_us),
            Kind::Take => {
                let fitting = tokens.after(full_at, now_us);
                fitting.unwrap_or_else(|| if self.meters() { tokens.owed(full_at, now_us) } else { full_at })
            }
        }
    }
}

pub(super) fn step(demand: &Demand, tokens: &Tokens, state: Option<&State>, now_us: u64) -> Step {
    let full_at = State::full_at(state, tokens.per_us);
    let fits = demand.kind.gives_back() || tokens.after(full_at, now_us).is_some();
    let is_refilled = |taken_us| tokens.left_since(taken_us, now_us).cost == Exact::default();
    let is_refilled = matches!(demand.kind, Kind::Undo { taken_us } if is_refilled(taken_us));
    let is_charged = !demand.changes_nothing() && !is_refilled && (fits || demand.meters());
    let charged = is_charged.then(|| {
        let after = demand.charged_full_at(tokens, full_at, now_us);
        (after > Exact::at_us(now_us)).then_some(State::TokenBucket(Kept::new(after, tokens.per_us)))
    });
    Step { seen: Seen::TokenBucket { full_at }, fits, charged, missed_until_us: 0, is_reserved: false }
}
