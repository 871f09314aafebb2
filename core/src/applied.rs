//! The limits that apply to a request, and what the request takes from the bucket of each.
//!
//! [`DomainRules::apply`] says which limits they are; a store, or the fallback, answers their takes; [`figures`] turns
//! an answer into the numbers that clients are told.

mod figures;
mod overdraft;

use std::{ops::Deref, sync::Arc};

use smallvec::SmallVec;

use crate::{
    decision::{Demand, Enforcement, Take},
    descriptor::{BadRequest, Descriptor, Entry, Hits, KeyForm, Request},
    limit::{Limit, Overdraft},
    matcher::{Applies, DomainRules, Found, LimitIndex, Replaced, Rule, RuleLimit},
    rules::Options,
};
pub use figures::{FALLBACK_WAIT_US, Figures, figures, never_fits, never_fits_wait_us};

/// The most buckets that one request may ask for.
pub const MAX_BUCKETS: usize = 512;

/// A list that needs no allocation for most requests, which match one limit or two.
pub type Few<T> = SmallVec<[T; 2]>;

/// A limit that applies to one descriptor of a request.
#[derive(Debug, Clone)]
pub struct AppliedLimit<'m> {
    /// The index of the descriptor in its request.
    pub descriptor: usize,
    /// The limit itself.
    pub limit: LimitRef<'m>,
    /// The enforcement that is reported. That of `take` may be milder: where the request has a quota that fits for
    /// certain, its other quotas are taken as shadows.
    pub enforcement: Enforcement,
    /// The hits of the descriptor.
    pub hits: Hits,
    /// What happens to these hits if they do not fit: never or charge.
    pub overdraft: Overdraft,
    /// The take that the store is asked for.
    pub take: Take,
}

/// A limit that was configured, or one that the request brought along.
#[derive(Debug, Clone)]
pub enum LimitRef<'m> {
    /// A limit of the rule that the descriptor matches.
    Configured(&'m RuleLimit),
    /// A limit that the request brought along; it stands in for those of the rule.
    Requested(Arc<RuleLimit>),
}

/// What applies to one request.
#[derive(Debug)]
pub struct Applied<'m> {
    /// In the order of the descriptors, and for each descriptor in the order of configuration; at most [`MAX_BUCKETS`].
    pub limits: Few<AppliedLimit<'m>>,
    /// The rules that the descriptors match, in the order of the descriptors. A descriptor that brings its own limit
    /// needs none, and is not listed.
    pub rules: Few<MatchedRule<'m>>,
    /// The descriptors that no limit applies to.
    pub without_limit: WithoutLimit,
}

/// A rule that a descriptor matches.
#[derive(Debug)]
pub struct MatchedRule<'m> {
    /// The index of the descriptor in its request.
    pub descriptor: usize,
    /// The rule at which the descriptor ends.
    pub rule: &'m Rule,
    /// The limits of the rule that hold for the values of this descriptor.
    pub applies: &'m Applies,
}

/// The number of descriptors of a request that no limit applies to, by the reason. Descriptors that bring a limit along
/// count only if their domain is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WithoutLimit {
    /// Their domain is not configured. This counts all descriptors of the request, or none.
    pub unknown_domain: u32,
    /// No rule matches them.
    pub unmatched: u32,
    /// They end at a pattern without a limit.
    pub exempt: u32,
    /// Their rule is unlimited.
    pub unlimited: u32,
}

/// Whether all descriptors count as quotas, whatever their rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaMode {
    /// Only limits with `quota_mode` are quotas.
    #[default]
    AsConfigured,
    /// Every limit that is not in shadow mode is a quota.
    Everywhere,
}

// === impl DomainRules ===

impl DomainRules {
    /// The limits that apply to a request of this domain. Entries with an empty key, and descriptors without entries,
    /// match nothing. The buckets have keys of this form, which is the [store's](KeyForm).
    ///
    /// Fails with [`BadRequest::TooManyBuckets`] if there are more than [`MAX_BUCKETS`].
    pub fn apply(
        &self,
        request: &Request<'_>,
        quota_mode: QuotaMode,
        key_form: KeyForm,
    ) -> Result<Applied<'_>, BadRequest> {
        let mut without_limit = WithoutLimit::default();
        let rules = self.matched(request, &mut without_limit);
        let replaced = self.replaced(rules.iter().map(|matched| matched.applies));
        let mut applying =
            Applying { request, quota_mode, key_form, limits: Few::new(), a_quota_fits: false };
        let mut matched = rules.iter().peekable();
        for (index, descriptor) in request.descriptors.iter().enumerate() {
            if let Some(limit) = &descriptor.limit {
                applying.add_requested(index, limit.clone(), self.find(descriptor.entries()))?;
            } else if let Some(matched) = matched.next_if(|matched| matched.descriptor == index) {
                applying.add_configured(matched, &replaced)?;
            } else {
                applying.a_quota_fits |= quota_mode == QuotaMode::Everywhere;
            }
        }
        applying.relax_quotas();
        Ok(Applied { limits: applying.limits, rules, without_limit })
    }

    fn matched(&self, request: &Request<'_>, without_limit: &mut WithoutLimit) -> Few<MatchedRule<'_>> {
        let all = request.descriptors.iter().enumerate();
        let without_own_limit = all.filter(|(_, descriptor)| descriptor.limit.is_none());
        let matched = without_own_limit.filter_map(|(index, descriptor)| {
            let rule = match self.look_up(descriptor.entries()) {
                Found::Rule(rule) => rule,
                Found::Exemption => {
                    without_limit.exempt += 1;
                    return None;
                }
                Found::Nothing => {
                    without_limit.unmatched += 1;
                    return None;
                }
            };
            let applies = rule.applies(descriptor.entries());
            without_limit.unlimited += u32::from(matches!(applies, Applies::Unlimited(_)));
            Some(MatchedRule { descriptor: index, rule, applies })
        });
        matched.collect()
    }
}

