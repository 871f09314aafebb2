//! The limits that apply to a request, and what it asks of each.

use std::sync::Arc;

use super::{BadRequest, Decision, Descriptor, Few, LimitRef, MAX_BUCKETS, QuotaMode, figures};
use tollgate_core::{
    decision::{Demand, Enforcement, Source, Take, Verdict},
    descriptor::{BucketKey, Entry, Hits},
    limit::Limit,
    matcher::{Applies, DomainRules, Found, LimitIndex, Rule, RuleLimit},
    rules::Options,
};

/// A limit that applies, and what the request asks of it.
pub(super) struct Member<'m> {
    pub(super) descriptor: usize,
    pub(super) limit: LimitRef<'m>,
    pub(super) enforcement: Enforcement,
    pub(super) hits: Hits,
    /// Its standing may be milder than that of the member: see [`pass_where_a_quota_fits`].
    pub(super) take: Take,
}

/// A rule that a descriptor matched.
#[derive(Debug)]
pub struct Matched<'m> {
    /// Index of the descriptor.
    pub descriptor: usize,
    pub rule: &'m Rule,
    /// What of the rule applies to this request.
    pub applies: &'m Applies,
}

/// How many descriptors of a request no limit holds, by why. Those that bring a limit along are none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WithoutLimit {
    /// Of a domain that is not configured: all of them.
    pub unknown_domain: u32,
    /// No rule is for them.
    pub unmatched: u32,
    /// They end at a pattern without a limit.
    pub exempt: u32,
    /// Their rule says so.
    pub unlimited: u32,
}

/// The rules that the descriptors of a request match, in their order; descriptors with a limit of their own need
/// none. Counts those without any.
pub(super) fn matched<'a, 'm, I>(
    rules: &'m DomainRules,
    descriptors: impl Iterator<Item = Descriptor<I>>,
    without_limit: &mut WithoutLimit,
) -> Few<Matched<'m>>
where
    I: Iterator<Item = Entry<'a>> + Clone,
{
    let in_need = descriptors.enumerate().filter(|(_, descriptor)| descriptor.limit.is_none());
    let matched = in_need.filter_map(|(descriptor, Descriptor { entries, .. })| {
        let rule = match rules.look_up(entries.clone()) {
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
        let applies = rule.applies(entries);
        without_limit.unlimited += u32::from(matches!(applies, Applies::Unlimited(_)));
        Some(Matched { descriptor, rule, applies })
    });
    matched.collect()
}

/// The members of a request, in the order of its descriptors.
pub(super) fn of<'a, 'm, I>(
    rules: &'m DomainRules,
    domain: &[u8],
    descriptors: impl Iterator<Item = Descriptor<I>>,
    matched: &[Matched<'m>],
    quota_mode: QuotaMode,
) -> Result<Few<Member<'m>>, BadRequest>
where
    I: Iterator<Item = Entry<'a>> + Clone,
{
    let replaced = rules.replaced(matched.iter().map(|matched| matched.applies));
    let mut members = Few::new();
    let mut matched = matched.iter().peekable();
    // With every descriptor a quota, one without a limit is a quota that fits: no rule matches it, or other limits of
    // the request stand in for all of its own.
    let mut a_quota_fits = false;
    let mut add = |member| {
        let has_room = members.len() < MAX_BUCKETS;
        members.push(member);
        has_room.then_some(()).ok_or(BadRequest::TooManyBuckets)
    };
    for (index, Descriptor { entries, hits, limit }) in descriptors.enumerate() {
        if let Some(limit) = limit {
            let limit = LimitRef::Asked(Arc::new(asked(domain, limit)));
            // It stands in for the rule's limits, so what was taken under them counts.
            let member = match rules.find(entries.clone()) {
                Some(rule) => {
                    Member::new(index, limit, hits, quota_mode, domain, rule.bucket_entries(entries))
                }
                None => Member::new(index, limit, hits, quota_mode, domain, entries),
            };
            add(member)?;
            continue;
        }
        let Some(Matched { rule, applies, .. }) = matched.next_if(|matched| matched.descriptor == index)
        else {
            a_quota_fits |= quota_mode == QuotaMode::Everywhere;
            continue;
        };
        let Applies::All(limits) = applies else { continue };
        let mut left = limits.iter().filter(|limit| !replaced.leaves_out(limit)).peekable();
        a_quota_fits |= left.peek().is_none() && quota_mode == QuotaMode::Everywhere;
        for limit in left {
            let (limit, entries) = (LimitRef::Configured(limit), rule.bucket_entries(entries.clone()));
            add(Member::new(index, limit, hits, quota_mode, domain, entries))?;
        }
    }
    pass_where_a_quota_fits(&mut members, quota_mode, a_quota_fits);
    Ok(members)
}

/// A quota in shadow counts as one that fits, and where one fits no other quota denies: the store need not
/// know them as quotas.
fn pass_where_a_quota_fits(members: &mut [Member<'_>], quota_mode: QuotaMode, a_quota_fits: bool) {
    let is_met = |member: &Member<'_>| {
        let is_quota = member.limit.options.quota_mode || quota_mode == QuotaMode::Everywhere;
        member.enforcement == Enforcement::Shadow && is_quota
    };
    if a_quota_fits || members.iter().any(is_met) {
        for member in members.iter_mut().filter(|member| member.enforcement == Enforcement::Quota) {
            member.take.demand.enforcement = Enforcement::Shadow;
        }
    }
}

/// A limit that a request brings along stands under no rule.
fn asked(domain: &[u8], limit: Limit) -> RuleLimit {
    RuleLimit::new(LimitIndex::Requested, &String::from_utf8_lossy(domain), "(override)", limit)
}

impl figures::Asked for Member<'_> {
    fn limit(&self) -> &Limit {
        &self.limit.limit
    }

    fn take(&self) -> &Take {
        &self.take
    }

    fn hits(&self) -> Hits {
        self.hits
    }
}

impl<'m> Member<'m> {
    pub(super) fn decision(
        &self,
        source: Source,
        verdict: Verdict,
        remaining: u32,
        reset_us: u64,
    ) -> Decision<'m> {
        Decision {
            descriptor: self.descriptor,
            limit: self.limit.clone(),
            source,
            enforcement: self.enforcement,
            verdict,
            remaining,
            reset_us,
            never_fits: false,
        }
    }

    fn new<'a>(
        descriptor: usize,
        limit: LimitRef<'m>,
        hits: Hits,
        quota_mode: QuotaMode,
        domain: &[u8],
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> Member<'m> {
        let enforcement = enforcement(limit.options, quota_mode);
        let key = BucketKey::new(domain, entries, &limit.limit, limit.bucket_name());
        let take = Take { key, demand: Demand::new(hits, &limit.limit).enforcement(enforcement) };
        Member { descriptor, limit, enforcement, hits, take }
    }
}

fn enforcement(options: Options, quota_mode: QuotaMode) -> Enforcement {
    if options.shadow_mode {
        Enforcement::Shadow
    } else if options.quota_mode || quota_mode == QuotaMode::Everywhere {
        Enforcement::Quota
    } else {
        Enforcement::Enforced
    }
}
