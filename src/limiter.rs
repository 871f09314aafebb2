//! One request end to end: match its descriptors, take from the store, combine the answer into an outcome.
//!
//! All limits of a request are charged in one call to the store, or none is. The limiter knows neither the wire nor
//! headers. It does not fail when the store does: it returns an [`Outcome`] that says so.

mod act;

use std::time::Duration;

use crate::{
    clock,
    fallback::{Fallback, Source},
    store::{Backend, Store, StoreError},
    traces::SpanContext,
};
use tollgate_core::{
    applied::{self, Applied, AppliedLimit, Few, Figures, LimitRef, MatchedRule, QuotaMode, WithoutLimit},
    decision::{Answer, Enforcement, Verdict, verdict},
    descriptor::{BadRequest, BucketKey, KeyForm, Request},
    matcher::Matcher,
};

// === Outcome ===

/// The answer for one request.
#[derive(Debug)]
pub struct Outcome<'m> {
    /// None: there is no decision, and the caller must be told UNAVAILABLE.
    pub verdict: Option<Verdict>,
    /// What made the verdict.
    pub source: Source,
    /// The number of descriptors of the request. Each gets a status.
    pub descriptors: usize,
    /// The rules that the descriptors matched, in the order of the descriptors.
    pub rules: Few<MatchedRule<'m>>,
    pub without_limit: WithoutLimit,
    /// One for each limit that applied, in the order of the descriptors.
    pub decisions: Few<Decision<'m>>,
    /// None: no limit applied, so the store was not asked.
    pub store_call: Option<StoreCall>,
    /// The time that it took to decide.
    pub elapsed: Duration,
}

/// How the call to the store went.
#[derive(Debug)]
pub struct StoreCall {
    /// The time that the call took.
    pub elapsed: Duration,
    /// The number of buckets whose stored value made no sense.
    pub malformed: u32,
    /// None: the store answered.
    pub error: Option<StoreError>,
}

/// The answer for one limit.
#[derive(Debug)]
pub struct Decision<'m> {
    /// The index of the descriptor in its request.
    pub descriptor: usize,
    pub limit: LimitRef<'m>,
    /// The bucket that was asked.
    pub key: BucketKey,
    /// What made the decision.
    pub source: Source,
    /// What it means for the request if the take does not fit.
    pub enforcement: Enforcement,
    /// Deny: the take does not fit.
    pub verdict: Verdict,
    /// Whole hits that would pass now.
    pub remaining: u32,
    /// Denied: microseconds until this take would fit. Allowed: until there is more room; 0 if there is none to come.
    pub reset_us: u64,
    /// The request asks for more than the bucket can ever hold.
    pub never_fits: bool,
    /// The clock of what decided, in microseconds since the Unix epoch; none if nothing was asked.
    pub now_us: Option<u64>,
    /// The hits are what a response came to, as far as can be told: [`AppliedLimit::settles`].
    pub settles: bool,
}

impl<'m> Decision<'m> {
    fn new(applied: &AppliedLimit<'m>, source: Source, figures: Figures) -> Decision<'m> {
        let AppliedLimit { descriptor, enforcement, .. } = *applied;
        let Figures { verdict, remaining, reset_us, never_fits, now_us } = figures;
        let (limit, key, settles) = (applied.limit.clone(), applied.take.key, applied.settles());
        Decision {
            descriptor,
            limit,
            key,
            source,
            enforcement,
            verdict,
            remaining,
            reset_us,
            never_fits,
            now_us,
            settles,
        }
    }

    /// Whether the limit is reported as exceeded. A shadow never is.
    pub fn is_over(&self) -> bool {
        self.verdict == Verdict::Deny && self.enforcement != Enforcement::Shadow
    }
}

impl<'m> Outcome<'m> {
    /// The outcome if no limit applies: the request is allowed.
    fn without_store(
        descriptors: usize,
        rules: Few<MatchedRule<'m>>,
        without_limit: WithoutLimit,
    ) -> Outcome<'m> {
        Outcome {
            verdict: Some(Verdict::Allow),
            source: Source::Store,
            descriptors,
            rules,
            without_limit,
            decisions: Few::new(),
            store_call: None,
            elapsed: Duration::ZERO,
        }
    }

