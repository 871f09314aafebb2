//! Reads a map of the tree key by key, and notes errors instead of stopping at the first.
//!
//! A check asks its [`Fields`] for each key that it knows, in `typed`. The keys that are left when the check is done
//! are unknown or misplaced. So the check alone says which keys a map may have.
//!
//! Keys are read as Go's `yaml.v2` reads them: the last of equal keys counts, and `<<` inserts a map at its own place.
//! A map as a value (`rate_limit`, `metadata`) is set key by key, so if there are several, all of them count.

mod hidden;
pub(super) mod merge;
mod metadata;
mod stray;
mod typed;

use std::{collections::HashMap, fmt, path::PathBuf};

use hidden::Shape;
use smallvec::SmallVec;

use super::{
    error::Position,
    report::{Place, Report, Reported, shorten},
    scalar::{self, Value},
    yaml::{Kind, Node},
};
use tollgate_core::limit::LimitError;

/// A map that is being read. It may have several parts.
pub(super) struct Fields<'a> {
    at: Position,
    place: &'a Place<'a>,
    report: &'a mut Report,
    fields: Vec<Field<'a>>,
    known: Vec<&'static str>,
}

struct Field<'a> {
    name: &'a str,
    /// The position of the last of the equal keys.
    at: Position,
    /// In the order in which they count.
    values: Parts<'a>,
    /// The part of the map that had the key last; none if `<<` inserted it.
    in_part: Option<usize>,
    taken: bool,
}

/// The values of a key. If they are maps, they are parts of one map.
type Parts<'a> = SmallVec<[Part<'a>; 1]>;

#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    node: &'a Node,
    /// A later map of the same key hides it from the check of the reference, which knows only the last.
    overlooked: bool,
}

// === impl Part ===

