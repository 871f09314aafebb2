//! The descriptors of a message as a tree in which no two siblings have one key and value.
//!
//! Envoy Gateway sends such siblings, for example for a range of addresses that one rule names alone and another with
//! a header. They become one: what is below both is below it. Of their limits all apply, but of two with one period
//! only the lower, since the higher would never be reached.

use std::collections::HashMap;

use crate::{
    config::shorten,
    pb::rules::{RateLimitDescriptor, RateLimitPolicy},
};
use prost_types::Struct;

/// One descriptor, and what is below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rule {
    pub(super) key: String,
    /// Empty: any value.
    pub(super) value: String,
    /// At most one for each unit.
    pub(super) limits: Vec<RateLimitPolicy>,
    pub(super) flags: Flags,
    pub(super) metadata: Option<Struct>,
    pub(super) below: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    pub(super) shadow_mode: bool,
    pub(super) quota_mode: bool,
    pub(super) detailed_metric: bool,
}

/// What became of limits of siblings that disagree. The path is that of [`Rule::name`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) path: Vec<String>,
    pub(super) what: &'static str,
}

const BOTH: &str = "it comes twice, and the limits differ: both apply";
const LOWER: &str = "it comes twice, with two limits for one period: the lower applies";
const LIMITED: &str = "it comes twice, once unlimited: the limit applies";
const ENFORCED: &str = "it comes twice, once in shadow mode: only the limit that is enforced applies";
const NO_QUOTA: &str = "it comes twice, once in quota mode: its limits are enforced, each by itself";

/// Merges siblings, at all levels.
pub(super) fn merged(descriptors: Vec<RateLimitDescriptor>, told: &mut Vec<Disagreement>) -> Vec<Rule> {
    level(descriptors, &mut Vec::new(), told)
}

fn level(
    descriptors: Vec<RateLimitDescriptor>,
    path: &mut Vec<String>,
    told: &mut Vec<Disagreement>,
) -> Vec<Rule> {
    let mut places = HashMap::with_capacity(descriptors.len());
    let mut rules: Vec<(Rule, Vec<RateLimitDescriptor>)> = Vec::with_capacity(descriptors.len());
    for descriptor in descriptors {
        let (rule, below) = Rule::new(descriptor);
        let place = *places.entry((rule.key.clone(), rule.value.clone())).or_insert(rules.len());
        match rules.get_mut(place) {
            None => rules.push((rule, below)),
            Some((first, first_below)) => {
                path.push(first.name());
                first.add(rule, |what| told.push(Disagreement { path: path.clone(), what }));
                path.pop();
                first_below.extend(below);
            }
        }
    }
    let with_below = |(mut rule, below): (Rule, Vec<RateLimitDescriptor>)| {
        path.push(rule.name());
        rule.below = level(below, path, told);
        path.pop();
        rule
    };
    rules.into_iter().map(with_below).collect()
}

// === impl Rule ===

impl Rule {
    /// The rule without what is below it.
    fn new(descriptor: RateLimitDescriptor) -> (Rule, Vec<RateLimitDescriptor>) {
        let RateLimitDescriptor { key, value, rate_limit, descriptors, .. } = descriptor;
        let flags = Flags {
            shadow_mode: descriptor.shadow_mode,
            quota_mode: descriptor.quota_mode,
            detailed_metric: descriptor.detailed_metric,
        };
        let (limits, metadata) = (rate_limit.into_iter().collect(), descriptor.metadata);
        (Rule { key, value, limits, flags, metadata, below: Vec::new() }, descriptors)
    }

    /// `key=value`, or the key alone if the value says nothing more.
    pub(super) fn name(&self) -> String {
        match self.value.as_str() {
            "" => shorten(&self.key),
            value if value == self.key => shorten(&self.key),
            value => format!("{}={}", shorten(&self.key), shorten(value)),
        }
    }

    /// Adds a sibling with the same key and value.
    fn add(&mut self, other: Rule, mut tell: impl FnMut(&'static str)) {
        if let Some(more) = other.metadata {
            let own = self.metadata.get_or_insert_default();
            for (name, value) in more.fields {
                own.fields.entry(name).or_insert(value);
            }
        }
        let detailed_metric = self.flags.detailed_metric || other.flags.detailed_metric;
        // Flags mean something only where there is a limit.
        match (self.limits.is_empty(), other.limits.is_empty()) {
            (_, true) => {}
            (true, false) => (self.limits, self.flags) = (other.limits, other.flags),
            (false, false) => self.add_limits(other.limits, other.flags, &mut tell),
        }
        self.flags.detailed_metric = detailed_metric;
    }

    fn add_limits(
        &mut self,
        limits: Vec<RateLimitPolicy>,
        flags: Flags,
        tell: &mut impl FnMut(&'static str),
    ) {
        // A shadow limit that was enforced would deny, and one that is enforced in shadow mode would not.
        if self.flags.shadow_mode != flags.shadow_mode {
            tell(ENFORCED);
            if self.flags.shadow_mode {
                (self.limits, self.flags) = (limits, flags);
            }
            return;
        }
        if self.flags.quota_mode != flags.quota_mode {
            tell(NO_QUOTA);
            self.flags.quota_mode = false;
        }
        for limit in limits {
            self.add_limit(limit, tell);
        }
    }

    fn add_limit(&mut self, limit: RateLimitPolicy, tell: &mut impl FnMut(&'static str)) {
        let is_unlimited = self.limits.iter().any(|own| own.unlimited);
        if self.limits.contains(&limit) || (is_unlimited && limit.unlimited) {
            return;
        }
        if is_unlimited || limit.unlimited {
            tell(LIMITED);
            if !limit.unlimited {
                self.limits = vec![limit];
            }
            return;
        }
        match self.limits.iter_mut().find(|own| own.unit == limit.unit) {
            None => {
                tell(BOTH);
                self.limits.push(limit);
            }
            Some(own) => {
                tell(LOWER);
                if limit.requests_per_unit < own.requests_per_unit {
                    *own = limit;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
