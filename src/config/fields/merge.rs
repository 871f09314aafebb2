//! The order in which Go's `yaml.v2` sets the keys of a map, including those that `<<` inserts at its own place.

use crate::config::yaml::{Kind, Node};

/// The next item of a map.
pub(in crate::config) enum Step<'a> {
    Set(Setting<'a>),
    /// An earlier `<<` whose value is neither a map nor a list of maps.
    NoMap(&'a Node),
}

/// A key of the map, and its value.
#[derive(Clone, Copy)]
pub(in crate::config) struct Setting<'a> {
    pub(in crate::config) key: &'a Node,
    pub(in crate::config) value: &'a Node,
    /// The `<<` of this map that inserted it.
    pub(in crate::config) by: Option<&'a Node>,
}

/// All settings of a map, in order. The last of equal keys counts.
pub(in crate::config) fn steps(pairs: &[(Node, Node)]) -> Vec<Step<'_>> {
    let mut steps = Vec::with_capacity(pairs.len());
    add(pairs, None, &mut steps);
    steps
}

fn add<'a>(pairs: &'a [(Node, Node)], by: Option<&'a Node>, steps: &mut Vec<Step<'a>>) {
    for (key, value) in pairs {
        if is_merge(key) {
            merge(value, by.or(Some(key)), steps);
        } else {
            steps.push(Step::Set(Setting { key, value, by }));
        }
    }
}

/// Inserts a map, or the maps of a list, the first of which overrides the others.
fn merge<'a>(from: &'a Node, by: Option<&'a Node>, steps: &mut Vec<Step<'a>>) {
    match from.kind() {
        Kind::Map(pairs) => add(pairs, by, steps),
        // The reference takes a list only where it is written out.
        Kind::List(maps) if !from.is_alias() => {
            for map in maps.iter().rev() {
                match map.kind() {
                    Kind::Map(pairs) => add(pairs, by, steps),
                    _ => steps.push(Step::NoMap(map)),
                }
            }
        }
        _ => steps.push(Step::NoMap(from)),
    }
}

pub(in crate::config) fn is_merge(key: &Node) -> bool {
    matches!(key.kind(), Kind::Scalar(scalar) if scalar.plain && scalar.text == "<<")
}
