//! Reading a map of the tree, key by key, and noting what is wrong instead of stopping at it.
//!
//! A check asks its [`Fields`] for each key that it knows, in `typed`. Whatever is left when the check is done
//! is unknown or out of place, so what may stand in a map is said in one place: the check.
//!
//! As in Go's `yaml.v2`, the last of two equal keys counts, and `<<` puts in what it names where it stands.

mod stray;
mod typed;

use std::{collections::HashMap, fmt};

use super::{
    error::Position,
    report::{Place, Report, Reported, shorten},
    scalar::{self, Value},
    yaml::{Kind, Node},
};
use crate::limit::LimitError;

/// A map that is being read.
pub(super) struct Fields<'a> {
    at: Position,
    place: &'a Place<'a>,
    report: &'a mut Report,
    fields: Vec<Field<'a>>,
    known: Vec<&'static str>,
}

struct Field<'a> {
    name: &'a str,
    at: Position,
    value: &'a Node,
    /// By `<<`, so that it is there to be overridden.
    merged: bool,
    taken: bool,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Runs `check` on the keys of `node`, then reports the keys that it did not ask for.
    ///
    /// `what` names the node in the message that it is no map.
    pub(super) fn read<T>(
        node: &'a Node,
        what: fmt::Arguments<'_>,
        place: &'a Place<'a>,
        report: &'a mut Report,
        check: impl FnOnce(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        let Kind::Map(pairs) = node.kind() else {
            let place = place.parent();
            return Err(report.refuse(
                node.at,
                place,
                format_args!("{what} must be a map, found {}", found(node)),
            ));
        };
        let mut fields = Fields { at: node.at, place, report, fields: Vec::new(), known: Vec::new() };
        fields.collect(pairs);
        let checked = check(&mut fields);
        fields.close();
        checked
    }

    fn collect(&mut self, pairs: &'a [(Node, Node)]) {
        let mut places = HashMap::new();
        for (key, value) in pairs {
            if is_merge(key) {
                self.merge(value, &mut places);
                continue;
            }
            let Some(name) = key_name(key) else {
                self.refuse(key.at, format_args!("a key must be a string, found {}", found(key)));
                continue;
            };
            let field = Field { name, at: key.at, value, merged: false, taken: false };
            match places.get(name) {
                Some(&place) => {
                    let earlier: &Field<'_> = &self.fields[place];
                    if !earlier.merged {
                        let (line, name) = (earlier.at.line, shorten(name));
                        self.warn(
                            key.at,
                            format_args!(
                                "`{name}` stands twice in this map, and the last counts; the first is at line {line}"
                            ),
                        );
                    }
                    self.fields[place] = field;
                }
                None => {
                    places.insert(name, self.fields.len());
                    self.fields.push(field);
                }
            }
        }
    }

    /// Puts in a map, or the maps of a list, of which the first has the last word.
    fn merge(&mut self, from: &'a Node, places: &mut HashMap<&'a str, usize>) {
        match from.kind() {
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    if is_merge(key) {
                        self.merge(value, places);
                    } else if let Some(name) = key_name(key) {
                        let field = Field { name, at: key.at, value, merged: true, taken: false };
                        match places.get(name) {
                            Some(&place) => self.fields[place] = field,
                            None => {
                                places.insert(name, self.fields.len());
                                self.fields.push(field);
                            }
                        }
                    }
                }
            }
            Kind::List(maps) if maps.iter().all(|map| matches!(map.kind(), Kind::Map(_))) => {
                maps.iter().rev().for_each(|map| self.merge(map, places));
            }
            _ => {
                self.refuse(
                    from.at,
                    format_args!("`<<` takes a map or a list of maps, found {}", found(from)),
                );
            }
        }
    }

    /// The value of a key; none when it is absent or null.
    fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let field = self.fields.iter_mut().find(|field| field.name == name)?;
        field.taken = true;
        Some(field.value).filter(|node| !is_null(node))
    }

    /// Whether a key stands here, with something behind it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name && !is_null(field.value))
    }

    /// Where the map starts.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Where the value of a key stands, or else the map.
    pub(super) fn at_value(&self, name: &str) -> Position {
        self.fields.iter().find(|field| field.name == name).map_or(self.at, |field| field.value.at)
    }

    /// Where a key stands, or else the map.
    pub(super) fn at_key(&self, name: &str) -> Position {
        self.fields.iter().find(|field| field.name == name).map_or(self.at, |field| field.at)
    }

    pub(super) fn warn(&mut self, at: Position, message: fmt::Arguments<'_>) {
        self.report.warn(at, self.place, message);
    }

    pub(super) fn refuse(&mut self, at: Position, message: fmt::Arguments<'_>) -> Reported {
        self.report.refuse(at, self.place, message)
    }

    pub(super) fn refuse_limit(&mut self, at: Position, source: LimitError) -> Reported {
        self.report.refuse_limit(at, self.place, source)
    }
}

/// The text that stands under a key of a map, if that is what stands there. Reports nothing.
pub(super) fn peek_text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let Kind::Map(pairs) = node.kind() else { return None };
    let (_, value) = pairs.iter().find(|(key, _)| key_name(key) == Some(name))?;
    match value.kind() {
        Kind::Scalar(scalar) if !is_null(value) => Some(&scalar.text),
        _ => None,
    }
}

fn is_merge(key: &Node) -> bool {
    matches!(key.kind(), Kind::Scalar(scalar) if scalar.plain && scalar.text == "<<")
}

pub(super) fn is_null(node: &Node) -> bool {
    matches!(node.kind(), Kind::Scalar(scalar) if scalar::resolve(scalar) == Value::Null)
}

pub(super) fn key_name(key: &Node) -> Option<&str> {
    match key.kind() {
        Kind::Scalar(scalar) if !is_null(key) => Some(&scalar.text),
        _ => None,
    }
}

/// What a message says was found. Texts are not repeated: they may be long, and the position is there.
pub(super) fn found(node: &Node) -> String {
    let scalar = match node.kind() {
        Kind::Scalar(scalar) => scalar,
        Kind::List(_) => return "a list".to_owned(),
        Kind::Map(_) => return "a map".to_owned(),
    };
    match scalar::resolve(scalar) {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => format!("the boolean {}", scalar.text),
        Value::Int(_) | Value::Float => format!("the number {}", shorten(&scalar.text)),
        Value::Text => "a string".to_owned(),
    }
}