    /// Whether the store had no answer, so that the decisions are fallback answers.
    pub fn has_store_error(&self) -> bool {
        self.store_call.as_ref().is_some_and(|call| call.error.is_some())
    }

    /// Whether all that the request asks for is what a response came to, so that nobody waits for the answer.
    pub fn settles(&self) -> bool {
        !self.decisions.is_empty() && self.decisions.iter().all(|decision| decision.settles)
    }

    /// The limit whose figures the headers show. On a denial, it is the denying limit with the longest wait; else the
    /// limit with the least remaining. The first one counts on a tie, and a shadow never does.
    pub fn speaker(&self) -> Option<&Decision<'m>> {
        if self.verdict != Some(Verdict::Allow) {
            return loudest(self.denying());
        }
        quietest(self.decisions.iter().filter(|decision| decision.enforcement != Enforcement::Shadow))
    }

    /// The limits that deny the request: enforced ones that do not fit, and the quotas if none of them fits.
    pub fn denying(&self) -> impl DoubleEndedIterator<Item = &Decision<'m>> {
        // A quota in shadow counts as one that fits.
        let is_quota = |decision: &&Decision<'_>| {
            decision.enforcement == Enforcement::Quota || decision.limit.options.quota_mode
        };
        let quotas = self.decisions.iter().filter(is_quota);
        let quotas_verdict = verdict(quotas.map(|quota| (Enforcement::Quota, !quota.is_over())));
        self.decisions.iter().filter(move |decision| {
            decision.is_over()
                && (decision.enforcement == Enforcement::Enforced || quotas_verdict == Verdict::Deny)
        })
    }

    /// The limit whose figures are the status of its descriptor, for each descriptor that has limits. It is the
    /// exceeded limit with the longest wait; if none is exceeded, the limit with the least remaining, and a shadow
    /// only if all are shadows.
    pub fn speakers_of_descriptors(&self) -> impl Iterator<Item = &Decision<'m>> {
        let each = self.decisions.chunk_by(|one, next| one.descriptor == next.descriptor);
        each.filter_map(|limits| {
            loudest(limits.iter().filter(|decision| decision.is_over()))
                .or_else(|| {
                    quietest(limits.iter().filter(|decision| decision.enforcement != Enforcement::Shadow))
                })
                .or_else(|| quietest(limits.iter()))
        })
    }
}

/// The decision with the longest wait. `max_by_key` takes the last on a tie, so the search runs from the end.
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
    key_form: KeyForm,
}

impl Limiter {
    /// One runtime's limiter, on the store and the local buckets that all runtimes share. It must be called within the
    /// runtime whose requests it will decide. The store has until `deadline` for each call.
    pub fn open(backend: &Backend, deadline: Duration, fallback: &Fallback) -> Limiter {
        fallback.local.keep_swept();
        Limiter::new(backend.open(deadline), fallback.clone())
    }

    /// A limiter on a store that is open already.
    pub fn new(store: Store, fallback: Fallback) -> Limiter {
        let key_form = store.key_form();
        Limiter { store, fallback, quota_mode: QuotaMode::default(), key_form }
    }

    /// The same limiter, with the keys of another store.
    #[must_use]
    pub fn key_form(self, key_form: KeyForm) -> Limiter {
        Limiter { key_form, ..self }
    }

    /// Returns hits that the store has reserved and nobody has spent. No request may follow.
    pub async fn finish(&self) {
        self.store.finish().await;
    }

    /// The same limiter, in another quota mode.
    #[must_use]
    pub fn quota_mode(self, quota_mode: QuotaMode) -> Limiter {
        Limiter { quota_mode, ..self }
    }

