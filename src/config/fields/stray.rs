//! Keys that no check asked for: they are unknown, or known and misplaced.

use std::{collections::HashMap, fmt};

use super::{Fields, found, hidden::Shape, key_name, merge};
use crate::config::{
    error::Position,
    keys::{self, Origin},
    report::shorten,
    scalar::{self, Value},
    yaml::{Kind, Node},
};

/// Its content is free.
const METADATA: &str = "metadata";

impl<'a> Fields<'a> {
    /// Reports what is left.
    pub(super) fn close(mut self) {
        for field in std::mem::take(&mut self.fields).iter().filter(|field| !field.taken) {
            let Some((last, earlier)) = field.values.split_last() else { continue };
            for part in earlier {
                self.hidden(field.name, part.node, Shape::Free);
            }
            let name = shorten(field.name);
            // There each mistake could let requests pass, and the reference reads nothing of it.
            let known = keys::known(field.name).filter(|_| !self.place.is_below("authz"));
            match known {
                Some((home, Origin::Reference)) => {
                    let words = home.words();
                    self.warn(field.at, format_args!("`{name}` has no effect here; it belongs {words}"));
                    if last.overlooked || field.name == METADATA {
                        self.hidden(field.name, last.node, Shape::Free);
                    } else {
                        self.ignored(last.node);
                    }
                }
                Some((home, Origin::Tollgate)) => {
                    let words = home.words();
                    self.refuse(field.at, format_args!("`{name}` has no effect here; it belongs {words}"));
                }
                None if last.overlooked => {
                    self.overlooked(field.at, format_args!("unknown key `{name}`"));
                    self.hidden(field.name, last.node, Shape::Free);
                }
                None => self.unknown(field.name, field.at),
            }
        }
    }

    /// A key without a text.
    pub(super) fn nameless(&mut self, key: &Node, overlooked: bool) {
        let found = found(key);
        let message = format_args!("a key must be a string, found {found}");
        if overlooked {
            self.overlooked(key.at, message);
        } else {
            self.refuse(key.at, message);
        }
    }

    fn overlooked(&mut self, at: Position, message: fmt::Arguments<'_>) {
        self.warn(
            at,
            format_args!(
                "{message}; it has no effect, and is not an error, since this map is set again \
                later"
            ),
        );
    }

    fn unknown(&mut self, name: &str, at: Position) {
        let shown = shorten(name);
        match closest(name, &self.known) {
            Some(near) => self.refuse(at, format_args!("unknown key `{shown}`; did you mean `{near}`?")),
            None => self.refuse(at, format_args!("unknown key `{shown}`")),
        };
    }

    /// A key without effect must still be one that the reference accepts: known keys, lists of maps, and no fractions.
    fn ignored(&mut self, node: &'a Node) {
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
            Kind::Map(pairs) => self.ignored_map(pairs),
        }
    }

    fn ignored_map(&mut self, pairs: &'a [(Node, Node)]) {
        let (mut places, mut last) = (HashMap::new(), Vec::new());
        for step in merge::steps(pairs) {
            let Some(set) = self.decoded(step) else { continue };
            let Some(name) = key_name(set.key) else {
                self.nameless(set.key, false);
                continue;
            };
            let place = *places.entry(name).or_insert(last.len());
            match last.get_mut(place) {
                None => last.push((name, set)),
                Some(earlier) => {
                    let (_, hidden) = std::mem::replace(earlier, (name, set));
                    self.hidden(name, hidden.value, Shape::Free);
                }
            }
        }
        for (name, set) in last {
            match keys::known(name) {
                Some((_, Origin::Reference)) if name == METADATA => {
                    self.hidden(name, set.value, Shape::Free);
                }
                Some((_, Origin::Reference)) => self.ignored(set.value),
                _ => self.unknown(name, set.key.at),
            }
        }
    }
}

/// The known name that was probably meant: at most two letters differ, or one in a short name.
fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |candidate: &&&'static str| {
        let most = ((candidate.len() + 1) / 3).min(2);
        // Unequal lengths differ by at least that much; a huge key is not worth a table.
        candidate.len().abs_diff(name.len()) <= most && distance(name, candidate) <= most
    };
    known.iter().filter(near).min_by_key(|candidate| distance(name, candidate)).copied()
}

/// The Levenshtein distance in bytes. Upper and lower case are equal.
fn distance(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|name| name.to_ascii_lowercase().into_bytes());
    strsim::generic_levenshtein(&a, &b)
}
