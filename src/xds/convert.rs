//! Makes checked domains of the resources of an answer.
//!
//! The check is that of files, and so are its errors, except that a descriptor is named by the keys and values that
//! lead to it. An answer with an error is refused as a whole.

use std::collections::HashMap;

use prost_types::{ListValue, Struct, value::Kind};

use super::{
    answer::{Answer, MAX_MESSAGES, ResourceError},
    fault::{DOMAIN, Fault, Faults},
    rule::{self, Rule},
};
use crate::{
    config::{self, Checked, Value},
    error::chain,
    pb::rules::{RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit},
};
use tollgate_core::{
    limit::{Defaults, LimitSpec, Overdraft, Unit},
    rules::Domain,
};

/// What the messages do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unsaid {
    pub(super) overdraft: Overdraft,
    pub(super) counting: Defaults,
}

/// The rules of an answer, which are in order.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// No name twice.
    pub(super) domains: Vec<Domain>,
    /// What is legal, but probably a mistake.
    pub(super) warnings: Faults,
}

/// Checks all resources. Fails with every error.
pub(super) fn convert(answer: &Answer, unsaid: Unsaid) -> Result<Converted, Faults> {
    let (mut converted, mut errors) = (Converted::default(), Faults::default());
    for (name, descriptors) in by_domain(answer, &mut errors) {
        if let Some(domain) = domain(&name, descriptors, unsaid, &mut converted.warnings, &mut errors) {
            converted.domains.push(domain);
        }
    }
    if errors.is_empty() { Ok(converted) } else { Err(errors) }
}

/// The descriptors of each domain, in the order of the answer. Two resources with one domain add up, as two files do.
fn by_domain(answer: &Answer, errors: &mut Faults) -> Vec<(String, Vec<RateLimitDescriptor>)> {
    let mut left = MAX_MESSAGES;
    let (mut domains, mut places) = (Vec::<(String, Vec<RateLimitDescriptor>)>::new(), HashMap::new());
    for (index, resource) in answer.resources.iter().enumerate() {
        match resource.decode(&mut left) {
            Ok(RateLimitConfig { name, domain, descriptors }) => {
                if domain.is_empty() {
                    let resource = if name.is_empty() { index.to_string() } else { config::shorten(&name) };
                    errors.add(Fault::of_resource(&resource, "domain must not be empty".to_owned()));
                    continue;
                }
                let place = *places.entry(domain.clone()).or_insert(domains.len());
                match domains.get_mut(place) {
                    None => domains.push((domain, descriptors)),
                    Some((_, first)) => first.extend(descriptors),
                }
            }
            Err(error) => {
                errors.add(Fault::of_resource(&index.to_string(), chain(&error).to_string()));
                if matches!(error, ResourceError::TooMany) {
                    break;
                }
            }
        }
    }
    domains
}

fn domain(
    name: &str,
    descriptors: Vec<RateLimitDescriptor>,
    unsaid: Unsaid,
    warnings: &mut Faults,
    errors: &mut Faults,
) -> Option<Domain> {
    let mut disagreements = Vec::new();
    let rules = rule::merged(descriptors, &mut disagreements);
    for rule::Disagreement { path, what } in disagreements {
        warnings.add(Fault { domain: config::shorten(name), path: path.join(" / "), what: what.to_owned() });
    }
    let mut number = DOMAIN;
    let descriptors: Vec<Value> = rules.iter().map(|rule| value(rule, unsaid, &mut number)).collect();
    let root = [("domain", Value::text(DOMAIN, name)), ("descriptors", Value::list(DOMAIN, descriptors))];
    let Checked { domains, warnings: doubts, .. } =
        config::check_message(name, &Value::map(DOMAIN, root), unsaid.counting);
    warnings.add_all(name, &rules, doubts);
    match domains {
        Ok(mut domains) => domains.pop(),
        Err(found) => {
            errors.add_all(name, &rules, found);
            None
        }
    }
}

// === in the words of a file ===

