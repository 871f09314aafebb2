//! What is explained, in owned texts, for [`super::text`] and [`super::json`] to print.

use super::{
    ExplainError,
    deciding::Levels,
    descriptors::Asked,
    making::Made,
    told::{Serving, Told},
};
use crate::{limiter::Decision, store::redis::keys::redis_key};
use tollgate_core::{
    applied::{Applied, AppliedLimit, MatchedRule},
    authz::WithoutDescriptor,
    decision::{Enforcement, Verdict},
    descriptor::{BucketKey, Hits},
    limit::Algorithm,
    matcher::{Applies, DomainRules, Matcher, RuleLimit, TracedLevel},
};

/// The whole explanation.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) domain: String,
    /// How the descriptors came about; none if they were typed.
    pub(super) made: Option<Made>,
    pub(super) descriptors: Vec<DescriptorReport>,
    /// The address of the Redis that was read; none if the buckets are taken as full.
    pub(super) store: Option<String>,
    /// The process answers OK to every request.
    pub(super) is_shadow: bool,
    /// The number of buckets whose value in Redis makes no sense.
    pub(super) malformed: u32,
    /// None: no limit applies, so the client is told nothing.
    pub(super) now: Option<Told>,
    /// None: no limit applies, or the request is denied already.
    pub(super) used_up: Option<Told>,
}

#[derive(Debug)]
pub(super) struct DescriptorReport {
    pub(super) entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) hits: Hits,
    /// The levels that it passes. Empty if the domain is not configured.
    pub(super) levels: Vec<TracedLevel>,
    /// The path of the rule that it matches.
    pub(super) rule: Option<String>,
    pub(super) tier: Option<TierReport>,
    /// The limits of the rule.
    pub(super) limits: Vec<LimitReport>,
    /// Why no limit applies; none if one does.
    pub(super) why_no_limit: Option<String>,
    /// The labels of limits of the rule that other descriptors replace.
    pub(super) replaced: Vec<String>,
}

/// The tier whose limits hold.
#[derive(Debug)]
pub(super) struct TierReport {
    pub(super) key: Vec<u8>,
    /// None: the default tier.
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(super) struct LimitReport {
    pub(super) label: String,
    pub(super) requests_per_unit: u32,
    /// Such as `minute` or `15 minutes`.
    pub(super) period: String,
    pub(super) period_seconds: u64,
    pub(super) burst: u32,
    pub(super) algorithm: Algorithm,
    /// 0 without leases.
    pub(super) lease_us: u32,
    pub(super) enforcement: Enforcement,
    pub(super) key: BucketKey,
    /// The key in Redis.
    pub(super) bucket: String,
    /// Whole hits in the bucket before this request.
    pub(super) level: u32,
    /// How many hits of it leases hold, which count as spent though they may come back.
    pub(super) reserved: u64,
    /// Microseconds until there is more room in it.
    pub(super) room_us: u64,
    pub(super) fits: bool,
    pub(super) remaining: u32,
    pub(super) reset_us: u64,
    pub(super) never_fits: bool,
}

// === impl Report ===

impl Report {
    pub(super) async fn new(
        matcher: &Matcher,
        mut asked: Asked,
        levels: &Levels,
        serving: &Serving,
    ) -> Result<Report, ExplainError> {
        let made = asked.made.take();
        let store = match levels {
            Levels::Full => None,
            Levels::Here { .. } => Some("memory".to_owned()),
            Levels::Live { store, .. } => Some(store.clone()),
        };
        let domain = asked.domain.clone();
        let (is_shadow, descriptors) = (serving.is_shadow, Vec::new());
        let report =
            Report { domain, made, descriptors, store, is_shadow, malformed: 0, now: None, used_up: None };
        if asked.descriptors.is_empty() {
            return Ok(report.without_descriptor(serving));
        }
        let request = asked.request();
        let Some(rules) = matcher.domain(request.domain) else {
            let why = unknown_domain(matcher);
            let descriptors = asked.descriptors.iter().map(|one| DescriptorReport {
                why_no_limit: Some(why.clone()),
                ..DescriptorReport::new(one.entries.clone(), one.hits)
            });
            return Ok(Report { descriptors: descriptors.collect(), ..report });
        };
        let applied = rules.apply(&request, serving.quota_mode, levels.key_form())?;
        let takes: Vec<_> = applied.limits.iter().map(|limit| limit.take).collect();
        if takes.is_empty() {
            return Ok(Report {
                descriptors: self::descriptors(rules, &asked, &applied, &[], &[]),
                ..report
            });
        }
        let buckets = levels.buckets(&takes, serving.quota_mode).await?;
        let before = buckets.decide(matcher, &asked.peek()).await?;
        let outcome = buckets.decide(matcher, &request).await?;
        let mut descriptors =
            self::descriptors(rules, &asked, &applied, &before.decisions, &outcome.decisions);
        for limit in descriptors.iter_mut().flat_map(|descriptor| &mut descriptor.limits) {
            let applied = applied.limits.iter().find(|applied| applied.take.key == limit.key);
            limit.reserved = applied.map_or(0, |applied| buckets.reserved(applied));
        }
        let now = serving.told(matcher, &outcome);
        let used_up = match &now {
            Some(now) if now.verdict == Verdict::Allow => {
                serving.told(matcher, &buckets.decide_used_up(&applied.limits, matcher, &request).await?)
            }
            _ => None,
        };
        Ok(Report { descriptors, malformed: buckets.malformed(), now, used_up, ..report })
    }

