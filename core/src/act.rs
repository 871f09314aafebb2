//! What an operator does to the buckets of one key: looks at them, fills them, or gives some hits back.
//!
//! An act is a request like any other, which is always allowed: for each limit it gives back (or not, if it only looks),
//! and then makes two demands that change nothing and show what is there. So an act is as atomic as a take, and whatever
//! learns from answers learns from those to acts.
//!
//! A reset fills a bucket, and a bucket holds at most a burst: between two resets, admitted hits ≤ burst + refill · length.
//! So over any interval each reset adds one burst at most, even if more was owed. A grant of N lowers what was charged by
//! N hits at most, so it adds N. Neither lifts a bucket above full, since a bucket has no state for that.

use std::{fmt, num::NonZeroU64, str::FromStr};

use thiserror::Error;

use crate::{
    applied::AppliedLimit,
    decision::{Answer, Demand, Enforcement, Found, Seen, Take, Takes},
    descriptor::Hits,
    limit::{Limit, Overdraft},
};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Changes nothing.
    Peek,
    /// Fills the bucket.
    Reset,
    /// Gives these hits back, up to a full bucket.
    Grant(NonZeroU64),
}

/// Hits left in a bucket, in thousandths of a hit, rounded down. Below zero, the bucket owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub i64);

/// A bucket before and after an act, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// What was left before the act.
    pub before: Level,
    /// What is left after it.
    pub after: Level,
    /// Microseconds until one hit fits, after the act; 0 if it does. None: never, because the burst is 0.
    pub next_us: Option<u64>,
    /// The instant, in microseconds since the Unix epoch, at which the bucket will be full and is forgotten. None: it is
    /// full.
    pub full_at_us: Option<u64>,
    /// Whether leases hold hits of it, which count as spent though they may come back.
    pub is_reserved: bool,
}

// === impl Act ===

impl Act {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Act::Peek => "peek",
            Act::Reset => "reset",
            Act::Grant(_) => "grant",
        }
    }

    fn gives_back(self) -> Option<Hits> {
        match self {
            Act::Peek => None,
            // More than any bucket can lack.
            Act::Reset => Some(Hits::GiveBack(u64::MAX)),
            Act::Grant(hits) => Some(Hits::GiveBack(hits.get())),
        }
    }

    /// What is asked of the store to do this to the buckets of these limits, which must differ from each other.
    pub fn takes<'l, 'm: 'l>(self, limits: impl IntoIterator<Item = &'l AppliedLimit<'m>>) -> Takes {
        // The bucket itself is asked, not what somebody has reserved in it.
        let demand = |limit: &Limit, hits| Demand {
            lease_us: 0,
            ..Demand::with_overdraft(hits, limit, Overdraft::Never)
        };
        let mut takes = Takes::new();
        for AppliedLimit { limit, take: Take { key, .. }, .. } in limits {
            let limit = &limit.limit;
            let given_back = self.gives_back().map(|hits| demand(limit, hits));
            // More hits than fit are never taken by a shadow, and their answer tells when the bucket will be full.
            let [all, one] = [Hits::Take(u64::MAX), Hits::Peek]
                .map(|hits| demand(limit, hits).enforcement(Enforcement::Shadow));
            takes.extend(given_back.into_iter().chain([all, one]).map(|demand| Take { key: *key, demand }));
        }
        takes
    }

    /// What the answer to [`Act::takes`] for these limits shows, for each of them.
    pub fn shown<'l, 'm: 'l>(
        self,
        limits: impl IntoIterator<Item = &'l AppliedLimit<'m>>,
        answer: &Answer,
    ) -> Vec<Shown> {
        let each = answer.found.chunks(if self.gives_back().is_some() { 3 } else { 2 });
        let shown = limits.into_iter().zip(each).filter_map(|(applied, found)| {
            let (first, [all, one]) = (found.first()?, found.last_chunk::<2>()?);
            let (limit, now_us) = (&applied.limit.limit, answer.now_us);
            Some(Shown {
                before: Level::of(limit, &first.seen, now_us),
                after: Level::of(limit, &one.seen, now_us),
                next_us: next_us(limit, one, now_us),
                full_at_us: full_at_us(&all.seen).filter(|full_at_us| *full_at_us > now_us),
                is_reserved: one.is_reserved,
            })
        });
        shown.collect()
    }
}

/// Microseconds until a hit fits, of which it was asked whether it does.
fn next_us(limit: &Limit, one: &Found, now_us: u64) -> Option<u64> {
    if limit.burst() == 0 {
        return None;
    }
    if one.fits {
        return Some(0);
    }
    let until = |at_us: u64| at_us.saturating_sub(now_us);
    Some(match one.seen {
        Seen::TokenBucket { full_at } => limit.wait_us(full_at, limit.cost(1), now_us),
        Seen::FixedWindow(window) => until(window.ends_us),
        Seen::SlidingLog { fits_at_us, .. } => until(fits_at_us),
    })
}

/// When the bucket will be full, as a take saw it that never fits.
fn full_at_us(seen: &Seen) -> Option<u64> {
    match seen {
        Seen::TokenBucket { full_at } => Some(full_at.ceil_us()),
        Seen::FixedWindow(window) => (window.count > 0).then_some(window.ends_us),
        Seen::SlidingLog { held, fits_at_us, .. } => (*held > 0).then_some(*fits_at_us),
    }
}

// === impl Level ===

impl Level {
    fn of(limit: &Limit, seen: &Seen, now_us: u64) -> Level {
        let left = |counted: u32| (i64::from(limit.burst()) - i64::from(counted)) * 1_000;
        Level(match seen {
            Seen::TokenBucket { full_at } => limit.level_thousandths(*full_at, now_us),
            Seen::FixedWindow(window) => left(window.count),
            Seen::SlidingLog { held, .. } => left(*held),
        })
    }

    /// Whole hits that would pass now.
    pub fn remaining(self) -> u32 {
        u32::try_from(self.0.div_euclid(1_000).max(0)).unwrap_or(u32::MAX)
    }
}

/// The text is no level: [`Level`] is written as a decimal number with at most three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a number with at most three decimals")]
pub struct NotALevel;

impl FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Level, NotALevel> {
        let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
            return Err(NotALevel);
        }
        let size = format!("{whole}{decimals:0<3}").parse::<i64>().ok().ok_or(NotALevel)?;
        Ok(Level(if is_negative { -size } else { size }))
    }
}

impl fmt::Display for Level {
    /// As a decimal number without zeros at its end, such as `-3.5` or `7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, size) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let text = format!("{sign}{}.{:03}", size / 1_000, size % 1_000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests;