/// The rules are numbered from [`DOMAIN`] on, each before those below it.
fn value(rule: &Rule, unsaid: Unsaid, last: &mut usize) -> Value {
    *last += 1;
    let number = *last;
    let mut pairs = vec![("key", Value::text(number, rule.key.as_str()))];
    if !rule.value.is_empty() {
        pairs.push(("value", Value::text(number, rule.value.as_str())));
    }
    let flags = [
        ("shadow_mode", rule.flags.shadow_mode),
        ("quota_mode", rule.flags.quota_mode),
        ("detailed_metric", rule.flags.detailed_metric),
    ];
    pairs
        .extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (name, plain(number, true))));
    if let Some(metadata) = &rule.metadata {
        pairs.push(("metadata", structure(number, metadata)));
    }
    match rule.limits.as_slice() {
        [] => {}
        [one] => pairs.push(("rate_limit", limit(number, one, unsaid))),
        several => {
            let limits = several.iter().map(|one| limit(number, one, unsaid));
            pairs.push(("rate_limits", Value::list(number, limits)));
        }
    }
    if !rule.below.is_empty() {
        let below: Vec<Value> = rule.below.iter().map(|rule| value(rule, unsaid, last)).collect();
        pairs.push(("descriptors", Value::list(number, below)));
    }
    Value::map(number, pairs)
}

fn limit(number: usize, policy: &RateLimitPolicy, unsaid: Unsaid) -> Value {
    let mut pairs = Vec::new();
    let unit = RateLimitUnit::try_from(policy.unit).map_or(policy.unit.to_string(), |unit| match unit {
        RateLimitUnit::Unknown => String::new(),
        unit => unit.as_str_name().to_ascii_lowercase(),
    });
    if policy.unlimited {
        pairs.push(("unlimited", plain(number, true)));
    } else {
        pairs.push(("requests_per_unit", plain(number, policy.requests_per_unit)));
        pairs.push(("overdraft", Value::text(number, overdraft(policy, &unit, unsaid).name())));
    }
    if !unit.is_empty() {
        pairs.push(("unit", Value::text(number, unit)));
    }
    if !policy.name.is_empty() {
        pairs.push(("name", Value::text(number, policy.name.as_str())));
    }
    if !policy.replaces.is_empty() {
        let named = |name: &String| Value::map(number, [("name", Value::text(number, name.as_str()))]);
        let replaces = policy.replaces.iter().map(|replaced| named(&replaced.name));
        pairs.push(("replaces", Value::list(number, replaces)));
    }
    Value::map(number, pairs)
}

/// Limits that are too large to owe, such as 4294967295 a year, are never used up, so they need not owe.
fn overdraft(policy: &RateLimitPolicy, unit: &str, unsaid: Unsaid) -> Overdraft {
    let Some(unit) = Unit::from_name(unit) else { return unsaid.overdraft };
    let spec = unsaid.counting.spec(policy.requests_per_unit, unit.into());
    let spec = LimitSpec { overdraft: unsaid.overdraft, ..spec };
    if spec.check().is_ok() { unsaid.overdraft } else { Overdraft::Never }
}

fn plain(number: usize, spelled: impl ToString) -> Value {
    Value::plain(number, spelled.to_string())
}

fn structure(number: usize, Struct { fields }: &Struct) -> Value {
    Value::map(
        number,
        fields.iter().map(|(name, value)| (name.as_str(), free_value(number, value.kind.as_ref()))),
    )
}

fn free_value(number: usize, kind: Option<&Kind>) -> Value {
    match kind {
        None | Some(Kind::NullValue(_)) => plain(number, "null"),
        Some(Kind::BoolValue(flag)) => plain(number, flag),
        Some(Kind::NumberValue(size)) if size.is_nan() => plain(number, ".nan"),
        Some(Kind::NumberValue(size)) if size.is_infinite() => {
            plain(number, if *size > 0.0 { ".inf" } else { "-.inf" })
        }
        Some(Kind::NumberValue(size)) => plain(number, format!("{size:?}")),
        Some(Kind::StringValue(text)) => Value::text(number, text.as_str()),
        Some(Kind::StructValue(map)) => structure(number, map),
        Some(Kind::ListValue(ListValue { values })) => {
            Value::list(number, values.iter().map(|value| free_value(number, value.kind.as_ref())))
        }
    }
}

#[cfg(test)]
mod tests;
