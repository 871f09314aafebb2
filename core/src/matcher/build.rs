//! Compiles the checked configuration into rules that can be looked up.

use std::{borrow::Cow, collections::HashMap, hash::Hash, sync::Arc};

use super::{
    Applies, DomainRules, Level, LimitIndex, Node, Rule, RuleLimit, Unlimited, WildKey, Wildcard,
    is_wildcard, metric_path,
    rule::{RuleLimits, Step, TierLimits},
    shapes::Shapes,
};
use crate::{
    billing::Billing,
    limit::Overdraft,
    rules::{Domain, Limits, Members, NamedLimit, Options, Pattern},
};

/// Compiles one domain, and appends its limits to `limits`.
pub(super) fn domain(domain: &Domain, limits: &mut Vec<Arc<RuleLimit>>) -> DomainRules {
    let (name, members): (Arc<str>, _) = (domain.name.as_str().into(), domain.members.as_ref());
    let mut builder =
        Builder { domain: Arc::clone(&name), members, limits, steps: Vec::new(), has_replaces: false };
    let top = builder.level(&domain.descriptors, "");
    let shapes = Shapes::new(&domain.descriptors);
    let (defaults, has_replaces) = (domain.defaults, builder.has_replaces);
    DomainRules { name, defaults, authz: domain.authz.clone(), top, shapes, has_replaces }
}

struct Builder<'a> {
    domain: Arc<str>,
    members: Option<&'a Members>,
    limits: &'a mut Vec<Arc<RuleLimit>>,
    /// The levels from the first to that of the pattern that is being compiled.
    steps: Vec<Arc<Step>>,
    has_replaces: bool,
}

/// What all limits of one rule have in common, those of all tiers but for the tier.
#[derive(Clone)]
struct Shared {
    path: Arc<str>,
    tier: Option<Arc<str>>,
    options: Options,
    billing: Arc<Billing>,
}

impl Builder<'_> {
    fn level(&mut self, patterns: &[Pattern], parent: &str) -> Level {
        let mut level = Level::default();
        for pattern in last_of_each(patterns, |pattern| (&pattern.key, &pattern.value)) {
            let node = self.node(pattern, parent);
            level.insert(pattern, node);
        }
        level
    }

    fn node(&mut self, pattern: &Pattern, parent: &str) -> Node {
        let dot = if parent.is_empty() { "" } else { "." };
        let name = format!("{parent}{dot}{}", pattern.name());
        self.steps.push(Arc::new(Step::new(pattern)));
        let rule = self.rule(&name, pattern);
        let below = self.level(&pattern.descriptors, &name);
        self.steps.pop();
        Node { rule, below }
    }

    fn rule(&mut self, path: &str, pattern: &Pattern) -> Option<Rule> {
        let path: Arc<str> = Arc::from(path);
        let (tier, options, billing) = (None, pattern.options, Arc::default());
        let shared = Shared { path: Arc::clone(&path), tier, options, billing };
        let limits = match &pattern.limits {
            Limits::None => return None,
            Limits::All(limits) => RuleLimits::Same(self.applies(&shared, limits)),
            Limits::OfMember => RuleLimits::ByTier(self.tier_limits(&shared)?),
        };
        let shows_values = self.steps.iter().any(|step| step.may_show_value(pattern.options.detailed_metric));
        let is_asked = shows_values || self.steps.iter().any(|step| step.is_shared);
        let steps = if is_asked { self.steps.as_slice().into() } else { Box::default() };
        let metric_path = match metric_path::clean(&path) {
            Cow::Borrowed(_) => Arc::clone(&path),
            Cow::Owned(cleaned) => cleaned.into(),
        };
        let (options, metadata) = (pattern.options, pattern.metadata.clone());
        Some(Rule { path, options, metadata, limits, metric_path, shows_values, steps })
    }

    /// None if the domain has no members, if no level up to here has their key, or if there is no default tier. The
    /// configuration lets none of these through.
    fn tier_limits(&mut self, shared: &Shared) -> Option<TierLimits> {
        let members = self.members?;
        let position = self.steps.iter().rposition(|step| *step.key == *members.key)?;
        let of = |tier: &str| Shared { tier: Some(tier.into()), ..shared.clone() };
        let default = self.applies(&of(&members.default), members.tiers.get(&members.default)?);
        let others = members.tiers.iter().filter(|(name, _)| **name != members.default);
        let tiers =
            others.map(|(name, limits)| (name.as_str().into(), self.applies(&of(name), limits))).collect();
        Some(TierLimits { position, members: Arc::clone(&members.table), tiers, default })
    }

    fn applies(&mut self, shared: &Shared, limits: &[NamedLimit]) -> Applies {
        self.has_replaces |= limits.iter().any(|limit| !limit.replaces.is_empty());
        if let Some(unlimited) = limits.iter().find(|limit| limit.limit.is_none()) {
            let (name, replaces) = (unlimited.name.clone(), unlimited.replaces.clone());
            return Applies::Unlimited(Unlimited { name, replaces });
        }
        let all = limits.iter().enumerate().filter_map(|(index, limit)| {
            let counts_like =
                |earlier: &NamedLimit| Some(earlier.limit.as_ref()?.counts_like(limit.limit.as_ref()?));
            let has_own_bucket = limits[..index].iter().any(|earlier| counts_like(earlier) == Some(true));
            self.limit(shared, limit, has_own_bucket)
        });
        Applies::All(all.collect())
    }

    fn limit(&mut self, shared: &Shared, limit: &NamedLimit, has_own_bucket: bool) -> Option<Arc<RuleLimit>> {
        let overdraft = limit.limit.as_ref()?.overdraft();
        let limit = Arc::new(RuleLimit {
            index: LimitIndex::Configured(self.limits.len()),
            domain: Arc::clone(&self.domain),
            path: Arc::clone(&shared.path),
            tier: shared.tier.clone(),
            name: limit.name.clone(),
            has_own_bucket,
            replaces: limit.replaces.clone(),
            options: shared.options,
            on_store_failure: limit.on_store_failure,
            billing: (overdraft == Overdraft::Auto).then(|| Arc::clone(&shared.billing)),
            limit: limit.limit.clone()?,
        });
        self.limits.push(Arc::clone(&limit));
        Some(limit)
    }
}

impl Level {
    fn insert(&mut self, pattern: &Pattern, node: Node) {
        let child = self.children.len();
        self.children.push(node);
        let value = pattern.value.as_deref();
        let has_wild_key = is_wildcard(&pattern.key);
        if has_wild_key {
            let (key, value) = (Wildcard::new(&pattern.key), value.map(Wildcard::new));
            self.wild_keys.push(WildKey { key, value, child });
            if pattern.value.is_none() {
                return;
            }
        }
        let key = self.keys.entry(pattern.key.as_bytes().into()).or_default();
        let Some(value) = value else {
            key.any_value = Some(child);
            return;
        };
        key.values.insert(value.as_bytes().into(), child);
        if is_wildcard(value) && !has_wild_key {
            key.wild_values.push((Wildcard::new(value), child));
        }
    }
}

/// The items, without those that a later item of the same name replaces.
pub(super) fn last_of_each<'a, T, N: Eq + Hash>(
    items: &'a [T],
    name: impl Fn(&'a T) -> N,
) -> impl Iterator<Item = &'a T> {
    let last: HashMap<N, usize> = items.iter().enumerate().map(|(index, item)| (name(item), index)).collect();
    items.iter().enumerate().filter(move |(index, item)| last[&name(item)] == *index).map(|(_, item)| item)
}