    /// Decides one request by these rules. Descriptors that no limit applies to are allowed, and cost nothing.
    ///
    /// Fails only for a request that has no meaning. Nothing was charged then.
    pub async fn decide<'m>(
        &self,
        matcher: &'m Matcher,
        request: &Request<'_>,
    ) -> Result<Outcome<'m>, BadRequest> {
        self.decide_in(None, matcher, request).await
    }

    /// The same for a request that is recorded as this span, to which the store's own spans refer.
    pub async fn decide_in<'m>(
        &self,
        span: Option<SpanContext>,
        matcher: &'m Matcher,
        request: &Request<'_>,
    ) -> Result<Outcome<'m>, BadRequest> {
        let started = clock::monotonic();
        let applied = self.applied(matcher, request)?;
        let descriptors = request.descriptors.len();
        if applied.limits.is_empty() {
            let outcome = Outcome::without_store(descriptors, applied.rules, applied.without_limit);
            return Ok(Outcome { elapsed: clock::monotonic().duration_since(started), ..outcome });
        }
        let takes = applied.limits.iter().map(|applied| applied.take).collect();
        let asked = clock::monotonic();
        let answer = self.store.take_in(span, takes).await;
        let answered = clock::monotonic();
        let outcome = self.decided(descriptors, applied, answer, answered.duration_since(asked));
        Ok(Outcome { elapsed: answered.duration_since(started), ..outcome })
    }

    /// The limits that apply to a request.
    fn applied<'m>(&self, matcher: &'m Matcher, request: &Request<'_>) -> Result<Applied<'m>, BadRequest> {
        if request.domain.is_empty() {
            return Err(BadRequest::EmptyDomain);
        }
        if request.descriptors.is_empty() {
            return Err(BadRequest::NoDescriptors);
        }
        let applied = match matcher.domain(request.domain) {
            Some(rules) => rules.apply(request, self.quota_mode, self.key_form)?,
            None => unknown_domain(request),
        };
        applied.note_billing(self.quota_mode);
        Ok(applied)
    }

    /// The outcome, by what the store answered.
    fn decided<'m>(
        &self,
        descriptors: usize,
        applied: Applied<'m>,
        answer: Result<Answer, StoreError>,
        elapsed: Duration,
    ) -> Outcome<'m> {
        let Applied { limits, rules, without_limit } = applied;
        let outcome = Outcome::without_store(descriptors, rules, without_limit);
        match answer {
            Ok(answer) => Outcome {
                verdict: Some(answer.verdict),
                source: answer.source.into(),
                decisions: decisions(&limits, &answer),
                store_call: Some(StoreCall { elapsed, malformed: answer.malformed, error: None }),
                ..outcome
            },
            Err(error) => {
                let answer = self.fallback.answer(&limits, |key| self.store.is_known_empty(key));
                let each = limits.iter().zip(answer.limits);
                Outcome {
                    verdict: answer.verdict,
                    source: answer.source,
                    decisions: each
                        .map(|(applied, (source, figures))| Decision::new(applied, source, figures))
                        .collect(),
                    store_call: Some(StoreCall { elapsed, malformed: 0, error: Some(error) }),
                    ..outcome
                }
            }
        }
    }
}

fn unknown_domain<'m>(request: &Request<'_>) -> Applied<'m> {
    let unknown_domain = u32::try_from(request.descriptors.len()).unwrap_or(u32::MAX);
    let without_limit = WithoutLimit { unknown_domain, ..WithoutLimit::default() };
    Applied { limits: Few::new(), rules: Few::new(), without_limit }
}

/// What the store's answer says about each limit.
fn decisions<'m>(limits: &[AppliedLimit<'m>], answer: &Answer) -> Few<Decision<'m>> {
    let figures = |index| applied::figures(limits, None, answer, index);
    let each = limits.iter().enumerate();
    each.map(|(index, applied)| Decision::new(applied, answer.source.into(), figures(index))).collect()
}

#[cfg(test)]
mod tests;
