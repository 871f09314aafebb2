//! Keys that nobody asked for: unknown, or known and out of place.

use super::{Fields, found, is_merge, key_name};
use crate::config::{
    keys::{self, Origin},
    report::shorten,
    scalar::{self, Value},
    yaml::{Kind, Node},
};

impl Fields<'_> {
    /// Reports what is left.
    pub(super) fn close(mut self) {
        for field in std::mem::take(&mut self.fields).iter().filter(|field| !field.taken) {
            let name = shorten(field.name);
            match keys::known(field.name) {
                Some((home, Origin::Reference)) => {
                    let words = home.words();
                    self.warn(field.at, format_args!("`{name}` has no effect here; it belongs {words}"));
                    self.ignored(field.value);
                }
                Some((home, Origin::Tollgate)) => {
                    let words = home.words();
                    self.refuse(field.at, format_args!("`{name}` has no effect here; it belongs {words}"));
                }
                None => self.unknown(field.name, field.at),
            }
        }
    }

    fn unknown(&mut self, name: &str, at: crate::config::Position) {
        let shown = shorten(name);
        match closest(name, &self.known) {
            Some(near) => self.refuse(at, format_args!("unknown key `{shown}`; did you mean `{near}`?")),
            None => self.refuse(at, format_args!("unknown key `{shown}`")),
        };
    }

    /// What has no effect must still be spelled as the reference wants it: known keys, lists of maps, and no
    /// fractions.
    fn ignored(&mut self, node: &Node) {
        match node.kind() {
            Kind::Scalar(scalar) => {
                if scalar::resolve(scalar) == Value::Float {
                    self.refuse(node.at, format_args!("no key takes {}", found(node)));
                }
            }
            Kind::List(items) => {
                for item in items {
                    match item.kind() {
                        Kind::Map(_) => self.ignored(item),
                        _ => {
                            self.refuse(
                                item.at,
                                format_args!("a list must hold maps, found {}", found(item)),
                            );
                        }
                    }
                }
            }
            Kind::Map(pairs) => {
                for (key, value) in pairs.iter().filter(|(key, _)| !is_merge(key)) {
                    match key_name(key) {
                        None => {
                            self.refuse(key.at, format_args!("a key must be a string, found {}", found(key)));
                        }
                        Some(name) if !matches!(keys::known(name), Some((_, Origin::Reference))) => {
                            self.unknown(name, key.at);
                        }
                        // Its content is free.
                        Some("metadata") => {}
                        Some(_) => self.ignored(value),
                    }
                }
            }
        }
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
