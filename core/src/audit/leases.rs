//! How much leases may hold back from a request that would fit: hits that others have reserved and not spent.
//!
//! Nobody outside sees what is reserved. But a runtime reserves no more than it expects to need in half a lease, by what
//! it was asked for in the three leases before; a reservation lapses two and a half leases later at the latest; and no
//! lease is granted for fewer than [`FEWEST_LEASED`] hits, or for more than a quarter of what is left. So at any instant
//! leases hold back at most
//!
//! - four sevenths of the hits that were asked for within the last five and a half leases: half of them, where each
//!   runtime rounds up, and was asked for seven hits at least;
//! - and all but twelve hits of what the limit admits at once, because each grant leaves three times as much as it takes,
//!   so nothing of a limit below sixteen.
//!
//! What is spent from a lease counts in the bucket when it is reported, or when the reservation lapses: within two and a
//! half leases. Until then it does not come back. So a token may have been taken that much later than it was admitted. (In
//! a window nothing comes back, and a lease ends with it.)
//!
//! That is the whole if no replica dies and no call is lost: otherwise, what was reserved counts as spent.

use super::Span;
use crate::{
    decision::lease::{FEWEST_LEASED, FEWEST_LEFT},
    limit::Limit,
};

/// What a grant leaves at least.
const LEFT: u32 = FEWEST_LEFT - FEWEST_LEASED;

/// What leases of one limit may hold back during a run.
#[derive(Debug, Clone)]
pub struct HeldBack {
    lease_us: u64,
    /// The most hits that are reserved at once.
    most: u64,
    /// The starts and the ends of all requests, sorted.
    starts: Vec<u64>,
    ends: Vec<u64>,
}

// === impl HeldBack ===

impl HeldBack {
    /// What the leases of this limit hold back in a run with these requests. Nothing if it has none.
    pub fn new<'s>(limit: &Limit, asked: impl Iterator<Item = &'s Span> + Clone) -> HeldBack {
        let lease_us = u64::from(limit.lease_us());
        let is_leased = lease_us > 0 && limit.burst() >= FEWEST_LEFT;
        let sorted = |mut times: Vec<u64>| {
            times.sort_unstable();
            times
        };
        HeldBack {
            lease_us,
            most: if is_leased { u64::from(limit.burst() - LEFT) } else { 0 },
            starts: sorted(asked.clone().map(|span| span.start_us).collect()),
            ends: sorted(asked.map(|span| span.end_us).collect()),
        }
    }

    /// Whether nothing is ever held back.
    pub(super) fn is_none(&self) -> bool {
        self.most == 0
    }

    /// The most hits that were reserved and not spent while this request was decided.
    pub(super) fn hits(&self, denial: Span) -> u64 {
        if self.is_none() {
            return 0;
        }
        // Five and a half leases, by a clock that may run 0.1 % off.
        let lately_us = self.lease_us * 11 / 2 + self.lease_us / 100 + 1;
        let from_us = denial.start_us.saturating_sub(lately_us);
        let began = self.starts.partition_point(|&start| start <= denial.end_us);
        let over = self.ends.partition_point(|&end| end < from_us);
        let asked = u64::try_from(began - over).unwrap_or(u64::MAX);
        (asked.saturating_mul(4) / 7).min(self.most)
    }

    /// These admitted requests, each until it counts in the bucket at the latest.
    pub(super) fn until_counted(&self, charged: &[Span]) -> Vec<Span> {
        let late_us = self.lease_us * 5 / 2 + self.lease_us / 100 + 1;
        charged.iter().map(|span| Span { end_us: span.end_us.saturating_add(late_us), ..*span }).collect()
    }

    /// The most hits that were reserved and not spent while any of these was decided.
    pub fn most_hits(&self, denied: &[Span]) -> u64 {
        denied.iter().map(|denial| self.hits(*denial)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
