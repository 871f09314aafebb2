//! One request end to end: match its descriptors, take from the store, combine what came back.
//!
//! Charges every limit of a request or none, in one call to the store. It knows neither the wire nor
//! headers, and it does not fail: what the store cannot answer becomes an [`Outcome`] that says so.

mod figures;
mod guess;
mod members;

use std::{ops::Deref, sync::Arc, time::Duration};

use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    clock,
    fallback::Fallback,
    store::{Backend, Store, StoreError},
};
use members::Member;
pub use members::{Matched, WithoutLimit};
use tollgate_core::{
    decision::{Answer, Enforcement, Source, Verdict, verdict},
    descriptor::{Entry, Hits},
    limit::{Limit, LimitError},
    matcher::{Matcher, RuleLimit},
};

/// The most buckets that one request may ask for.
pub const MAX_BUCKETS: usize = 512;

/// A request that has no meaning; the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRequest {
    #[error("the domain is empty")]
    EmptyDomain,
    #[error("the request has no descriptors")]
    NoDescriptors,
    #[error("a descriptor's limit has the unit {0}, which is none")]
    UnknownUnit(i32),
    #[error("a descriptor's limit")]
    Limit(#[source] LimitError),
    #[error("the request matches more than {MAX_BUCKETS} limits")]
    TooManyBuckets,
}

/// One descriptor of a request; its entries are walked more than once.
#[derive(Debug, Clone)]
pub struct Descriptor<I> {
    pub entries: I,
    pub hits: Hits,
    /// Takes the place of whatever rule it would match.
    pub limit: Option<Limit>,
}

/// Most requests match one limit or two.
pub type Few<T> = SmallVec<[T; 2]>;

/// Whether all descriptors count as quotas, whatever their rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaMode {
    #[default]
    AsConfigured,
    Everywhere,
}

// === Outcome ===

/// The answer for one request.
#[derive(Debug)]
pub struct Outcome<'m> {
    /// None: there is no decision, and the caller must be told UNAVAILABLE.
    pub verdict: Option<Verdict>,
    pub source: Source,
    /// How many descriptors the request had; each gets a status.
    pub descriptors: usize,
    /// The rules that its descriptors matched, in their order.
    pub rules: Few<Matched<'m>>,
    pub without_limit: WithoutLimit,
    /// One for each limit that applied, in the order of the descriptors.
    pub decisions: Few<Decision<'m>>,
    /// None where no limit applied, so that the store was not asked.
    pub asked: Option<Asked>,
}

/// How asking the store went.
#[derive(Debug)]
pub struct Asked {
    pub elapsed: Duration,
    pub malformed: u32,
    pub error: Option<StoreError>,
}

/// The answer for one limit.
#[derive(Debug)]
pub struct Decision<'m> {
    /// Index of the descriptor that it belongs to.
    pub descriptor: usize,
    pub limit: LimitRef<'m>,
    /// Who decided.
    pub source: Source,
    /// What not fitting means for the request.
    pub enforcement: Enforcement,
    /// Deny: the take does not fit.
    pub verdict: Verdict,
    /// Whole hits that would pass now.
    pub remaining: u32,
    /// Denied: until this take would fit. Allowed: until there is more room; 0 when there is none to come.
    pub reset_us: u64,
    /// The request asks for more than the bucket can ever hold.
    pub never_fits: bool,
}

/// A limit that was configured, or one that the request brought along.
#[derive(Debug, Clone)]
pub enum LimitRef<'m> {
    Configured(&'m RuleLimit),
    Asked(Arc<RuleLimit>),
}

impl Deref for LimitRef<'_> {
    type Target = RuleLimit;

    fn deref(&self) -> &RuleLimit {
        match self {
            LimitRef::Configured(limit) => limit,
            LimitRef::Asked(limit) => limit,
        }
    }
}

impl Decision<'_> {
    /// It is told as over its limit; a shadow never is.
    pub fn is_over(&self) -> bool {
        self.verdict == Verdict::Deny && self.enforcement != Enforcement::Shadow
    }
}

impl<'m> Outcome<'m> {
    /// Whose figures the headers show. Denied: the denying limit with the longest wait. Allowed: the limit
    /// with the least remaining. The first on a tie; a shadow never.
    pub fn speaker(&self) -> Option<&Decision<'m>> {
        if self.verdict != Some(Verdict::Allow) {
            return loudest(self.denying());
        }
        quietest(self.decisions.iter().filter(|decision| decision.enforcement != Enforcement::Shadow))
    }

    /// The limits that deny the request: those enforced, and the quotas if none of them fits.
    pub fn denying(&self) -> impl DoubleEndedIterator<Item = &Decision<'m>> {
        // A quota in shadow counts as one that fits.
        let is_quota = |decision: &&Decision<'_>| {
            decision.enforcement == Enforcement::Quota || decision.limit.options.quota_mode
        };
        let quotas = self.decisions.iter().filter(is_quota);
        let of_quotas = verdict(quotas.map(|quota| (Enforcement::Quota, !quota.is_over())));
        self.decisions.iter().filter(move |decision| {
            decision.is_over()
                && (decision.enforcement == Enforcement::Enforced || of_quotas == Verdict::Deny)
        })
    }

    /// The limit that stands for each descriptor that has any: one that is over rather than one that is not,
    /// with the longest wait; else the one with the least remaining, a shadow only among shadows.
    pub fn of_descriptors(&self) -> impl Iterator<Item = &Decision<'m>> {
        let each = self.decisions.chunk_by(|one, next| one.descriptor == next.descriptor);
        each.filter_map(|of| {
            loudest(of.iter().filter(|decision| decision.is_over()))
                .or_else(|| {
                    quietest(of.iter().filter(|decision| decision.enforcement != Enforcement::Shadow))
                })
                .or_else(|| quietest(of.iter()))
        })
    }
}

