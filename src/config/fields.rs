//! Reading a map of the tree, key by key, and noting what is wrong instead of stopping at it.
//!
//! A check asks its [`Fields`] for each key that it knows. Whatever is left when the check is done is
//! an unknown key, so what may stand in a map is said in one place: the check.

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
        let mut lines = HashMap::new();
        for (key, value) in pairs {
            let Some(name) = key_name(key) else {
                self.refuse(key.at, format_args!("a key must be a string, found {}", found(key)));
                continue;
            };
            if let Some(line) = lines.get(name) {
                let name = shorten(name);
                self.refuse(
                    key.at,
                    format_args!("`{name}` stands twice in this map; the first is at line {line}"),
                );
                continue;
            }
            lines.insert(name, key.at.line);
            self.fields.push(Field { name, at: key.at, value, taken: false });
        }
    }

    fn close(mut self) {
        for field in std::mem::take(&mut self.fields).iter().filter(|field| !field.taken) {
            let name = shorten(field.name);
            match closest(field.name, &self.known) {
                Some(near) => {
                    self.refuse(field.at, format_args!("unknown key `{name}`; did you mean `{near}`?"))
                }
                None => self.refuse(field.at, format_args!("unknown key `{name}`")),
            };
        }
    }

    /// The value of a key; none when it is absent or null.
    fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let field = self.fields.iter_mut().find(|field| field.name == name)?;
        field.taken = true;
        Some(field.value).filter(|node| !is_null(node))
    }

    /// Where the map starts.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Where the value of a key stands, or else the map.
    pub(super) fn at_value(&self, name: &str) -> Position {
        self.fields.iter().find(|field| field.name == name).map_or(self.at, |field| field.value.at)
    }

    pub(super) fn refuse(&mut self, at: Position, message: fmt::Arguments<'_>) -> Reported {
        self.report.refuse(at, self.place, message)
    }

    pub(super) fn refuse_limit(&mut self, at: Position, source: LimitError) -> Reported {
        self.report.refuse_limit(at, self.place, source)
    }

    /// Text, or a number or boolean as it is spelled, which is how the reference reads them too.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Reported> {
        let Some(node) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && scalar::resolve(scalar) != Value::Float
        {
            return Ok(Some(scalar.text.clone()));
        }
        Err(self.refuse(node.at, format_args!("{name} must be a string, found {}", found(node))))
    }

    /// Text that must be there and hold something.
    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String, Reported> {
        match self.text(name)? {
            Some(text) if text.is_empty() => {
                let at = self.at_value(name);
                Err(self.refuse(at, format_args!("{name} must not be empty")))
            }
            Some(text) => Ok(text),
            None => {
                let at = self.at_value(name);
                Err(self.refuse(at, format_args!("{name} is missing")))
            }
        }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u32>, Reported> {
        let Some(node) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && let Value::Int(int) = scalar::resolve(scalar)
            && let Ok(number) = u32::try_from(int)
        {
            return Ok(Some(number));
        }
        let found = found(node);
        let most = u32::MAX;
        Err(self
            .refuse(node.at, format_args!("{name} must be a whole number from 0 to {most}, found {found}")))
    }

    pub(super) fn map<T>(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        let Some(node) = self.take(name) else { return Ok(None) };
        let place = Place::Key(self.place, name);
        Fields::read(node, format_args!("{name}"), &place, self.report, check).map(Some)
    }

    /// Every item of a list of maps; absent is empty. Goes on after an item that is wrong.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        mut check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::List(items) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a list, found {}", found(node))));
        };
        let mut checked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = Place::Item(self.place, name, index);
            let what = format_args!("{name}[{index}]");
            // The error is in the report; its siblings are still worth a look.
            checked.extend(Fields::read(item, what, &place, self.report, &mut check).ok());
        }
        Ok(checked)
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

pub(super) fn is_null(node: &Node) -> bool {
    matches!(node.kind(), Kind::Scalar(scalar) if scalar::resolve(scalar) == Value::Null)
}

fn key_name(key: &Node) -> Option<&str> {
    match key.kind() {
        Kind::Scalar(scalar) if !is_null(key) => Some(&scalar.text),
        _ => None,
    }
}

/// What a message says was found. Texts are not repeated: they may be long, and the position is there.
fn found(node: &Node) -> String {
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

/// The known name that was probably meant: at most two letters off, in a short name one.
fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |candidate: &&&'static str| {
        let most = ((candidate.len() + 1) / 3).min(2);
        // Unequal lengths differ by at least that much; a huge key is not worth a table.
        candidate.len().abs_diff(name.len()) <= most && distance(name, candidate) <= most
    };
    known.iter().filter(near).min_by_key(|candidate| distance(name, candidate)).copied()
}

/// Levenshtein's, on bytes, upper and lower case being equal.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
