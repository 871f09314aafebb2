//! Where the walk of a descriptor through the rules ended without one, in words.

use std::fmt;

use super::{DomainRules, tree::Level};
use crate::descriptor::Entry;

/// The most names that are listed, and the most characters of each.
const MOST_NAMES: usize = 6;
const LONGEST_NAME: usize = 64;

/// Why no rule was found, as people are told. Shows what is configured, and nothing of the descriptor.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// Counted from 1: the entry that found nothing; or the last, of a descriptor that ends too early.
    level: usize,
    stands: Stands,
}

/// What is configured at that level, or below it.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    /// Other values of this key.
    Values(Names),
    /// Other keys.
    Keys(Names),
    Nothing,
    /// The descriptor ends here, and the rules go on.
    Below(Names),
    /// The descriptor ends here, and so do the rules, without a limit.
    Exemption,
}

#[derive(Debug, PartialEq, Eq)]
struct Names {
    first: Vec<String>,
    more: usize,
}

impl DomainRules {
    /// Where [`find`](Self::find) ended, given that it found no rule.
    pub fn ending<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Ending {
        let (mut level, mut number) = (&self.top, 0);
        for entry in entries {
            let entry = entry.into();
            number += 1;
            match level.child(entry) {
                Some(node) => level = &node.below,
                None => return Ending { level: number, stands: level.stands_beside(entry.key) },
            }
        }
        let is_leaf = number > 0 && level.children.is_empty();
        let stands = if is_leaf { Stands::Exemption } else { Stands::Below(level.key_names()) };
        Ending { level: number, stands }
    }
}

impl Level {
    fn stands_beside(&self, key: &[u8]) -> Stands {
        match self.keys.get(key) {
            _ if self.children.is_empty() => Stands::Nothing,
            Some(key) => Stands::Values(Names::of(key.values.keys().map(|value| &**value))),
            None => Stands::Keys(self.key_names()),
        }
    }

    fn key_names(&self) -> Names {
        let wild: Vec<String> = self.wild_keys.iter().map(|wild| wild.key.text()).collect();
        Names::of(self.keys.keys().map(|key| &**key).chain(wild.iter().map(String::as_bytes)))
    }
}

impl Names {
    fn of<'n>(names: impl Iterator<Item = &'n [u8]>) -> Names {
        let mut all: Vec<&[u8]> = names.collect();
        // The first in the alphabet, since those of a table are in no order.
        all.sort_unstable();
        all.dedup();
        let short = |name: &&[u8]| String::from_utf8_lossy(name).chars().take(LONGEST_NAME).collect();
        let first: Vec<String> = all.iter().take(MOST_NAMES).map(short).collect();
        Names { more: all.len() - first.len(), first }
    }
}

// === how it reads ===

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level;
        match &self.stands {
            Stands::Values(names) => {
                write!(f, "level {level}: the rules have this key with other values: {names}")
            }
            Stands::Keys(names) => write!(f, "level {level}: the rules have other keys there: {names}"),
            Stands::Nothing => write!(f, "level {level}: the rules end before it"),
            Stands::Below(_) if level == 0 => f.write_str("it has no entries"),
            Stands::Below(names) => {
                write!(f, "level {level}: it ends there, and the rules go on with the keys {names}")
            }
            Stands::Exemption => {
                write!(f, "level {level}: it ends there, at an entry without a rate_limit, which exempts it")
            }
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}
