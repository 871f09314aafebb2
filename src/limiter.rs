//! One request end to end: match its descriptors, take from the store, combine what came back.
//!
//! Charges every limit of a request or none, in one call to the store. It knows neither the wire nor
//! headers, and it does not fail: what the store cannot answer becomes an [`Outcome`] that says so.

use std::{ops::Deref, sync::Arc, time::Duration};

use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    clock,
    decision::{Answer, Ask, Found, Source, Take, Verdict},
    descriptor::{BucketKey, Entry, Hits},
    matcher::{Applies, Matcher, RuleLimit},
    resilience::{GUESSED_WAIT_US, OnStoreFailure},
    store::{Store, StoreError},
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
    #[error("the request matches more than {MAX_BUCKETS} limits")]
    TooManyBuckets,
}

/// One descriptor of a request; its entries are walked more than once.
#[derive(Debug, Clone)]
pub struct Descriptor<I> {
    pub entries: I,
    pub hits: Hits,
}

/// Most requests match one limit or two.
pub type Few<T> = SmallVec<[T; 2]>;

// === Outcome ===

/// The answer for one request.
#[derive(Debug)]
pub struct Outcome<'m> {
    /// None: there is no decision, and the caller must be told UNAVAILABLE.
    pub verdict: Option<Verdict>,
    pub source: Source,
    /// How many descriptors the request had; each gets a status.
    pub descriptors: usize,
    /// One for each matched limit, in the order of the descriptors.
    pub decisions: Few<Decision<'m>>,
    /// None where no limit matched, so that the store was not asked.
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
    pub verdict: Verdict,
    /// Whole hits that would pass now.
    pub remaining: u32,
    /// Denied: until this take would fit. Allowed: until the next whole token, 0 when full.
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

impl<'m> Outcome<'m> {
    /// Whose figures the headers show. Denied: the denying limit with the longest wait. Allowed: the limit
    /// with the least remaining. The first on a tie.
    pub fn speaker(&self) -> Option<&Decision<'m>> {
        if self.verdict == Some(Verdict::Allow) {
            return self.decisions.iter().min_by_key(|decision| decision.remaining);
        }
        let denying = self.decisions.iter().filter(|decision| decision.verdict == Verdict::Deny);
        // max_by_key takes the last on a tie, so the search runs from the end.
        denying.rev().max_by_key(|decision| decision.reset_us)
    }
}

// === Limiter ===

/// One runtime's limiter.
#[derive(Debug)]
pub struct Limiter {
    matcher: Arc<Matcher>,
    store: Store,
    on_store_failure: OnStoreFailure,
}

/// A matched limit and what the request asks of it.
struct Member<'m> {
    descriptor: usize,
    limit: LimitRef<'m>,
    hits: Hits,
    take: Take,
}

impl Limiter {
    pub fn new(matcher: Arc<Matcher>, store: Store, on_store_failure: OnStoreFailure) -> Limiter {
        Limiter { matcher, store, on_store_failure }
    }

    pub fn limits(&self) -> &[Arc<RuleLimit>] {
        self.matcher.limits()
    }

