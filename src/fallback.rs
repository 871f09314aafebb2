//! Answers for the store if it has none: local, allow, deny, or an error.
//!
//! Everything below this module may fail. The limiter above it gets fallback answers, each with its source, and never
//! an error of the store. Each limit names the answer that it wants; one that names none gets the default of the
//! process. In a request that mixes them, deny comes before error, and error before local and allow. Local buckets
//! are charged only if the request is allowed.

pub mod local;

use std::sync::Arc;

use crate::store::memory::Full;
use local::Local;
use tollgate_core::{
    applied::{self, AppliedLimit, FALLBACK_WAIT_US, Figures},
    decision::{Answer, AnswerSource, Demand, Enforcement, Take, Verdict, verdict},
    descriptor::BucketKey,
    limit::Limit,
    rules::OnStoreFailure,
};

/// Answers for the store of one runtime.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// The answer for limits that name none.
    pub default: OnStoreFailure,
    pub local: Arc<Local>,
}

/// What made a decision: the store, the denial cache or a lease on its behalf, or the fallback because the store had no answer in
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The store itself.
    Store,
    /// The denial cache, which knows that the store would deny.
    Cache,
    /// A lease: hits that the store has reserved for this runtime.
    Lease,
    /// A fallback answer by a bucket in this process, which has this replica's share of the limit.
    Local,
    /// A fallback answer that lets the request pass.
    Allow,
    /// A fallback answer that denies the request.
    Deny,
    /// There is no decision: the caller gets UNAVAILABLE.
    Error,
}

/// The fallback answer for one request.
#[derive(Debug)]
pub struct FallbackAnswer {
    /// None: there is no decision, and the caller is told so.
    pub verdict: Option<Verdict>,
    /// What made the verdict.
    pub source: Source,
    /// One for each limit, in their order.
    pub limits: Vec<(Source, Figures)>,
}

/// What the policy of one limit comes to, before any local bucket is asked.
#[derive(Debug)]
enum Policy {
    /// The mode is allow.
    Fits,
    /// The mode is deny, or local with a share of less than one hit; the source says which.
    Unfit(Source),
    /// The mode is error; or local while the replica count is unknown, or without room for the bucket.
    Unknown,
    /// A local bucket decides, which holds this share of the limit.
    Asks(Limit),
}

/// The takes from local buckets, each with the share that its bucket holds.
struct LocalTakes<'a> {
    limits: Vec<AppliedLimit<'a>>,
    shares: Vec<Limit>,
}

// === impl Source ===

impl Source {
    /// The word in metrics, logs and dynamic metadata.
    pub const fn word(self) -> &'static str {
        match self {
            Source::Store => "store",
            Source::Cache => "cache",
            Source::Lease => "lease",
            Source::Local => "local",
            Source::Allow => "allow",
            Source::Deny => "deny",
            Source::Error => "error",
        }
    }

    /// Whether neither the store made the decision, nor the denial cache or a lease on its behalf.
    pub const fn is_fallback_answer(self) -> bool {
        !matches!(self, Source::Store | Source::Cache | Source::Lease)
    }
}

impl From<AnswerSource> for Source {
    fn from(source: AnswerSource) -> Source {
        match source {
            AnswerSource::Store => Source::Store,
            AnswerSource::Cache => Source::Cache,
            AnswerSource::Lease => Source::Lease,
        }
    }
}

// === impl Fallback ===

