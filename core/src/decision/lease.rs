//! Leases: hits that are reserved in a bucket for somebody who may spend them for a while without asking.
//!
//! What is reserved is neither there to be taken nor spent: a take fits if max(full_at, now) + reserved + cost ≤
//! now + burst. What was spent is reported later, and then taken; the rest of the reservation comes back. What nobody
//! has reported when the reservation lapses counts as spent at that instant. So the limit holds over every interval
//! [s, t]: what was spent in it and reported by t has raised `full_at` from at least s; what was spent in it and not
//! yet reported is at most what is reserved; and `full_at` + reserved ≤ t + burst.
//!
//! A bucket has two generations of reservations, so its size is constant. A reservation that is made at t joins the
//! younger generation if that lapses no earlier than 1¼ leases after t; otherwise a new one begins, which lapses after
//! 2½. A generation that is older than both has lapsed by then. The instant at which it lapses is its name.

use super::{Buckets, Demand, Measure, Seen, State, Step, demand::Count, fixed_window::Window, put};
use crate::{
    descriptor::BucketKey,
    limit::{AfterStoreLoss, Exact, Kept},
};

/// The most hits that one lease is given.
pub const MOST_LEASED: u32 = 1 << 20;
/// Fewer hits are not worth a lease.
pub const FEWEST_LEASED: u32 = 4;
/// One lease is given at most this part of what is left.
const SHARE: u32 = 4;
/// Of fewer hits than these no lease is granted.
pub const FEWEST_LEFT: u32 = SHARE * FEWEST_LEASED;

/// A bucket with reservations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// What is spent.
    pub counted: Counted,
    /// What is reserved, the older generation first.
    pub generations: [Generation; 2],
}

/// What a bucket remembers besides its reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A token bucket.
    TokenBucket(Kept),
    /// A window.
    FixedWindow(Window),
}

/// Reservations that lapse together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation {
    /// From then on they count as spent.
    pub lapses_us: u64,
    /// What the hits are worth as time, in fractions of the bucket's R; in a window, their number. 0 if there is none.
    pub amount: Exact,
}

/// What the holder of a lease tells the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseCall {
    /// The bucket.
    pub key: BucketKey,
    /// A take of one hit under the limit that the lease is for.
    pub one: Demand,
    /// The generation in which the hits are reserved, and their number, with those that are spent. 0 if there are none.
    pub generation_us: u64,
    /// See above.
    pub held: u32,
    /// How many of them are spent; they are charged now.
    pub spent: u32,
    /// How many of the rest stay reserved; the others come back.
    pub kept: u32,
    /// How many more are asked for.
    pub wants: u32,
}

/// The answer to a [`LeaseCall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The store's clock.
    pub now_us: u64,
    /// Whether the generation has not lapsed. If it has, all its hits count as spent.
    pub is_found: bool,
    /// Whether what is kept and what is granted may be spent for one lease from now on. Otherwise nothing is granted,
    /// and what is kept has its old end.
    pub is_extended: bool,
    /// How many more hits are reserved.
    pub granted: u32,
    /// The generation in which all of them are reserved.
    pub generation_us: u64,
    /// The bucket, in which everything that anybody has reserved counts as spent.
    pub seen: Seen,
}

// === impl Counted ===

impl Counted {
    /// The bucket in which nothing is reserved.
    pub fn alone(self) -> State {
        match self {
            Counted::TokenBucket(kept) => State::TokenBucket(kept),
            Counted::FixedWindow(window) => State::FixedWindow(window),
        }
    }
}

// === impl Leased ===

impl Leased {
    /// The instant from which on the bucket is the same as a missing one.
    pub(super) fn spent_us(&self) -> u64 {
        match self.counted {
            Counted::FixedWindow(window) => window.ends_us,
            Counted::TokenBucket(kept) => Held::of_tokens(self, kept.per_us(), u64::MAX).counted.ceil_us(),
        }
    }

    /// The bucket at this instant, in fractions of R, with everything that is reserved counted as spent.
    pub(super) fn full_at(&self, per_us: u32) -> Exact {
        Held::of_tokens(self, per_us, 0).all(0)
    }
}