    /// The request has no descriptor, so the limiter is not asked.
    fn without_descriptor(self, serving: &Serving) -> Report {
        let without = self.made.as_ref().map_or(WithoutDescriptor::Allow, |made| made.without_descriptor);
        Report { now: serving.forbidden(without), ..self }
    }

    /// The exit status: 0 allowed, 1 denied, 3 no limit applies.
    pub(super) fn status(&self) -> u8 {
        match &self.now {
            Some(now) => u8::from(now.verdict == Verdict::Deny),
            None => 3,
        }
    }
}

fn unknown_domain(matcher: &Matcher) -> String {
    let mut domains: Vec<&str> = matcher.domains().collect();
    domains.sort_unstable();
    format!("no limits file has its domain; they have {}", domains.join(", "))
}

// === descriptors ===

fn descriptors(
    rules: &DomainRules,
    asked: &Asked,
    applied: &Applied<'_>,
    before: &[Decision<'_>],
    decisions: &[Decision<'_>],
) -> Vec<DescriptorReport> {
    let all = asked.descriptors.iter().enumerate().map(|(index, one)| {
        let pairs = || one.entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let mut report = DescriptorReport::new(one.entries.clone(), one.hits);
        report.levels = rules.trace(pairs());
        let Some(matched) = applied.rules.iter().find(|matched| matched.descriptor == index) else {
            report.why_no_limit = Some(rules.ending(pairs()).to_string());
            return report;
        };
        report.rule = Some(matched.rule.path.to_string());
        report.tier = matched.rule.tier(pairs()).map(|tier| TierReport {
            key: one.entries[tier.position].0.clone(),
            name: tier.name.map(str::to_owned),
        });
        let limits = applied.limits.iter().zip(before.iter().zip(decisions));
        let limits = limits.filter(|(limit, _)| limit.descriptor == index);
        report.limits = limits.map(|(limit, (before, now))| LimitReport::new(limit, before, now)).collect();
        report.replaced = replaced(matched, &report.limits);
        report.why_no_limit = why_no_limit(matched, &report.limits);
        report
    });
    all.collect()
}

fn why_no_limit(matched: &MatchedRule<'_>, limits: &[LimitReport]) -> Option<String> {
    match matched.applies {
        Applies::Unlimited(_) => Some("its rule is unlimited".to_owned()),
        Applies::All(_) if limits.is_empty() => {
            Some("limits of other descriptors replace those of its rule".to_owned())
        }
        Applies::All(_) => None,
    }
}

/// The limits of the rule that do not apply.
fn replaced(matched: &MatchedRule<'_>, limits: &[LimitReport]) -> Vec<String> {
    let Applies::All(all) = matched.applies else { return Vec::new() };
    let labels = all.iter().map(|limit| limit.label().into_owned());
    labels.filter(|label| limits.iter().all(|limit| limit.label != *label)).collect()
}

impl DescriptorReport {
    fn new(entries: Vec<(Vec<u8>, Vec<u8>)>, hits: Hits) -> DescriptorReport {
        DescriptorReport {
            entries,
            hits,
            levels: Vec::new(),
            rule: None,
            tier: None,
            limits: Vec::new(),
            why_no_limit: None,
            replaced: Vec::new(),
        }
    }
}

impl LimitReport {
    fn new(applied: &AppliedLimit<'_>, before: &Decision<'_>, now: &Decision<'_>) -> LimitReport {
        let rule_limit: &RuleLimit = &applied.limit;
        let limit = &rule_limit.limit;
        LimitReport {
            label: rule_limit.label().into_owned(),
            requests_per_unit: limit.requests_per_unit(),
            period: limit.per().to_string(),
            period_seconds: limit.period_seconds_at(now.now_us).unwrap_or_else(|| limit.period().seconds()),
            burst: limit.burst(),
            algorithm: limit.algorithm(),
            lease_us: limit.lease_us(),
            enforcement: applied.enforcement,
            key: applied.take.key,
            bucket: redis_key(&applied.take.key).to_string(),
            level: before.remaining,
            reserved: 0,
            room_us: before.reset_us,
            fits: now.verdict == Verdict::Allow,
            remaining: now.remaining,
            reset_us: now.reset_us,
            never_fits: now.never_fits,
        }
    }
}
