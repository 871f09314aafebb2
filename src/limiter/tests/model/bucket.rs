//! One bucket, kept as its algorithm is described: missing tokens, hits in a window, or a list of hits.

use tollgate_core::{
    descriptor::Hits,
    limit::{Algorithm, LimitSpec, Overdraft},
};

/// A limit in whole numbers: a token is `token` ticks, and a microsecond brings `per_us` ticks; they have no common
/// divisor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    token: i128,
    per_us: i128,
    period_us: i128,
    burst: i128,
    pub(super) meters: bool,
}

/// A bucket at one instant. A missing bucket is full.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bucket {
    /// The ticks that are missing from a full bucket, and the ticks that a microsecond brings.
    Tokens { missing: i128, per_us: i128 },
    /// The number of the window since the epoch, and the hits in it.
    Window { number: i128, count: i128 },
    /// The instants of hits and their numbers, from the oldest.
    Log(Vec<(i128, i128)>),
}

impl Terms {
    pub(super) fn new(spec: &LimitSpec) -> Terms {
        let period_us = i128::from(spec.period.seconds()) * 1_000_000;
        let requests = i128::from(spec.requests_per_unit.max(1));
        let divisor = common_divisor(period_us, requests);
        Terms {
            token: period_us / divisor,
            per_us: requests / divisor,
            period_us,
            burst: i128::from(spec.burst.unwrap_or(spec.requests_per_unit)),
            meters: spec.overdraft == Overdraft::Charge && spec.requests_per_unit > 0,
        }
    }

    /// The most that a bucket may owe or count, in hits.
    fn bottom(&self) -> i128 {
        if self.meters { 2 * self.burst } else { self.burst }
    }

    pub(super) fn period_us(&self) -> i128 {
        self.period_us
    }

    pub(super) fn burst(&self) -> i128 {
        self.burst
    }

    pub(super) fn denies_all(&self) -> bool {
        self.burst == 0
    }
}

impl Bucket {
    pub(super) fn full(algorithm: Algorithm) -> Bucket {
        match algorithm {
            Algorithm::TokenBucket => Bucket::Tokens { missing: 0, per_us: 1 },
            Algorithm::FixedWindow => Bucket::Window { number: 0, count: 0 },
            Algorithm::SlidingWindowLog => Bucket::Log(Vec::new()),
        }
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, terms: &Terms, from_us: i128, now_us: i128) {
        match self {
            Bucket::Tokens { missing, per_us } => {
                *missing = (*missing - (now_us - from_us) * *per_us).max(0);
            }
            Bucket::Window { number, count } => {
                let current = now_us / terms.period_us;
                if *number != current {
                    (*number, *count) = (current, 0);
                }
            }
            Bucket::Log(log) => log.retain(|(at_us, _)| now_us < at_us + terms.period_us),
        }
    }

    /// The bucket under a limit of these terms. The time that is missing stays missing; if the ticks differ, it is
    /// rounded up to a microsecond.
    fn under(&self, terms: &Terms) -> Bucket {
        match self {
            Bucket::Tokens { missing, per_us } if *per_us != terms.per_us => {
                Bucket::Tokens { missing: divided_up(*missing, *per_us) * terms.per_us, per_us: terms.per_us }
            }
            same => same.clone(),
        }
    }

    /// The missing ticks of these terms.
    fn missing(&self, terms: &Terms) -> i128 {
        match self.under(terms) {
            Bucket::Tokens { missing, .. } => missing,
            Bucket::Window { .. } | Bucket::Log(_) => 0,
        }
    }

    /// The whole hits that would pass; negative for a bucket that owes.
    fn room(&self, terms: &Terms) -> i128 {
        match self {
            Bucket::Tokens { .. } => {
                (terms.burst * terms.token - self.missing(terms)).div_euclid(terms.token)
            }
            Bucket::Window { count, .. } => terms.burst - count,
            Bucket::Log(log) => terms.burst - log.iter().map(|(_, hits)| hits).sum::<i128>(),
        }
    }

    pub(super) fn remaining(&self, terms: &Terms) -> i128 {
        self.room(terms).max(0)
    }

