//! Was too much admitted, or too little? Over every interval, exactly.
//!
//! A request was decided at some instant of its span, nobody outside knows which. Too much is only what
//! exceeds the limit wherever in their spans the requests were decided; a denial is unjustified only if
//! the bucket held a token whenever the denial was decided. So both findings are proofs, and what hides
//! in wide spans is not reported. Pure: spans in, findings out, integers only.
//!
//! Below stands this for a token bucket, in `windows` for a limit that resets, and `bound` is either. `leases` says how
//! much leases may hold back from a denied request.

mod bound;
mod leases;
mod tree;
mod windows;

pub use bound::{Bound, Worst};
pub use leases::HeldBack;
use tree::Tree;
pub use windows::{Windows, WorstWindows};

use crate::limit::Limit;

/// From before a request's first byte is written until its answer's head is read, in microseconds since
/// the run began: `start_us` rounded down, `end_us` rounded up.
///
/// That rounding also covers a limiter that cuts its own clock to whole microseconds: what it measures
/// between two decisions is whole, and less than one away from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Microseconds since the run began, before the first byte of the request was written.
    pub start_us: u64,
    /// Microseconds since the run began, when the head of the answer had been read; at least `start_us`.
    pub end_us: u64,
}

/// How the run's time and the system's clock hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// What the system's clock said when the run began, in microseconds since the Unix epoch.
    pub began_us: u64,
    /// By how much it was set since.
    pub stepped_us: u64,
}

/// Whether the limiter counts time by the clock that measured the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remoteness {
    /// The limiter decides by the clock of the machine that measures.
    SameClock,
    /// Another machine's clock may run 0.1 % faster or slower.
    OtherClock,
}

/// What a limit allows, in parts of a token that make every sum whole: 1000·P parts are a token, and
/// R·1000 parts come back per microsecond (R tokens per P µs).
///
/// Bounds: P < 2^45 and R, burst and counts < 2^32, times < 2^64, so all sums stay below 2^107.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    burst: i128,
    token: i128,
    refill_at_most: i128,
    refill_at_least: i128,
}

/// The interval that exceeds what is allowed by most (or, if none does, comes closest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstInterval {
    /// Microseconds since the run began.
    pub from_us: u64,
    /// Microseconds since the run began; at least `from_us`.
    pub to_us: u64,
    /// Requests that lie wholly inside.
    pub admitted: u64,
    /// In parts of a token; above zero: too much.
    surplus: i128,
}

/// A denial while the bucket certainly held a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unjustified {
    /// When the denied request was under way.
    pub denial: Span,
    /// Thousandths of a token that the bucket held at the very least; 1000 or more.
    pub level_milli: u64,
    /// Of these, what leases may have held back, in thousandths; less by 1000 or more.
    pub held_back_milli: u64,
}

/// What the denials of a run come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Denials {
    /// The number of denials that were examined.
    pub checked: u64,
    /// The number of denials that only leases explain.
    pub held_back: u64,
    /// The number of denials that no state of the bucket explains.
    pub unjustified: u64,
    /// The unjustified one with the most tokens in the bucket that no lease held back.
    pub worst: Option<Unjustified>,
}

// === impl Allowance ===

impl Allowance {
    /// What this limit allows, if the limiter's clock is as remote as this.
    pub fn for_limit(limit: &Limit, remoteness: Remoteness) -> Allowance {
        let tokens = u128::from(limit.per_us());
        // One hit costs P/R µs, kept as whole microseconds and a fraction in 1/R µs.
        let cost = limit.cost(1);
        let period_us = u128::from(cost.whole_us) * tokens + u128::from(cost.fraction);
        let drift = match remoteness {
            Remoteness::SameClock => 0,
            Remoteness::OtherClock => 1,
        };
        let token = signed(period_us * 1000);
        Allowance {
            burst: i128::from(limit.burst()) * token,
            token,
            refill_at_most: signed(tokens * (1000 + drift)),
            refill_at_least: signed(tokens * (1000 - drift)),
        }
    }

    /// The same allowance with this many hits more, wherever they fall.
    pub fn and_hits(self, hits: i128) -> Allowance {
        Allowance { burst: self.burst + hits * self.token, ..self }
    }

    /// With what comes back in so much time, wherever it falls.
    pub fn and_refill_of_us(self, span_us: i128) -> Allowance {
        Allowance { burst: self.burst + self.refill_at_most * span_us, ..self }
    }

    /// What two allow together; their tokens must be worth the same.
    pub fn and(self, other: Allowance) -> Allowance {
        assert_eq!(self.token, other.token, "tokens of two kinds");
        let refill_at_most = self.refill_at_most + other.refill_at_most;
        Allowance { burst: self.burst + other.burst, refill_at_most, ..self }
    }

    /// Thousandths of a token that come back within `span_us` at most, cut.
    pub fn refilled_milli(&self, span_us: u64) -> u64 {
        self.milli(self.refill_at_most * i128::from(span_us))
    }

    fn milli(&self, parts: i128) -> u64 {
        u64::try_from(parts * 1000 / self.token).unwrap_or(0)
    }
}

fn signed(parts: u128) -> i128 {
    i128::try_from(parts).expect("below 2^107")
}

// === impl WorstInterval ===

impl WorstInterval {
    /// Whether the interval holds more hits than the limit allows.
    pub fn is_too_much(&self) -> bool {
        self.surplus > 0
    }

    /// The length of the interval in microseconds.
    pub fn length_us(&self) -> u64 {
        self.to_us - self.from_us
    }

    /// Thousandths of a token above what is allowed; 0 where nothing is.
    pub fn surplus_milli(&self, allowance: &Allowance) -> u64 {
        allowance.milli(self.surplus.max(0))
    }
}

