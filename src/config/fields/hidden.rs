//! Values that a later value of the same key hides.
//!
//! Go's `yaml.v2` decodes them nevertheless, so they must have the type of the key. Nothing else is checked.

use super::{Fields, found, is_null, merge};
use crate::config::{
    report::shorten,
    scalar::{self, Value},
    yaml::{Kind, Node},
};

/// The type that the reference decodes a value into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    Flag,
    Map(Within),
    List(Within),
    /// Anything: it is skipped, or kept as it is.
    Free,
}

/// A map of the reference, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Descriptor,
    Limit,
    Replaced,
    Metadata,
}

// === impl Shape ===

impl Shape {
    /// The shape of a key's value, where the key belongs.
    pub(super) fn from_name(name: &str) -> Shape {
        match name {
            "domain" | "key" | "value" | "unit" | "name" => Shape::Text,
            "requests_per_unit" => Shape::Number,
            "shadow_mode" | "quota_mode" | "detailed_metric" | "value_to_metric" | "share_threshold"
            | "unlimited" => Shape::Flag,
            "rate_limit" => Shape::Map(Within::Limit),
            "metadata" => Shape::Map(Within::Metadata),
            "descriptors" => Shape::List(Within::Descriptor),
            "replaces" => Shape::List(Within::Replaced),
            _ => Shape::Free,
        }
    }

    fn below(within: Within, name: &str) -> Shape {
        let belongs = match within {
            Within::Descriptor => {
                !matches!(name, "domain" | "unit" | "name" | "requests_per_unit" | "unlimited" | "replaces")
            }
            Within::Limit => {
                matches!(name, "unit" | "name" | "requests_per_unit" | "unlimited" | "replaces")
            }
            Within::Replaced => name == "name",
            Within::Metadata => false,
        };
        if belongs { Shape::from_name(name) } else { Shape::Free }
    }

    fn takes(self, node: &Node) -> bool {
        match (self, node.kind()) {
            (Shape::Free, _) | (Shape::Map(_), Kind::Map(_)) | (Shape::List(_), Kind::List(_)) => true,
            (_, Kind::Scalar(_)) if is_null(node) => true,
            (Shape::Text, Kind::Scalar(_)) => true,
            (Shape::Number, Kind::Scalar(scalar)) => scalar::cut_to_u32(scalar).is_some(),
            (Shape::Flag, Kind::Scalar(scalar)) => matches!(scalar::resolve(scalar), Value::Bool(_)),
            _ => false,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Shape::Text => "a string",
            Shape::Number => scalar::U32,
            Shape::Flag => "true or false",
            Shape::Map(_) => "a map",
            Shape::List(_) => "a list",
            Shape::Free => "anything",
        }
    }
}

impl Fields<'_> {
    /// Reports a value that cannot be decoded into the key's shape.
    pub(super) fn hidden(&mut self, name: &str, node: &Node, shape: Shape) {
        if !shape.takes(node) {
            let (words, found) = (shape.words(), found(node));
            let name = shorten(name);
            self.refuse(node.at, format_args!("{name} must be {words}, found {found}"));
            return;
        }
        match (node.kind(), shape) {
            (Kind::Scalar(_), _) => {}
            (Kind::List(items), Shape::List(within)) => {
                items.iter().for_each(|item| self.hidden(name, item, Shape::Map(within)));
            }
            (Kind::List(items), _) => items.iter().for_each(|item| self.hidden(name, item, Shape::Free)),
            (Kind::Map(pairs), shape) => {
                for step in merge::steps(pairs) {
                    let Some(set) = self.decoded(step) else { continue };
                    let Kind::Scalar(key) = set.key.kind() else { continue };
                    let shape = match shape {
                        Shape::Map(within) => Shape::below(within, &key.text),
                        _ => Shape::Free,
                    };
                    self.hidden(&key.text, set.value, shape);
                }
            }
        }
    }

    /// The setting, if it can be decoded; else it is reported.
    pub(super) fn decoded<'a>(&mut self, step: merge::Step<'a>) -> Option<merge::Setting<'a>> {
        match step {
            merge::Step::NoMap(from) => {
                let hint = if from.is_alias() && matches!(from.kind(), Kind::List(_)) {
                    " that an alias names; write the list out"
                } else {
                    ""
                };
                let found = found(from);
                self.refuse(from.at, format_args!("`<<` takes a map or a list of maps, found {found}{hint}"));
                None
            }
            merge::Step::Set(set) if !matches!(set.key.kind(), Kind::Scalar(_)) => {
                let found = found(set.key);
                self.refuse(set.key.at, format_args!("a key must be a string, found {found}"));
                None
            }
            merge::Step::Set(set) => Some(set),
        }
    }
}