impl Fallback {
    /// The answer for a request to which these limits apply. `is_known_empty` tells whether the denial cache knows
    /// that a bucket had no room in the store; a local bucket for it starts empty.
    pub fn answer(
        &self,
        limits: &[AppliedLimit<'_>],
        is_known_empty: impl Fn(&BucketKey) -> bool,
    ) -> FallbackAnswer {
        let mut policies: Vec<Policy> = limits.iter().map(|applied| self.policy(applied)).collect();
        loop {
            if let Some((verdict, source)) = settled(limits, &policies) {
                return answer(limits, &policies, verdict, source);
            }
            let asked = local_takes(limits, &policies);
            if asked.limits.is_empty() {
                return answer(limits, &policies, Some(Verdict::Allow), Source::Allow);
            }
            let takes: Vec<Take> = asked.limits.iter().map(|applied| applied.take).collect();
            match self.local.take(&takes, &is_known_empty) {
                Ok(local) => return answer_of_local(limits, &policies, &asked, &local),
                // For these local means error. The verdict may not depend on them.
                Err(Full { takes }) => {
                    let asks = policies.iter_mut().filter(|policy| matches!(policy, Policy::Asks(_)));
                    let without_room = asks.enumerate().filter(|(place, _)| takes.contains(place));
                    without_room.for_each(|(_, policy)| *policy = Policy::Unknown);
                }
            }
        }
    }

    fn policy(&self, applied: &AppliedLimit<'_>) -> Policy {
        match applied.limit.on_store_failure.unwrap_or(self.default) {
            OnStoreFailure::Allow => Policy::Fits,
            OnStoreFailure::Deny => Policy::Unfit(Source::Deny),
            OnStoreFailure::Error => Policy::Unknown,
            OnStoreFailure::Local => match self.local.replicas() {
                None => Policy::Unknown,
                Some(replicas) => {
                    let share = applied.limit.limit.share(replicas.get());
                    share.map_or(Policy::Unfit(Source::Local), Policy::Asks)
                }
            },
        }
    }
}

/// The verdict and its source, if no local bucket has to be asked for it.
fn settled(limits: &[AppliedLimit<'_>], policies: &[Policy]) -> Option<(Option<Verdict>, Source)> {
    let with = |enforcement| {
        let all = limits.iter().zip(policies);
        all.filter(move |(applied, _)| applied.take.demand.enforcement == enforcement)
            .map(|(_, policy)| policy)
    };
    let unfit = |policy: &Policy| match policy {
        Policy::Unfit(source) => Some(*source),
        Policy::Fits | Policy::Unknown | Policy::Asks(_) => None,
    };
    if with(Enforcement::Enforced).filter_map(unfit).any(|source| source == Source::Deny) {
        return Some((Some(Verdict::Deny), Source::Deny));
    }
    [Enforcement::Enforced, Enforcement::Quota].into_iter().find_map(|enforcement| {
        let may_fit = |policy: &Policy| matches!(policy, Policy::Fits | Policy::Asks(_));
        if verdict(with(enforcement).map(|policy| (enforcement, may_fit(policy)))) == Verdict::Allow {
            return None;
        }
        if with(enforcement).any(|policy| matches!(policy, Policy::Unknown)) {
            return Some((None, Source::Error));
        }
        with(enforcement).find_map(unfit).map(|source| (Some(Verdict::Deny), source))
    })
}

fn local_takes<'m>(limits: &[AppliedLimit<'m>], policies: &[Policy]) -> LocalTakes<'m> {
    let is_fitting_quota = |(applied, policy): (&AppliedLimit<'_>, &Policy)| {
        applied.take.demand.enforcement == Enforcement::Quota && matches!(policy, Policy::Fits)
    };
    let a_quota_fits = limits.iter().zip(policies).any(is_fitting_quota);
    let take = |(applied, policy): (&AppliedLimit<'m>, &Policy)| {
        let Policy::Asks(share) = policy else { return None };
        let enforcement = match applied.take.demand.enforcement {
            Enforcement::Quota if a_quota_fits => Enforcement::Shadow,
            enforcement => enforcement,
        };
        let demand = Demand::with_overdraft(applied.hits, share, applied.overdraft).enforcement(enforcement);
        let take = Take { demand, ..applied.take };
        Some((AppliedLimit { take, ..applied.clone() }, share.clone()))
    };
    let (limits, shares) = limits.iter().zip(policies).filter_map(take).unzip();
    LocalTakes { limits, shares }
}

// === figures ===

/// The answer if no local bucket was asked.
fn answer(
    limits: &[AppliedLimit<'_>],
    policies: &[Policy],
    verdict: Option<Verdict>,
    source: Source,
) -> FallbackAnswer {
    let not_asked = match verdict {
        Some(_) => (Source::Local, figures(Verdict::Allow, 0)),
        None => (Source::Error, figures(Verdict::Deny, FALLBACK_WAIT_US)),
    };
    let each = limits.iter().zip(policies);
    let limits = each.map(|(applied, policy)| without_local(limits, applied, policy).unwrap_or(not_asked));
    FallbackAnswer { verdict, source, limits: limits.collect() }
}

fn answer_of_local(
    limits: &[AppliedLimit<'_>],
    policies: &[Policy],
    asked: &LocalTakes<'_>,
    local: &Answer,
) -> FallbackAnswer {
    let mut each_asked = asked.shares.iter().enumerate();
    let each = limits.iter().zip(policies).map(|(applied, policy)| {
        without_local(limits, applied, policy).or_else(|| {
            let (index, share) = each_asked.next()?;
            Some((Source::Local, applied::figures(&asked.limits, Some(share), local, index)))
        })
    });
    let limits = each.flatten().collect();
    FallbackAnswer { verdict: Some(local.verdict), source: Source::Local, limits }
}

/// The source and the figures of a limit whose policy needs no local bucket.
fn without_local(
    limits: &[AppliedLimit<'_>],
    applied: &AppliedLimit<'_>,
    policy: &Policy,
) -> Option<(Source, Figures)> {
    Some(match policy {
        Policy::Asks(_) => return None,
        Policy::Fits => (Source::Allow, figures(Verdict::Allow, FALLBACK_WAIT_US)),
        Policy::Unknown => (Source::Error, figures(Verdict::Deny, FALLBACK_WAIT_US)),
        Policy::Unfit(source) if applied::never_fits(limits, applied) => {
            let wait_us = applied::never_fits_wait_us(&applied.limit.limit, None);
            (*source, Figures { never_fits: true, ..figures(Verdict::Deny, wait_us) })
        }
        Policy::Unfit(source) => (*source, figures(Verdict::Deny, FALLBACK_WAIT_US)),
    })
}

fn figures(verdict: Verdict, reset_us: u64) -> Figures {
    Figures { verdict, remaining: 0, reset_us, never_fits: false, now_us: None }
}

#[cfg(test)]
mod tests;
