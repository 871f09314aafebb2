//! The token bucket, kept as one instant: `full_at`, when the bucket would be full again.
//!
//! A take of h hits costs the time in which h tokens come back. It fits if what is missing afterwards is
//! at most the burst: max(full_at, now) + cost ≤ now + burst. That is all. It holds the limit because each
//! admitted take raises `full_at` by its cost, from at least now: the costs admitted between two takes are
//! at most (t_last + burst) − t_first, whatever the clock did in between.

use crate::{
    descriptor::Hits,
    limit::{Exact, Limit},
};

/// What a take asks of one bucket, in time; made from hits and a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub kind: Kind,
    /// What the hits cost; for a peek, what one hit costs.
    pub cost: Exact,
    /// What a full bucket is worth.
    pub burst: Exact,
    /// R of [`Exact`]; at least 1.
    pub per_us: u32,
}

/// The numbers are those of the script's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Take = 0,
    Peek = 1,
    GiveBack = 2,
}

impl Ask {
    pub fn new(hits: Hits, limit: &Limit) -> Ask {
        let (kind, cost) = match hits {
            Hits::Take(hits) => (Kind::Take, limit.cost(hits)),
            Hits::Peek => (Kind::Peek, limit.cost(1)),
            Hits::GiveBack(hits) => (Kind::GiveBack, limit.worth(hits)),
        };
        Ask { kind, cost, burst: limit.worth_of_burst(), per_us: limit.per_us() }
    }

    /// The bucket's `full_at` afterwards, or none if the take does not fit.
    ///
    /// A peek leaves it as it is. What is given back never lifts a bucket above full; one that is full has no
    /// state any more, which is 0 here and no key in Redis.
    pub fn of(&self, full_at: Exact, now_us: u64) -> Option<Exact> {
        let now = Exact::at_us(now_us);
        let from = full_at.max(now);
        if self.kind == Kind::GiveBack {
            let after = from.minus(self.cost, self.per_us);
            return Some(if after > now { after } else { Exact::default() });
        }
        let after = from.plus(self.cost, self.per_us);
        if after > now.plus(self.burst, self.per_us) {
            return None;
        }
        Some(if self.kind == Kind::Peek { full_at } else { after })
    }
}