// === Held ===

/// A bucket at one instant: what is spent, and what is reserved and has not lapsed. For a window both are hits, and R
/// is 1.
#[derive(Debug, Clone, Copy)]
struct Held {
    counted: Exact,
    generations: [Generation; 2],
    per_us: u32,
    /// When the window ends; 0 for a token bucket.
    ends_us: u64,
}

impl Held {
    fn of_tokens(leased: &Leased, per_us: u32, now_us: u64) -> Held {
        let Counted::TokenBucket(kept) = leased.counted else {
            return Held { counted: Exact::default(), generations: Default::default(), per_us, ends_us: 0 };
        };
        let under = |generation: Generation| Generation {
            amount: Kept::new(generation.amount, kept.per_us()).under(per_us),
            ..generation
        };
        let generations = leased.generations.map(under);
        let mut held = Held { counted: kept.under(per_us), generations, per_us, ends_us: 0 };
        held.lapse(now_us);
        held
    }

    fn of_window(leased: &Leased, asked: &Count, now_us: u64) -> Held {
        let Counted::FixedWindow(stored) = leased.counted else { return Held::window(asked, None, now_us) };
        let mut held = Held::window(asked, Some(&State::FixedWindow(stored)), now_us);
        if held.ends_us == stored.ends_us {
            held.generations = leased.generations;
            held.lapse(now_us);
        }
        held
    }

    fn window(asked: &Count, state: Option<&State>, now_us: u64) -> Held {
        let window = Window::at(state, asked, now_us);
        Held {
            counted: Exact::at_us(u64::from(window.count)),
            generations: Default::default(),
            per_us: 1,
            ends_us: window.ends_us,
        }
    }

    fn new(demand: &Demand, state: Option<&State>, now_us: u64) -> Option<Held> {
        Some(match (&demand.measure, state) {
            (Measure::TokenBucket(tokens), Some(State::Leased(leased))) => {
                Held::of_tokens(leased, tokens.per_us, now_us)
            }
            (Measure::TokenBucket(tokens), _) => Held {
                counted: State::full_at(state, tokens.per_us),
                generations: Default::default(),
                per_us: tokens.per_us,
                ends_us: 0,
            },
            (Measure::FixedWindow(asked), Some(State::Leased(leased))) => {
                Held::of_window(leased, asked, now_us)
            }
            (Measure::FixedWindow(asked), _) => Held::window(asked, state, now_us),
            (Measure::SlidingLog(_), _) => return None,
        })
    }

    /// What nobody has reported in time counts as spent.
    fn lapse(&mut self, now_us: u64) {
        for generation in &mut self.generations {
            if generation.is_used() && generation.lapses_us <= now_us {
                let from = if self.ends_us > 0 { 0 } else { generation.lapses_us };
                self.counted = self.counted.max(Exact::at_us(from)).plus(generation.amount, self.per_us);
                *generation = Generation::default();
            }
        }
        self.close_ranks();
    }

    /// Forgets empty generations, and moves the other one to the front.
    fn close_ranks(&mut self) {
        for generation in &mut self.generations {
            if !generation.is_used() {
                *generation = Generation::default();
            }
        }
        if !self.generations[0].is_used() {
            self.generations.swap(0, 1);
        }
    }

    fn reserved(&self) -> Exact {
        self.generations[0].amount.plus(self.generations[1].amount, self.per_us)
    }

    /// Spent and reserved together, at this instant: no less than `now` for a token bucket.
    fn all(&self, now_us: u64) -> Exact {
        let from = if self.ends_us > 0 { 0 } else { now_us };
        self.counted.max(Exact::at_us(from)).plus(self.reserved(), self.per_us)
    }

    fn seen(&self, now_us: u64) -> Seen {
        let all = self.all(now_us);
        if self.ends_us > 0 {
            Seen::FixedWindow(Window { ends_us: self.ends_us, count: u32_of(all.whole_us) })
        } else {
            Seen::TokenBucket { full_at: all }
        }
    }