/// Among all intervals [s, t] that hold a request, the one with the largest
/// (admitted wholly inside) − burst − refill·(t−s). None if nothing was admitted.
///
/// Only starts of requests can be the best s, only ends the best t. Requests are added in the order of
/// their ends; leaf k stands for the k-th start and holds refill·start + what began no earlier.
/// It is filled when its own request is added, so that no empty interval is the best.
pub fn too_much(admitted: &[Span], allowance: &Allowance) -> Option<WorstInterval> {
    let mut by_end = admitted.to_vec();
    by_end.sort_unstable_by_key(|span| span.end_us);
    let mut starts: Vec<u64> = admitted.iter().map(|span| span.start_us).collect();
    starts.sort_unstable();
    let refill = allowance.refill_at_most;
    let mut tree = Tree::without_numbers(starts.len());

    let mut worst: Option<(i128, u64)> = None;
    for group in by_end.chunk_by(|a, b| a.end_us == b.end_us) {
        for span in group {
            let n = up_to(&starts, span.start_us);
            tree.fill_last_of_first(n, refill * i128::from(span.start_us));
            tree.add_to_first(n, allowance.token);
        }
        let end_us = group[0].end_us;
        let best = tree.max_of_first(up_to(&starts, end_us)).expect("a request starts before it ends");
        let surplus = best - refill * i128::from(end_us) - allowance.burst;
        if worst.is_none_or(|(most, _)| surplus > most) {
            worst = Some((surplus, end_us));
        }
    }
    let (surplus, to_us) = worst?;
    let (from_us, count) = best_start(admitted, to_us, allowance);
    Some(WorstInterval { from_us, to_us, admitted: count, surplus })
}

/// The start s of the worst interval that ends at `to_us`, and how many lie inside; the latest on a tie.
fn best_start(admitted: &[Span], to_us: u64, allowance: &Allowance) -> (u64, u64) {
    let mut starts: Vec<u64> =
        admitted.iter().filter(|span| span.end_us <= to_us).map(|span| span.start_us).collect();
    starts.sort_unstable_by(|a, b| b.cmp(a));
    let mut best = (i128::MIN, to_us, 0);
    for (&start, inside) in starts.iter().zip(1_u64..) {
        let value = i128::from(inside) * allowance.token + allowance.refill_at_most * i128::from(start);
        if value > best.0 {
            best = (value, start, inside);
        }
    }
    (best.1, best.2)
}

/// Which denials found a token in the bucket whenever they were decided.
///
/// A denial in [a, b] is unjustified if for every s ≤ a: burst + refill·(a−s) − (charged that touch
/// [s, b]) ≥ 1. `charged` is all that may have taken a token; what may do so at any later time (a
/// request that was never answered) ends at [`u64::MAX`].
///
/// The left side is smallest at s = a or where a charged request ends. Charged requests are added in
/// the order of their starts, up to b; leaf k stands for the k-th end.
pub fn too_little(charged: &[Span], denied: &[Span], allowance: &Allowance) -> Denials {
    too_little_beside(charged, denied, allowance, None)
}

/// The same, where leases may hold back hits: a denial is unjustified if a token was there beside them.
fn too_little_beside(
    charged: &[Span],
    denied: &[Span],
    allowance: &Allowance,
    leases: Option<&HeldBack>,
) -> Denials {
    let mut by_start = charged.to_vec();
    by_start.sort_unstable_by_key(|span| span.start_us);
    let mut ends: Vec<u64> = charged.iter().map(|span| span.end_us).collect();
    ends.sort_unstable();
    let mut by_end = denied.to_vec();
    by_end.sort_unstable_by_key(|span| span.end_us);
    let refill = allowance.refill_at_least;
    let mut tree = Tree::new(ends.iter().map(|&end| refill * i128::from(end)));

    let mut findings = Denials::default();
    let mut added = 0;
    for denial in by_end {
        while let Some(span) = by_start.get(added).filter(|span| span.start_us <= denial.end_us) {
            tree.add_to_first(up_to(&ends, span.end_us), allowance.token);
            added += 1;
        }
        // What ended before a also began before b, so it has been added: the rest touches [a, b].
        let over = ends.partition_point(|&end| end < denial.start_us);
        let mut level = allowance.burst - count(added - over) * allowance.token;
        if let Some(most) = tree.max_of_first(up_to(&ends, denial.start_us)) {
            level = level.min(allowance.burst + refill * i128::from(denial.start_us) - most);
        }
        findings.add(denial, level, allowance, leases);
    }
    findings
}

impl Denials {
    fn add(&mut self, denial: Span, level: i128, allowance: &Allowance, leases: Option<&HeldBack>) {
        self.checked += 1;
        if level < allowance.token {
            return;
        }
        let held_back = leases.map_or(0, |leases| i128::from(leases.hits(denial)) * allowance.token);
        if level - held_back < allowance.token {
            return;
        }
        self.unjustified += 1;
        let (level_milli, held_back_milli) = (allowance.milli(level), allowance.milli(held_back));
        let beside = |worst: Unjustified| worst.level_milli - worst.held_back_milli;
        if self.worst.is_none_or(|worst| level_milli - held_back_milli > beside(worst)) {
            self.worst = Some(Unjustified { denial, level_milli, held_back_milli });
        }
    }
}

/// How many of the sorted `times` are at or before `time`.
fn up_to(times: &[u64], time: u64) -> usize {
    times.partition_point(|&other| other <= time)
}

fn count(n: usize) -> i128 {
    i128::try_from(n).expect("a length in memory")
}

#[cfg(test)]
mod tests;