impl<'a> Part<'a> {
    pub(super) fn whole(node: &'a Node) -> Part<'a> {
        Part { node, overlooked: false }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Runs `check` on the keys of all parts, then reports the keys that it did not ask for.
    ///
    /// `what` names a part in the message that it is not a map. There must be a part.
    pub(super) fn read<T>(
        parts: &[Part<'a>],
        what: fmt::Arguments<'_>,
        place: &'a Place<'a>,
        report: &'a mut Report,
        check: impl FnOnce(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        let (mut at, mut reported) = (super::START, Ok(()));
        for Part { node, .. } in parts {
            at = node.at;
            if !matches!(node.kind(), Kind::Map(_)) {
                let found = found(node);
                let place = place.parent();
                reported =
                    Err(report.refuse(node.at, place, format_args!("{what} must be a map, found {found}")));
            }
        }
        reported?;
        let mut fields = Fields { at, place, report, fields: Vec::new(), known: Vec::new() };
        fields.collect(parts);
        let checked = check(&mut fields);
        fields.close();
        checked
    }

    /// Reads some keys of `root` before its check. It reports no errors, because the check does.
    pub(super) fn peek<T>(root: &Node, look: impl FnOnce(&mut Fields<'_>) -> T) -> T {
        let mut unheard = Report::new(PathBuf::new());
        let (fields, known) = (Vec::new(), Vec::new());
        let mut fields = Fields { at: root.at, place: &Place::Root, report: &mut unheard, fields, known };
        fields.collect(&[Part::whole(root)]);
        look(&mut fields)
    }

    fn collect(&mut self, parts: &[Part<'a>]) {
        let mut places = HashMap::new();
        for (number, part) in parts.iter().enumerate() {
            let Kind::Map(pairs) = part.node.kind() else { continue };
            for step in merge::steps(pairs) {
                let Some(set) = self.decoded(step) else { continue };
                let Some(name) = key_name(set.key) else {
                    self.nameless(set.key, part.overlooked);
                    continue;
                };
                let value = Part { node: set.value, overlooked: part.overlooked };
                let place = *places.entry(name).or_insert(self.fields.len());
                if place == self.fields.len() {
                    let values = Parts::new();
                    self.fields.push(Field { name, at: set.key.at, values, in_part: None, taken: false });
                }
                if self.fields[place].in_part == Some(number) {
                    self.warn_twice(place, set);
                }
                let field = &mut self.fields[place];
                field.at = set.key.at;
                field.values.push(value);
                field.in_part = set.by.is_none().then_some(number);
            }
        }
    }

    /// Sets a key that the map already has again.
    fn warn_twice(&mut self, place: usize, again: merge::Setting<'_>) {
        let Field { name, at, .. } = self.fields[place];
        let shown = shorten(name);
        if let Some(by) = again.by {
            let line = by.at.line;
            self.warn(
                at,
                format_args!("the `<<` at line {line} comes later and overrides `{shown}`; put `<<` first"),
            );
            return;
        }
        let line = at.line;
        let counts = match name {
            "rate_limit" | "metadata" | "members" => "both count; where both set a key, the last one wins",
            _ => "the last counts",
        };
        self.warn(
            again.key.at,
            format_args!("`{shown}` is given twice in this map, and {counts}; the first is at line {line}"),
        );
    }

    /// The value of a key; none if it is absent or null. The earlier values that it hides must fit the key too.
    fn take(&mut self, name: &'static str) -> Option<Part<'a>> {
        let mut values = self.take_all(name);
        let last = values.pop();
        for part in values {
            self.hidden(name, part.node, Shape::from_name(name));
        }
        last
    }

    /// The parts of the map under a key; none if it is absent or null. A null before them does not hide them.
    fn take_all(&mut self, name: &'static str) -> Parts<'a> {
        self.known.push(name);
        let Some(field) = self.fields.iter_mut().find(|field| field.name == name) else {
            return Parts::new();
        };
        field.taken = true;
        let mut values = field.values.clone();
        let from = values.iter().rposition(|part| is_null(part.node)).map_or(0, |null| null + 1);
        let hidden: Parts<'a> = values.drain(..from).collect();
        for part in hidden {
            self.hidden(name, part.node, Shape::from_name(name));
        }
        if let Some((_, earlier)) = values.split_last_mut() {
            earlier.iter_mut().for_each(|part| part.overlooked = true);
        }
        values
    }

    /// Knows this key, which is not read.
    pub(super) fn forget(&mut self, name: &'static str) {
        self.take(name);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The number of items of a list; 0 if there is none.
    pub(super) fn items(&self, name: &str) -> usize {
        match self.last(name).map(|(_, value)| value.kind()) {
            Some(Kind::List(items)) => items.len(),
            _ => 0,
        }
    }

    /// Whether the map has this key with a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some_and(|(_, value)| !is_null(value))
    }

    /// Whether the map has this key, with or without a value.
    pub(super) fn has_key(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// Whether the map has this key without a value, not even a written null.
    pub(super) fn is_left_empty(&self, name: &str) -> bool {
        let is_empty = |node: &Node| matches!(node.kind(), Kind::Scalar(scalar) if scalar.plain && scalar.text.is_empty());
        self.last(name).is_some_and(|(_, value)| is_empty(value))
    }

    /// The position of a key, and its value.
    fn last(&self, name: &str) -> Option<(Position, &'a Node)> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        Some((field.at, field.values.last()?.node))
    }

    /// The position of the map.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// The position of the value of a key, or of the map if there is none.
    pub(super) fn at_value(&self, name: &str) -> Position {
        self.last(name).map_or(self.at, |(_, value)| value.at)
    }

    /// The position of a key, or of the map if there is none.
    pub(super) fn at_key(&self, name: &str) -> Position {
        self.last(name).map_or(self.at, |(at, _)| at)
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

/// The value of a key of a map, if it is text. Reports nothing.
pub(super) fn peek_text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let Kind::Map(pairs) = node.kind() else { return None };
    let (_, value) = pairs.iter().rfind(|(key, _)| key_name(key) == Some(name))?;
    match value.kind() {
        Kind::Scalar(scalar) if !is_null(value) => Some(&scalar.text),
        _ => None,
    }
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

/// The kind of a value, for messages. Texts are not repeated: they may be long, and the position shows them.
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