// === Applying ===

/// The limits of one request, while they are collected.
struct Applying<'r, 'a, 'm> {
    request: &'r Request<'a>,
    quota_mode: QuotaMode,
    key_form: KeyForm,
    limits: Few<AppliedLimit<'m>>,
    /// If every descriptor is a quota, one without a limit is a quota that fits: no rule matches it, or other limits of
    /// the request replace all of its own.
    a_quota_fits: bool,
}

impl<'r, 'a, 'm> Applying<'r, 'a, 'm> {
    /// Adds a limit that the request brings along. It stands in for the limits of the rule, if there is one, and has
    /// the rule's bucket, so that what was taken under the rule's limits counts, and so that a charge after the
    /// response meets the bucket that the request was admitted by.
    fn add_requested(&mut self, index: usize, limit: Limit, rule: Option<&Rule>) -> Result<(), BadRequest> {
        let domain = String::from_utf8_lossy(self.request.domain);
        let limit = RuleLimit::new(LimitIndex::Requested, &domain, "(override)", limit);
        let entries = self.descriptor(index).entries();
        match rule {
            Some(rule) => {
                let limit = overdraft::inherited(limit, rule.applies(entries.clone()));
                self.add(index, LimitRef::Requested(Arc::new(limit)), rule.bucket_entries(entries))
            }
            None => self.add(index, LimitRef::Requested(Arc::new(limit)), entries),
        }
    }

    fn add_configured(
        &mut self,
        matched: &MatchedRule<'m>,
        replaced: &Replaced<'_>,
    ) -> Result<(), BadRequest> {
        let MatchedRule { descriptor: index, rule, applies } = *matched;
        let Applies::All(limits) = applies else { return Ok(()) };
        let mut left = limits.iter().filter(|limit| !replaced.leaves_out(limit)).peekable();
        self.a_quota_fits |= left.peek().is_none() && self.quota_mode == QuotaMode::Everywhere;
        for limit in left {
            let entries = rule.bucket_entries(self.descriptor(index).entries());
            self.add(index, LimitRef::Configured(limit), entries)?;
        }
        Ok(())
    }

    fn add<'e>(
        &mut self,
        descriptor: usize,
        limit: LimitRef<'m>,
        bucket_entries: impl Iterator<Item = Entry<'e>>,
    ) -> Result<(), BadRequest> {
        if self.limits.len() >= MAX_BUCKETS {
            return Err(BadRequest::TooManyBuckets);
        }
        let enforcement = enforcement(limit.options, self.quota_mode);
        let hits = self.descriptor(descriptor).hits;
        let key = self.key_form.key(self.request.domain, bucket_entries, &limit.limit, limit.bucket_name());
        let overdraft = overdraft::decided(&limit, hits);
        let demand = Demand::with_overdraft(hits, &limit.limit, overdraft).enforcement(enforcement);
        let take = Take { key, demand };
        self.limits.push(AppliedLimit { descriptor, limit, enforcement, hits, overdraft, take });
        Ok(())
    }

    fn descriptor(&self, index: usize) -> &'r Descriptor<'a> {
        &self.request.descriptors[index]
    }

    /// Takes all quotas as shadows if one of them fits for certain, since no other denies then. A quota in shadow mode
    /// counts as one that fits. So the store need not know about either case.
    fn relax_quotas(&mut self) {
        let is_quota_in_shadow = |applied: &AppliedLimit<'_>| {
            applied.enforcement == Enforcement::Shadow && is_quota(applied.limit.options, self.quota_mode)
        };
        if self.a_quota_fits || self.limits.iter().any(is_quota_in_shadow) {
            let quotas = self.limits.iter_mut().filter(|applied| applied.enforcement == Enforcement::Quota);
            quotas.for_each(|applied| applied.take.demand.enforcement = Enforcement::Shadow);
        }
    }
}

fn enforcement(options: Options, quota_mode: QuotaMode) -> Enforcement {
    if options.shadow_mode {
        Enforcement::Shadow
    } else if is_quota(options, quota_mode) {
        Enforcement::Quota
    } else {
        Enforcement::Enforced
    }
}

fn is_quota(options: Options, quota_mode: QuotaMode) -> bool {
    options.quota_mode || quota_mode == QuotaMode::Everywhere
}

// === impl LimitRef ===

impl Deref for LimitRef<'_> {
    type Target = RuleLimit;

    fn deref(&self) -> &RuleLimit {
        match self {
            LimitRef::Configured(limit) => limit,
            LimitRef::Requested(limit) => limit,
        }
    }
}
