//! The same two questions for a limit that resets: a number of requests in each window, aligned in UTC.
//!
//! A request was decided in one of the windows that its span touches, and where the limiter's clock is another one,
//! in one that is near. Too much is what exceeds the limit whichever of them it was, and a denial is unjustified
//! only if none of them can have been used up.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{Allowance, Clocks, Denials, HeldBack, Remoteness, Span, WorstInterval, too_much};
use crate::{
    calendar::Month,
    limit::{Limit, Windows as Edges},
};

/// Two clocks of one machine are not read at the same instant.
const SAME_CLOCK_US: u64 = 1_000;
/// Another machine's clock, kept by NTP or by hand.
const OTHER_CLOCK_US: u64 = 1_000_000;

/// What a limit allows that counts in windows.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    most: u32,
    edges: Edges,
    /// Of windows that are aligned.
    length_us: u64,
    /// What the clock said when the run began, in microseconds since the Unix epoch.
    began_us: u64,
    /// The limiter's clock differs from ours by at most this, and by `drift` thousandths of the time that has passed.
    apart_us: u64,
    drift: u64,
}

/// More than this many in all of these windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstWindows {
    /// Where what lies in them began and ended.
    pub interval: WorstInterval,
    /// So many too many; 0 where nothing is.
    pub surplus: u64,
    /// The number of windows that the interval touches.
    pub windows: u64,
}

impl Windows {
    /// The windows of this limit. Its algorithm should be the fixed window.
    pub fn for_limit(limit: &Limit, remoteness: Remoteness, clocks: Clocks) -> Windows {
        let (apart_us, drift) = match remoteness {
            Remoteness::SameClock => (SAME_CLOCK_US, 0),
            Remoteness::OtherClock => (OTHER_CLOCK_US, 1),
        };
        Windows {
            most: limit.burst(),
            edges: limit.windows(),
            length_us: limit.period().seconds() * 1_000_000,
            began_us: clocks.began_us,
            apart_us: apart_us.saturating_add(clocks.stepped_us),
            drift,
        }
    }

    /// How many edges lie between two instants of the run: so often was the limit there anew.
    pub fn edges_between(&self, from_us: u64, to_us: u64) -> u64 {
        let number = |us: u64| self.number(self.began_us.saturating_add(us));
        number(to_us) - number(from_us)
    }

    /// The number since the epoch of the window at this instant.
    fn number(&self, us: u64) -> u64 {
        match self.edges {
            Edges::Aligned => us / self.length_us,
            Edges::CalendarMonth => Month::at(us).number,
        }
    }

    /// The hits that this number of windows admits, in thousandths.
    pub fn in_windows_milli(&self, windows: u64) -> u64 {
        windows.saturating_mul(1000).saturating_mul(self.most.into())
    }

    /// The windows in which it may have been decided, by their number since the epoch.
    fn touched_by(&self, span: Span) -> RangeInclusive<u64> {
        let apart = |us: u64| self.apart_us.saturating_add((us / 1000).saturating_mul(self.drift));
        let first = self.began_us.saturating_add(span.start_us).saturating_sub(apart(span.start_us));
        let last = self.began_us.saturating_add(span.end_us).saturating_add(apart(span.end_us));
        self.number(first)..=self.number(last)
    }

    /// Among all runs of consecutive windows, the one with the largest (admitted wholly inside) − most · windows.
    /// None if nothing was admitted.
    ///
    /// That is [`too_much`] with the number of a window as its time: a burst in the first, and as much in each
    /// further one. By Hall's theorem nothing is too much if and only if each request can be given to one of its
    /// windows so that none holds more than it may.
    pub fn too_much(&self, admitted: &[Span]) -> Option<WorstWindows> {
        let number = |span: &Span| {
            let windows = self.touched_by(*span);
            Span { start_us: *windows.start(), end_us: *windows.end() }
        };
        let numbers: Vec<Span> = admitted.iter().map(number).collect();
        let most = i128::from(self.most);
        let allowance = Allowance { burst: most, token: 1, refill_at_most: most, refill_at_least: most };
        let worst = too_much(&numbers, &allowance)?;
        let is_inside = |span: &&Span| worst.from_us <= span.start_us && span.end_us <= worst.to_us;
        let inside =
            || admitted.iter().zip(&numbers).filter(|(_, span)| is_inside(span)).map(|(span, _)| span);
        let interval = WorstInterval {
            from_us: inside().map(|span| span.start_us).min()?,
            to_us: inside().map(|span| span.end_us).max()?,
            ..worst
        };
        let surplus = u64::try_from(worst.surplus.max(0)).unwrap_or(u64::MAX);
        Some(WorstWindows { interval, surplus, windows: worst.length_us() + 1 })
    }

    /// Which denials found room in each window in which they may have been decided.
    ///
    /// `charged` is all that may have been counted; what may be at any later time ends at [`u64::MAX`].
    pub fn too_little(&self, charged: &[Span], denied: &[Span]) -> Denials {
        self.too_little_beside(charged, denied, None)
    }

    pub(super) fn too_little_beside(
        &self,
        charged: &[Span],
        denied: &[Span],
        leases: Option<&HeldBack>,
    ) -> Denials {
        let mut by_start = charged.to_vec();
        by_start.sort_unstable_by_key(|span| span.start_us);
        let mut by_end = denied.to_vec();
        by_end.sort_unstable_by_key(|span| span.end_us);
        let most = i128::from(self.most);
        // What is counted in hits refills nothing here: only a token's worth matters.
        let hits = Allowance { burst: most, token: 1, refill_at_most: 0, refill_at_least: 0 };

        let (mut counted, mut never_ending) = (HashMap::<u64, usize>::new(), Vec::new());
        let (mut findings, mut added) = (Denials::default(), 0);
        for denial in by_end {
            while let Some(span) = by_start.get(added).filter(|span| span.start_us <= denial.end_us) {
                let windows = self.touched_by(*span);
                if span.end_us == u64::MAX {
                    // In the order of their starts, so sorted.
                    never_ending.push(*windows.start());
                } else {
                    windows.for_each(|number| *counted.entry(number).or_default() += 1);
                }
                added += 1;
            }
            let count = |number: u64| {
                counted.get(&number).copied().unwrap_or(0)
                    + never_ending.partition_point(|&first| first <= number)
            };
            let fullest = self.touched_by(denial).map(count).max().unwrap_or(0);
            findings.add(denial, most - super::count(fullest), &hits, leases);
        }
        findings
    }
}

#[cfg(test)]
mod tests;
