//! What a run is held against: a bucket that refills, or windows that reset.

use super::{
    Allowance, Clocks, Denials, HeldBack, Remoteness, Span, Windows, WorstInterval, WorstWindows,
    too_little_beside, too_much,
};
use crate::limit::{Algorithm, Limit};

/// What a limit allows, by the algorithm that it counts with.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// A bucket that refills, or a log whose entries expire.
    Bucket(Allowance),
    /// Windows that reset.
    Windows(Windows),
}

/// The interval that exceeds what is allowed by most, or comes closest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worst {
    /// When the hits of the interval were admitted.
    pub interval: WorstInterval,
    /// In thousandths, on top of what the limit allows at once: what came back, or was there anew in further windows.
    pub refilled_milli: u64,
    /// The excess over the allowance in thousandths of a hit; 0 if there is none.
    pub surplus_milli: u64,
    /// How many windows it spans; none for a bucket.
    pub windows: Option<u64>,
}

impl Bound {
    /// The bound that this limit sets, if the limiter's clock is as remote as this and the clocks behaved so.
    pub fn for_limit(limit: &Limit, remoteness: Remoteness, clocks: Clocks) -> Bound {
        match limit.algorithm() {
            Algorithm::FixedWindow => Bound::Windows(Windows::for_limit(limit, remoteness, clocks)),
            Algorithm::TokenBucket | Algorithm::SlidingWindowLog => {
                Bound::Bucket(Allowance::for_limit(limit, remoteness))
            }
        }
    }

    /// None if nothing was admitted.
    pub fn too_much(&self, admitted: &[Span]) -> Option<Worst> {
        Some(match self {
            Bound::Bucket(allowance) => {
                let interval = too_much(admitted, allowance)?;
                Worst {
                    interval,
                    refilled_milli: allowance.refilled_milli(interval.length_us()),
                    surplus_milli: interval.surplus_milli(allowance),
                    windows: None,
                }
            }
            Bound::Windows(windows_bound) => {
                let WorstWindows { interval, surplus, windows } = windows_bound.too_much(admitted)?;
                Worst {
                    interval,
                    refilled_milli: windows_bound.in_windows_milli(windows - 1),
                    surplus_milli: surplus.saturating_mul(1000),
                    windows: Some(windows),
                }
            }
        })
    }

    /// `charged` is all that may have taken a token; what may do so at any later time ends at [`u64::MAX`]. A token that
    /// leases may have held back was not there.
    pub fn too_little(&self, charged: &[Span], denied: &[Span], leases: &HeldBack) -> Denials {
        let judged = |charged: &[Span], leases| match self {
            Bound::Bucket(allowance) => too_little_beside(charged, denied, allowance, leases),
            Bound::Windows(windows) => windows.too_little_beside(charged, denied, leases),
        };
        let without = judged(charged, None);
        if leases.is_none() {
            return without;
        }
        let found = match self {
            Bound::Bucket(_) => judged(&leases.until_counted(charged), Some(leases)),
            Bound::Windows(_) => judged(charged, Some(leases)),
        };
        Denials { held_back: without.unjustified - found.unjustified, ..found }
    }

    /// In thousandths, on top of what the limit allows at once.
    pub fn refilled_milli(&self, from_us: u64, to_us: u64) -> u64 {
        match self {
            Bound::Bucket(allowance) => allowance.refilled_milli(to_us - from_us),
            Bound::Windows(windows) => windows.in_windows_milli(windows.edges_between(from_us, to_us)),
        }
    }
}