    fn state(&self, now_us: u64) -> Option<State> {
        let is_reserved = self.reserved() > Exact::default();
        let counted = if self.ends_us > 0 {
            Counted::FixedWindow(Window { ends_us: self.ends_us, count: u32_of(self.counted.whole_us) })
        } else {
            let is_full = self.counted <= Exact::at_us(now_us);
            Counted::TokenBucket(Kept::new(
                if is_full { Exact::default() } else { self.counted },
                self.per_us,
            ))
        };
        match counted {
            _ if is_reserved => {
                Some(State::Leased(Box::new(Leased { counted, generations: self.generations })))
            }
            Counted::TokenBucket(kept) => {
                (self.counted > Exact::at_us(now_us)).then_some(State::TokenBucket(kept))
            }
            Counted::FixedWindow(window) => (window.count > 0).then_some(State::FixedWindow(window)),
        }
    }

    // === reserving ===

    /// Takes all hits of a lease out of their generation; false if it has lapsed.
    fn release(&mut self, generation_us: u64, amount: Exact) -> bool {
        let is_it = |generation: &&mut Generation| {
            generation.lapses_us == generation_us && generation.amount >= amount
        };
        let Some(generation) = self.generations.iter_mut().find(is_it) else { return false };
        generation.amount = generation.amount.minus(amount, self.per_us);
        self.close_ranks();
        true
    }

    /// The generation that a reservation joins which must not lapse sooner than this; a new one lapses at `new_us`.
    /// None if there are two others.
    fn joins(&self, no_sooner_us: u64, new_us: u64) -> Option<u64> {
        let [older, younger] = self.generations;
        let last = if younger.is_used() { younger } else { older };
        match (last.is_used() && last.lapses_us >= no_sooner_us, younger.is_used()) {
            (true, _) => Some(last.lapses_us),
            (false, true) => None,
            (false, false) => Some(new_us),
        }
    }

    fn reserve(&mut self, lapses_us: u64, amount: Exact) {
        if amount == Exact::default() {
            return;
        }
        let per_us = self.per_us;
        let has_room =
            |generation: &&mut Generation| !generation.is_used() || generation.lapses_us == lapses_us;
        if let Some(generation) = self.generations.iter_mut().find(has_room) {
            *generation = Generation { lapses_us, amount: generation.amount.plus(amount, per_us) };
        }
    }
}

impl Generation {
    fn is_used(&self) -> bool {
        self.amount > Exact::default()
    }
}

// === deciding ===

/// What a demand does to a bucket with reservations.
pub(super) fn step(demand: &Demand, leased: &State, now_us: u64) -> Option<Step> {
    let held = Held::new(demand, Some(leased), now_us)?;
    let bare = |counted: Exact| match &demand.measure {
        Measure::FixedWindow(_) => {
            State::FixedWindow(Window { ends_us: held.ends_us, count: u32_of(counted.whole_us) })
        }
        _ => State::TokenBucket(Kept::new(counted, held.per_us)),
    };
    // Beside what is reserved: that decides. Without it: that is charged.
    let beside = demand.step(Some(&bare(held.all(now_us))), now_us);
    let without = demand.step(Some(&bare(held.counted)), now_us);
    let charged = without.charged.filter(|_| beside.charged.is_some());
    let charged = charged.map(|after| {
        let counted = match after {
            Some(State::TokenBucket(kept)) => kept.under(held.per_us),
            Some(State::FixedWindow(window)) => Exact::at_us(u64::from(window.count)),
            _ => Exact::default(),
        };
        Held { counted, ..held }.state(now_us)
    });
    Some(Step { seen: held.seen(now_us), charged, is_reserved: held.reserved() > Exact::default(), ..beside })
}