/// The longest wait. `max_by_key` takes the last on a tie, so the search runs from the end.
fn loudest<'o, 'm: 'o>(
    decisions: impl DoubleEndedIterator<Item = &'o Decision<'m>>,
) -> Option<&'o Decision<'m>> {
    decisions.rev().max_by_key(|decision| decision.reset_us)
}

fn quietest<'o, 'm: 'o>(decisions: impl Iterator<Item = &'o Decision<'m>>) -> Option<&'o Decision<'m>> {
    decisions.min_by_key(|decision| decision.remaining)
}

// === Limiter ===

/// One runtime's limiter.
#[derive(Debug)]
pub struct Limiter {
    store: Store,
    fallback: Fallback,
    quota_mode: QuotaMode,
}

impl Limiter {
    /// This runtime's limiter, on the store and the local buckets that all runtimes share. Must be called within
    /// the runtime whose requests it will decide.
    pub fn open(backend: &Backend, deadline: Duration, fallback: &Fallback) -> Limiter {
        fallback.local.keep_swept();
        Limiter::new(backend.open(deadline), fallback.clone())
    }

    pub fn new(store: Store, fallback: Fallback) -> Limiter {
        Limiter { store, fallback, quota_mode: QuotaMode::default() }
    }

    #[must_use]
    pub fn quota_mode(self, quota_mode: QuotaMode) -> Limiter {
        Limiter { quota_mode, ..self }
    }

    /// Decides one request by these rules. Descriptors that no rule matches are allowed and cost nothing;
    /// entries with an empty key, or none at all, match nothing.
    ///
    /// Fails only for a request without meaning; nothing was charged then.
    pub async fn decide<'a, 'm, I>(
        &self,
        matcher: &'m Matcher,
        domain: &[u8],
        descriptors: impl ExactSizeIterator<Item = Descriptor<I>> + Clone,
    ) -> Result<Outcome<'m>, BadRequest>
    where
        I: Iterator<Item = Entry<'a>> + Clone,
    {
        if domain.is_empty() {
            return Err(BadRequest::EmptyDomain);
        }
        if descriptors.len() == 0 {
            return Err(BadRequest::NoDescriptors);
        }
        let mut outcome = Outcome {
            verdict: Some(Verdict::Allow),
            source: Source::Store,
            descriptors: descriptors.len(),
            rules: Few::new(),
            without_limit: WithoutLimit::default(),
            decisions: Few::new(),
            asked: None,
        };
        let Some(rules) = matcher.domain(domain) else {
            outcome.without_limit.unknown_domain = u32::try_from(outcome.descriptors).unwrap_or(u32::MAX);
            return Ok(outcome);
        };
        outcome.rules = members::matched(rules, descriptors.clone(), &mut outcome.without_limit);
        let members = members::of(rules, domain, descriptors, &outcome.rules, self.quota_mode)?;
        if !members.is_empty() {
            self.ask_store(&members, &mut outcome).await;
        }
        Ok(outcome)
    }

    async fn ask_store<'m>(&self, members: &[Member<'m>], outcome: &mut Outcome<'m>) {
        let takes = members.iter().map(|member| member.take).collect();
        let started = clock::monotonic();
        let answer = self.store.take(takes).await;
        let elapsed = started.elapsed();
        match answer {
            Ok(answer) => {
                let Answer { verdict, source, malformed, .. } = answer;
                (outcome.verdict, outcome.source) = (Some(verdict), source);
                outcome.decisions = decisions(members, &answer);
                outcome.asked = Some(Asked { elapsed, malformed, error: None });
            }
            Err(error) => {
                let guess = guess::guess(&self.fallback, &self.store, members);
                (outcome.verdict, outcome.source) = (guess.verdict, guess.source);
                outcome.decisions = guess::decisions(members, &guess);
                outcome.asked = Some(Asked { elapsed, malformed: 0, error: Some(error) });
            }
        }
    }
}

/// What the store's answer says of each limit.
fn decisions<'m>(members: &[Member<'m>], answer: &Answer) -> Few<Decision<'m>> {
    let decision = |(index, member): (usize, &Member<'m>)| {
        let figures::Figures { verdict, remaining, reset_us, never_fits } =
            figures::of(members, answer, index);
        Decision { never_fits, ..member.decision(answer.source, verdict, remaining, reset_us) }
    };
    members.iter().enumerate().map(decision).collect()
}

#[cfg(test)]
mod tests;
