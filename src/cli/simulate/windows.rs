//! What fixed windows of the same numbers would have done with the same requests.
//!
//! They keep their own counts, and every request is charged to all of its windows or to none, as here. So what differs is
//! the edge of the window alone.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::side::Culprit;
use crate::store::memory::MemoryStore;
use tollgate_core::{
    applied::AppliedLimit,
    decision::{Answer, Demand, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Exact, Limit, LimitSpec},
    matcher::{LimitIndex, Matcher},
};

/// Buckets that are tracked before those that owe nothing are forgotten.
const FIRST_SWEEP: usize = 4_096;
/// No more than the memory store keeps.
const MOST_DEBTS: usize = crate::store::memory::MOST_BUCKETS;

#[derive(Debug)]
pub(super) struct Windows {
    limits: Vec<WindowLimit>,
    store: Option<MemoryStore>,
    debts: HashMap<BucketKey, Exact, RandomState>,
    sweep_at: usize,
    /// Requests that Tollgate denies and windows admit.
    pub(super) more: u64,
    /// Requests that Tollgate admits and windows deny.
    pub(super) fewer: u64,
    /// Requests that windows deny.
    pub(super) denied: u64,
}

#[derive(Debug)]
pub(super) struct WindowLimit {
    window: Limit,
    is_bucket: bool,
    /// Requests that this limit denies and windows admit.
    pub(super) more: u64,
    /// The most hits above burst + refill that windows admitted in one interval.
    pub(super) excess: f64,
}

// === impl Windows ===

impl Windows {
    pub(super) fn new(matcher: &Matcher) -> Windows {
        let limits = matcher.limits().iter().map(|rule| {
            let limit = &rule.limit;
            let spec = LimitSpec {
                algorithm: Algorithm::FixedWindow,
                windows: limit.windows(),
                overdraft: limit.overdraft(),
                ..LimitSpec::new(limit.requests_per_unit(), limit.period())
            };
            // With an overdraft a window holds fewer than a bucket may; then it counts as it is.
            let window = spec.check().unwrap_or_else(|_too_large| limit.clone());
            WindowLimit {
                window,
                is_bucket: limit.algorithm() == Algorithm::TokenBucket,
                more: 0,
                excess: 0.0,
            }
        });
        Windows {
            limits: limits.collect(),
            store: None,
            debts: HashMap::default(),
            sweep_at: FIRST_SWEEP,
            more: 0,
            fewer: 0,
            denied: 0,
        }
    }

    pub(super) fn limit(&self, index: usize) -> &WindowLimit {
        &self.limits[index]
    }

    /// Asks the windows for what a request took, and compares their verdict.
    pub(super) fn take(
        &mut self,
        now_us: u64,
        limits: &[AppliedLimit<'_>],
        answer: &Answer,
        culprit: Option<&Culprit<'_>>,
    ) {
        let store = self.store.get_or_insert_with(|| MemoryStore::copy_of(now_us, 0, []));
        let takes: SmallVec<[Take; 4]> = limits
            .iter()
            .map(|applied| {
                let window = &self.limits[index(applied.limit.index)].window;
                let demand = Demand::with_overdraft(applied.hits, window, applied.overdraft);
                Take { key: applied.take.key, demand: demand.enforcement(applied.take.demand.enforcement) }
            })
            .collect();
        let Ok(windows) = store.take_at(&takes, now_us) else { return };
        self.denied += u64::from(windows.verdict == Verdict::Deny);
        match (answer.verdict, windows.verdict) {
            (Verdict::Deny, Verdict::Allow) => {
                self.more += 1;
                if let Some(culprit) = culprit {
                    self.limits[index(culprit.limit.index)].more += 1;
                }
            }
            (Verdict::Allow, Verdict::Deny) => self.fewer += 1,
            _ => {}
        }
        for ((take, found), applied) in takes.iter().zip(&windows.found).zip(limits) {
            if take.is_charged(found, windows.verdict) {
                self.owe(now_us, applied);
            }
        }
    }

    /// Adds what windows admitted to a bucket without a floor. What it owes beyond its burst is what they admitted beyond
    /// burst + refill in the worst interval that ends now.
    fn owe(&mut self, now_us: u64, applied: &AppliedLimit<'_>) {
        let hits = match applied.hits {
            Hits::One => 1,
            Hits::Take(hits) => hits,
            Hits::Peek | Hits::GiveBack(_) => return,
        };
        let of_windows = &mut self.limits[index(applied.limit.index)];
        if !of_windows.is_bucket {
            return;
        }
        let limit = &applied.limit.limit;
        let (per_us, now) = (limit.per_us(), Exact::at_us(now_us));
        let known = self.debts.get(&applied.take.key).copied();
        let full_at = known.unwrap_or_default().max(now).plus(limit.worth(hits), per_us);
        let owed = full_at.minus(now, per_us).minus(limit.worth_of_burst(), per_us);
        of_windows.excess = of_windows.excess.max(in_us(owed, per_us) / in_us(limit.worth(1), per_us));
        if known.is_none() && self.debts.len() >= self.sweep_at {
            self.debts.retain(|_, full_at| *full_at > now);
            self.sweep_at = (self.debts.len() * 2).max(FIRST_SWEEP);
        }
        if known.is_some() || self.debts.len() < MOST_DEBTS {
            self.debts.insert(applied.take.key, full_at);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown as whole hits")]
fn in_us(time: Exact, per_us: u32) -> f64 {
    time.whole_us as f64 + f64::from(time.fraction) / f64::from(per_us)
}

fn index(index: LimitIndex) -> usize {
    match index {
        LimitIndex::Configured(index) => index,
        LimitIndex::Requested => unreachable!("a log brings no limit along"),
    }
}
