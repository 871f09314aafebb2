//! What an answer shows about a bucket without room, and to which takes that applies.

use tollgate_core::{
    decision::{
        Demand, Found, Measure, Seen, State,
        fixed_window::Window,
        sliding_log::{Log, Run},
    },
    limit::{AfterStoreLoss, Exact, Kept},
};

/// A bucket without room for a take like the one that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// Shows no less room than the bucket really has, until the same take fits.
    state: State,
    numbers: Numbers,
    /// For a log, the hits of that take: more is not known about it. 0 for others.
    log_hits: u64,
}

/// The numbers of a limit on which Redis' answer depends, besides the hits, and the period in the bucket's key: R and
/// the burst of a token bucket, or the number of a window or a log; and what a missing bucket counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    per_us: u32,
    burst: Exact,
    after_store_loss: AfterStoreLoss,
}

// === impl Room ===

impl Room {
    /// The bucket after this answer, if it has no room for the same take again.
    pub(super) fn after(demand: &Demand, found: &Found, is_charged: bool, now_us: u64) -> Option<Room> {
        let numbers = Numbers::new(demand);
        match (&demand.measure, found.seen) {
            (Measure::TokenBucket(tokens), Seen::TokenBucket { full_at }) => {
                let after =
                    if is_charged { demand.charged_full_at(tokens, full_at, now_us) } else { full_at };
                let is_full = tokens.after(after, now_us).is_none();
                let state = State::TokenBucket(Kept::new(after, tokens.per_us));
                is_full.then_some(Room { state, numbers, log_hits: 0 })
            }
            (Measure::FixedWindow(asked), Seen::FixedWindow(window)) => {
                let count = if is_charged { demand.charged_count(asked, window.count) } else { window.count };
                let is_full = u64::from(count) + asked.hits > u64::from(asked.limit);
                let state = State::FixedWindow(Window { count, ..window });
                is_full.then_some(Room { state, numbers, log_hits: 0 })
            }
            (Measure::SlidingLog(asked), Seen::SlidingLog { held, oldest_us, fits_at_us }) => {
                let leaves_us = match found.fits {
                    false => fits_at_us,
                    // The last hit that fits: the next one must wait until the oldest leaves.
                    true if is_charged && asked.hits == 1 && held.checked_add(1) == Some(asked.limit) => {
                        if held == 0 {
                            now_us.saturating_add(asked.length_us)
                        } else {
                            oldest_us
                        }
                    }
                    true => 0,
                };
                let hits = u32::try_from((u64::from(asked.limit) + 1).saturating_sub(asked.hits))
                    .unwrap_or(u32::MAX);
                let state = State::SlidingLog(Box::new(Log::new(vec![Run { leaves_us, hits }])));
                (leaves_us > 0).then_some(Room { state, numbers, log_hits: asked.hits })
            }
            _ => None,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Whether it applies to this demand.
    pub(super) fn is_known_for(&self, demand: &Demand) -> bool {
        let is_known = match demand.measure {
            Measure::SlidingLog(asked) => asked.hits == self.log_hits,
            Measure::TokenBucket(_) | Measure::FixedWindow(_) => true,
        };
        is_known && self.numbers == Numbers::new(demand)
    }

    /// From this instant on nothing is known: the next window has begun, or the log has changed by itself. A take that
    /// never fits is still denied then, but only Redis has its figures.
    pub(super) fn ends_us(&self) -> u64 {
        match &self.state {
            State::TokenBucket(_) | State::Leased(_) => u64::MAX,
            State::FixedWindow(_) | State::SlidingLog(_) => self.state.spent_us(),
        }
    }

    pub(super) fn lasts_longer_than(&self, other: &Room) -> bool {
        match (&self.state, &other.state) {
            (State::FixedWindow(new), State::FixedWindow(old)) => {
                (new.ends_us, new.count) > (old.ends_us, old.count)
            }
            (State::TokenBucket(new), State::TokenBucket(old)) => {
                new.under(new.per_us()) > old.under(new.per_us())
            }
            (new, old) => new.spent_us() > old.spent_us(),
        }
    }
}

// === impl Numbers ===

impl Numbers {
    fn new(demand: &Demand) -> Numbers {
        let (per_us, burst) = match &demand.measure {
            Measure::TokenBucket(tokens) => (tokens.per_us, tokens.burst),
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => {
                (1, Exact::at_us(u64::from(count.limit)))
            }
        };
        Numbers { per_us, burst, after_store_loss: demand.after_store_loss }
    }
}