    /// Decides one request. Descriptors that no rule matches are allowed and cost nothing; entries with an
    /// empty key, or none at all, match nothing.
    ///
    /// Fails only for a request without meaning; nothing was charged then.
    pub async fn decide<'a, I>(
        &self,
        domain: &[u8],
        descriptors: impl ExactSizeIterator<Item = Descriptor<I>>,
    ) -> Result<Outcome<'_>, BadRequest>
    where
        I: Iterator<Item = Entry<'a>> + Clone,
    {
        if domain.is_empty() {
            return Err(BadRequest::EmptyDomain);
        }
        if descriptors.len() == 0 {
            return Err(BadRequest::NoDescriptors);
        }
        let count = descriptors.len();
        let members = self.members(domain, descriptors)?;
        Ok(self.outcome(count, members).await)
    }

    fn members<'a, I>(
        &self,
        domain: &[u8],
        descriptors: impl Iterator<Item = Descriptor<I>>,
    ) -> Result<Few<Member<'_>>, BadRequest>
    where
        I: Iterator<Item = Entry<'a>> + Clone,
    {
        let Some(rules) = self.matcher.domain(domain) else { return Ok(Few::new()) };
        let mut members = Few::new();
        for (index, descriptor) in descriptors.enumerate() {
            let entries = descriptor.entries.clone().map(|entry| (entry.key, entry.value));
            let Some(rule) = rules.find(entries) else { continue };
            let Applies::All(limits) = &rule.limits else { continue };
            for limit in limits {
                if members.len() == MAX_BUCKETS {
                    return Err(BadRequest::TooManyBuckets);
                }
                let hits = descriptor.hits;
                let key = BucketKey::new(domain, descriptor.entries.clone(), &limit.limit);
                let take = Take { key, ask: Ask::new(hits, &limit.limit) };
                let limit = LimitRef::Configured(limit);
                members.push(Member { descriptor: index, limit, hits, take });
            }
        }
        Ok(members)
    }

    async fn outcome<'m>(&'m self, descriptors: usize, members: Few<Member<'m>>) -> Outcome<'m> {
        if members.is_empty() {
            let verdict = Some(Verdict::Allow);
            return Outcome {
                verdict,
                source: Source::Store,
                descriptors,
                decisions: Few::new(),
                asked: None,
            };
        }
        let takes = members.iter().map(|member| member.take).collect();
        let started = clock::monotonic();
        let answer = self.store.take(takes).await;
        let elapsed = started.elapsed();
        match answer {
            Ok(answer) => Outcome {
                verdict: Some(answer.verdict),
                source: answer.source,
                descriptors,
                decisions: decisions(&members, &answer),
                asked: Some(Asked { elapsed, malformed: answer.malformed, error: None }),
            },
            Err(error) => {
                let asked = Asked { elapsed, malformed: 0, error: Some(error) };
                self.guess(descriptors, &members, asked)
            }
        }
    }

    fn guess<'m>(&self, descriptors: usize, members: &[Member<'m>], asked: Asked) -> Outcome<'m> {
        let verdict = self.on_store_failure.verdict();
        let decisions = members
            .iter()
            .map(|member| Decision {
                descriptor: member.descriptor,
                limit: member.limit.clone(),
                verdict: verdict.unwrap_or(Verdict::Deny),
                remaining: 0,
                reset_us: GUESSED_WAIT_US,
                never_fits: false,
            })
            .collect();
        Outcome {
            verdict,
            source: self.on_store_failure.source(),
            descriptors,
            decisions,
            asked: Some(asked),
        }
    }
}

// === figures ===

fn decisions<'m>(members: &[Member<'m>], answer: &Answer) -> Few<Decision<'m>> {
    let figures = |(index, member): (usize, &Member<'m>)| {
        let found = &answer.found[index];
        if found.fits {
            member.fitting(first_found(members, answer, index), found, answer)
        } else {
            member.denied(members, found, answer)
        }
    };
    members.iter().enumerate().map(figures).collect()
}

/// What the first take of the same bucket found: what was there before this request.
fn first_found<'a>(members: &[Member<'_>], answer: &'a Answer, index: usize) -> &'a Found {
    let key = members[index].take.key;
    let first = members.iter().position(|member| member.take.key == key).unwrap_or(index);
    &answer.found[first]
}

impl<'m> Member<'m> {
    /// This take fits. On a denied request nothing was charged, so the figures are those of `before`.
    fn fitting(&self, before: &Found, found: &Found, answer: &Answer) -> Decision<'m> {
        let full_at = match answer.verdict {
            Verdict::Allow => self.take.ask.of(found.full_at, answer.now_us).unwrap_or(found.full_at),
            Verdict::Deny => before.full_at,
        };
        let limit = &self.limit.limit;
        Decision {
            descriptor: self.descriptor,
            limit: self.limit.clone(),
            verdict: Verdict::Allow,
            remaining: limit.level(full_at, answer.now_us),
            reset_us: limit.next_token_us(full_at, answer.now_us),
            never_fits: false,
        }
    }

    fn denied(&self, members: &[Member<'m>], found: &Found, answer: &Answer) -> Decision<'m> {
        let limit = &self.limit.limit;
        // All that this request takes from the bucket has to fit at once.
        let same = members.iter().filter(|member| member.take.key == self.take.key);
        let hits = same.fold(0_u64, |sum, member| match member.hits {
            Hits::Take(hits) => sum.saturating_add(hits),
            Hits::Peek | Hits::GiveBack(_) => sum,
        });
        let never_fits = hits > u64::from(limit.burst()) || limit.burst() == 0;
        let reset_us = match never_fits {
            _ if limit.burst() == 0 => limit.unit().seconds() * 1_000_000,
            true => limit.full_us(found.full_at, answer.now_us).max(1_000_000),
            false => limit.wait_us(found.full_at, self.take.ask.cost, answer.now_us),
        };
        let (descriptor, limit) = (self.descriptor, self.limit.clone());
        Decision { descriptor, limit, verdict: Verdict::Deny, remaining: 0, reset_us, never_fits }
    }
}

#[cfg(test)]
mod tests;