/// What the holder of a lease reports and asks for, done to its bucket.
///
/// It never denies: nothing is granted if there is no room. At most a quarter of what is left is granted, so that no
/// holder starves the others, and nothing if that is fewer than 4 hits.
pub fn lease(call: &LeaseCall, now_us: u64, buckets: &mut impl Buckets) -> Option<Granted> {
    let before = buckets.state(&call.key);
    let guarded = call.one.after_store_loss == AfterStoreLoss::Empty;
    let missing = guarded.then(|| call.one.used_up(buckets.epoch_us(now_us)));
    let mut held = Held::new(&call.one, before.as_ref().or(missing.as_ref()), now_us)?;
    let granted = held.settle(call, now_us);
    if !granted.is_found && granted.granted == 0 {
        return Some(granted);
    }
    let missed_until_us = missing.map_or(0, |used_up| used_up.spent_us());
    let after = held.state(now_us).or_else(|| (missed_until_us > now_us).then(|| call.one.full()));
    put(&call.key, after, missed_until_us, buckets);
    Some(granted)
}

impl Held {
    fn settle(&mut self, call: &LeaseCall, now_us: u64) -> Granted {
        let one = call.one.cost();
        let worth = |hits: u32| times(one, hits, self.per_us);
        let (held, spent, kept) = (worth(call.held), worth(call.spent), worth(call.kept));
        let is_found = call.held > 0 && self.release(call.generation_us, held);
        let carried = if is_found { kept } else { Exact::default() };
        if is_found && call.spent > 0 {
            let from = if self.ends_us > 0 { 0 } else { now_us };
            self.counted = self.counted.max(Exact::at_us(from)).plus(spent, self.per_us);
        }
        let lease_us = u64::from(call.one.lease_us);
        let no_sooner_us = now_us.saturating_add(lease_us + lease_us / 4);
        let joins = self.joins(no_sooner_us, now_us.saturating_add(2 * lease_us + lease_us / 2));
        let granted = if joins.is_some() { self.grant(call, one, carried, now_us) } else { 0 };
        let generation_us = joins.unwrap_or(call.generation_us);
        self.reserve(generation_us, carried);
        self.reserve(generation_us, times(one, granted, self.per_us));
        let is_extended = joins.is_some();
        Granted { now_us, is_found, is_extended, granted, generation_us, seen: self.seen(now_us) }
    }

    /// At most a quarter of what is left. The script computes it by the same operations on the same doubles.
    fn grant(&self, call: &LeaseCall, one: Exact, carried: Exact, now_us: u64) -> u32 {
        let most = match &call.one.measure {
            Measure::TokenBucket(tokens) => Exact::at_us(now_us).plus(tokens.burst, self.per_us),
            Measure::FixedWindow(asked) | Measure::SlidingLog(asked) => Exact::at_us(u64::from(asked.limit)),
        };
        let left = most.minus(self.all(now_us).plus(carried, self.per_us), self.per_us);
        let granted = (left.as_f64(self.per_us) / (f64::from(SHARE) * one.as_f64(self.per_us))).floor();
        if granted < f64::from(FEWEST_LEASED) {
            return 0;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is cut to a small number"
        )]
        let granted = granted.min(f64::from(call.wants.min(MOST_LEASED))) as u32;
        if granted < FEWEST_LEASED { 0 } else { granted }
    }
}

/// How many hits of a bucket are reserved at this instant, at the price of a demand for one; a part of one counts as one.
pub(super) fn reserved_hits(one: &Demand, state: &State, now_us: u64) -> u64 {
    let Some(held) = Held::new(one, Some(state), now_us) else { return 0 };
    let [reserved, price] = [held.reserved(), one.cost()].map(|worth| worth.ticks(held.per_us));
    u64::try_from(reserved.div_ceil(price.max(1))).unwrap_or(u64::MAX)
}

/// What this number of hits costs, given a demand for one.
pub fn worth(one: &Demand, hits: u32) -> Exact {
    times(one.cost(), hits, one.per_us())
}

/// The worth of this number of hits.
fn times(one: Exact, hits: u32, per_us: u32) -> Exact {
    let fractions = u64::from(one.fraction) * u64::from(hits);
    let per_us = u64::from(per_us);
    Exact {
        whole_us: one.whole_us.saturating_mul(u64::from(hits)).saturating_add(fractions / per_us),
        fraction: u32_of(fractions % per_us),
    }
}

fn u32_of(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
