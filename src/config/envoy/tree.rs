//! Reads keys of maps, and skips what is not there or of another type.

use crate::config::{
    fields::{is_null, key_name, peek_text},
    scalar::{self, Value},
    yaml::{Kind, Node},
};

/// The value of a key, which `<<` may have inserted.
pub(super) fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Kind::Map(pairs) = node.kind() else { return None };
    let own = pairs.iter().rfind(|(key, _)| key_name(key) == Some(name)).map(|(_, value)| value);
    let inserted = || {
        let inserts = pairs.iter().filter(|(key, _)| key_name(key) == Some("<<"));
        inserts.rev().find_map(|(_, value)| match value.kind() {
            Kind::List(all) => all.iter().find_map(|one| get(one, name)),
            _ => get(value, name),
        })
    };
    own.or_else(inserted).filter(|value| !is_null(value))
}

/// The items of a list; none if there is no list.
pub(super) fn items<'n>(node: &'n Node, name: &str) -> &'n [Node] {
    match get(node, name).map(Node::kind) {
        Some(Kind::List(items)) => items,
        _ => &[],
    }
}

/// The keys and values of a map; none if there is no map.
pub(super) fn pairs<'n>(node: &'n Node, name: &str) -> &'n [(Node, Node)] {
    match get(node, name).map(Node::kind) {
        Some(Kind::Map(pairs)) => pairs,
        _ => &[],
    }
}

pub(super) fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    peek_text(node, name).or_else(|| match get(node, name)?.kind() {
        Kind::Scalar(scalar) => Some(scalar.text.as_str()),
        Kind::List(_) | Kind::Map(_) => None,
    })
}

/// A boolean; none if it is absent.
pub(super) fn optional_flag(node: &Node, name: &str) -> Option<bool> {
    match get(node, name)?.kind() {
        Kind::Scalar(scalar) => match scalar::resolve(scalar) {
            Value::Bool(flag) => Some(flag),
            _ => None,
        },
        Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A boolean; absent is false.
pub(super) fn flag(node: &Node, name: &str) -> bool {
    optional_flag(node, name).unwrap_or(false)
}

/// The name in `@type`, behind the slash.
pub(super) fn type_name(node: &Node) -> Option<&str> {
    text(node, "@type")?.rsplit('/').next()
}
