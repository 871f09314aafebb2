//! What envoyproxy/ratelimit asks of what it has decoded.

use std::collections::HashSet;

use super::{
    model::{Any, Descriptor, Limit},
    tree::{Is, Scalar},
};

const KEYS: [&str; 16] = [
    "domain",
    "key",
    "value",
    "descriptors",
    "rate_limit",
    "unit",
    "requests_per_unit",
    "unlimited",
    "shadow_mode",
    "quota_mode",
    "name",
    "replaces",
    "detailed_metric",
    "value_to_metric",
    "share_threshold",
    "metadata",
];

pub(super) fn keys_are_known(map: &[(Scalar, Any)]) -> bool {
    map.iter().all(|(key, value)| {
        key.is == Is::Text
            && KEYS.contains(&key.written)
            && (key.written == "metadata"
                || match value {
                    Any::Scalar(scalar) => !matches!(scalar.is, Is::Float(_)),
                    Any::List(items) => {
                        items.iter().all(|item| matches!(item, Any::Map(map) if keys_are_known(map)))
                    }
                    Any::Map(map) => keys_are_known(map),
                })
    })
}

pub(super) fn rules_are_sound(descriptors: &[Descriptor]) -> bool {
    let mut names = HashSet::new();
    descriptors.iter().all(|descriptor| {
        !descriptor.key.is_empty()
            && names.insert((&descriptor.key, &descriptor.value))
            && descriptor.limit.as_ref().is_none_or(is_sound)
            && rules_are_sound(&descriptor.descriptors)
    })
}

fn is_sound(limit: &Limit) -> bool {
    let unit = limit.unit.to_lowercase();
    let is_unit = ["second", "minute", "hour"].contains(&unit.as_str());
    limit.unlimited != is_unit && limit.replaces.iter().all(|name| !name.is_empty() && *name != limit.name)
}