    pub(super) fn fits(&self, terms: &Terms, hits: Hits) -> bool {
        match hits {
            Hits::One => self.fits(terms, Hits::Take(1)),
            Hits::Take(hits) => i128::from(hits) <= self.room(terms),
            Hits::Peek => 1 <= self.room(terms),
            Hits::GiveBack(_) => true,
        }
    }

    /// Takes or gives back the hits, if they fit or if the limit meters.
    pub(super) fn apply(&mut self, terms: &Terms, hits: Hits, now_us: i128) {
        match hits {
            Hits::One => self.apply(terms, Hits::Take(1), now_us),
            Hits::Take(_) if !terms.meters && !self.fits(terms, hits) => {}
            Hits::Take(hits) => self.charge(terms, i128::from(hits), now_us),
            Hits::Peek => {}
            // Under a limit of 0 nothing is given back, since nothing was taken.
            Hits::GiveBack(hits) if hits == 0 || terms.denies_all() => {}
            Hits::GiveBack(hits) => self.give_back(terms, i128::from(hits)),
        }
    }

    fn charge(&mut self, terms: &Terms, hits: i128, now_us: i128) {
        *self = self.under(terms);
        // A bucket that owes more already, because its burst was lowered, stays as it is.
        let charged = |held: i128, more: i128, most: i128| (held + more).min(most.max(held));
        match self {
            Bucket::Tokens { missing, .. } => {
                let most = terms.bottom() * terms.token;
                *missing = charged(*missing, hits * terms.token, most);
            }
            Bucket::Window { count, .. } => *count = charged(*count, hits, terms.bottom()),
            Bucket::Log(log) => log.push((now_us, hits)),
        }
    }

    fn give_back(&mut self, terms: &Terms, hits: i128) {
        *self = self.under(terms);
        match self {
            Bucket::Tokens { missing, .. } => *missing = (*missing - hits * terms.token).max(0),
            Bucket::Window { count, .. } => *count = (*count - hits).max(0),
            Bucket::Log(log) => {
                let mut left = hits;
                for (_, newest) in log.iter_mut().rev() {
                    let taken = left.min(*newest);
                    *newest -= taken;
                    left -= taken;
                }
                log.retain(|(_, hits)| *hits > 0);
            }
        }
    }

    /// The microseconds until the hits fit if nothing else happens. They must fit a full bucket.
    pub(super) fn wait_us(&self, terms: &Terms, hits: Hits, now_us: i128) -> i128 {
        let hits = match hits {
            Hits::Take(hits) => i128::from(hits),
            Hits::One | Hits::Peek => 1,
            Hits::GiveBack(_) => 0,
        };
        match self {
            Bucket::Tokens { .. } => {
                let short = self.missing(terms) + (hits - terms.burst) * terms.token;
                divided_up(short.max(0), terms.per_us)
            }
            Bucket::Window { number, .. } => (number + 1) * terms.period_us - now_us,
            Bucket::Log(log) => {
                let mut short = hits - self.room(terms);
                for (at_us, left) in log {
                    short -= left;
                    if short <= 0 {
                        return at_us + terms.period_us - now_us;
                    }
                }
                0
            }
        }
    }

    /// The microseconds until the next whole token, until the oldest entry leaves, or until the window ends.
    pub(super) fn more_us(&self, terms: &Terms, now_us: i128) -> i128 {
        match self {
            Bucket::Tokens { missing: 0, .. } => 0,
            Bucket::Tokens { .. } => {
                // A limit of 0 has none. Its figure is when the tokens that were taken under other limits are back.
                let next = (self.remaining(terms) + 1).min(terms.burst);
                divided_up(self.missing(terms) - (terms.burst - next) * terms.token, terms.per_us)
            }
            Bucket::Window { number, .. } => (number + 1) * terms.period_us - now_us,
            Bucket::Log(log) => log.first().map_or(0, |(at_us, _)| at_us + terms.period_us - now_us),
        }
    }
}

fn divided_up(ticks: i128, by: i128) -> i128 {
    if ticks <= 0 { 0 } else { (ticks - 1) / by.max(1) + 1 }
}

fn common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
