//! Recognizes files that are not limits files: saying what they are helps more than a list of unknown keys.

use super::{
    fields::key_name,
    scalar::{self, Value},
    yaml::{Kind, Node},
};

/// Keys that only Envoy's own configuration has at its top.
const OF_ENVOY: [&str; 12] = [
    "static_resources",
    "dynamic_resources",
    "layered_runtime",
    "@type",
    "typed_config",
    "http_filters",
    "filter_chains",
    "rate_limit_service",
    "route_config",
    "virtual_hosts",
    "load_assignment",
    "actions",
];
/// Keys that a limits file has at its top.
const OF_LIMITS: [&str; 3] = ["domain", "descriptors", "tiers"];

/// What the file is, and what to do instead; none if it may be a limits file.
pub(super) fn what_it_is(root: &Node) -> Option<&'static str> {
    let is_envoy = match root.kind() {
        // Filters, routes or actions, cut out of an Envoy configuration.
        Kind::List(items) => items.iter().any(is_of_envoy),
        _ => is_of_envoy(root),
    };
    if is_envoy {
        return Some(
            "this is an Envoy configuration, not a limits file: a limits file has `domain` and \
                 `descriptors` at its top, and Envoy's rate-limit filter names that domain",
        );
    }
    if has(root, "apiVersion") && has(root, "kind") {
        return Some(
            "this is a Kubernetes manifest, not a limits file: give the file that the ConfigMap holds in \
                 its `data`, or the folder where it is mounted",
        );
    }
    if is_members(root) {
        return Some(
            "this is a members file, or a map of lists like one, not a limits file, and no limits file \
                 names it; to name it, write `members: { file: …, key: …, default: … }`",
        );
    }
    None
}

fn is_of_envoy(node: &Node) -> bool {
    OF_ENVOY.iter().any(|name| has(node, name))
        // An xDS resource in a file.
        || list(node, "resources").is_some_and(|items| items.iter().any(|item| has(item, "@type")))
        // A bootstrap with nothing else.
        || (has(node, "node") && has(node, "admin"))
}

/// Tiers, each with a list of keys, and nothing that a limits file has.
fn is_members(root: &Node) -> bool {
    let Kind::Map(pairs) = root.kind() else { return false };
    let is_tier = |(key, value): &(Node, Node)| {
        let Kind::List(keys) = value.kind() else { return false };
        key_name(key).is_some_and(|name| !OF_LIMITS.contains(&name)) && keys.iter().all(is_key)
    };
    !pairs.is_empty() && pairs.iter().all(is_tier)
}

fn is_key(node: &Node) -> bool {
    matches!(node.kind(), Kind::Scalar(scalar) if !matches!(scalar::resolve(scalar), Value::Null))
}

fn has(node: &Node, name: &str) -> bool {
    value(node, name).is_some()
}

fn list<'a>(node: &'a Node, name: &str) -> Option<&'a [Node]> {
    match value(node, name)?.kind() {
        Kind::List(items) => Some(items),
        _ => None,
    }
}

fn value<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Kind::Map(pairs) = node.kind() else { return None };
    pairs.iter().find_map(|(key, value)| (key_name(key) == Some(name)).then_some(value))
}
