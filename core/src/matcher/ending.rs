//! Where a descriptor and the rules differ, in words, if no rule was found for it.

use std::fmt;

use super::{DomainRules, Level};
use crate::descriptor::Entry;

/// The most names that are listed, and the most characters of each.
const MOST_NAMES: usize = 6;
const LONGEST_NAME: usize = 64;

/// Why no rule was found, for people to read. It shows what is configured, and nothing of the descriptor.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// The number, from 1, of the entry that matched nothing; or of the last entry, if the descriptor ends too early.
    level: usize,
    configured: Configured,
}

/// What is configured at that level or below it.
#[derive(Debug, PartialEq, Eq)]
enum Configured {
    /// Other values of this key.
    Values(Names),
    /// Other keys.
    Keys(Names),
    /// Nothing: the rules end before this level.
    Nothing,
    /// Keys below: the descriptor ends here, and the rules go on.
    Below(Names),
    /// Nothing below and no limit: the descriptor and the rules end here.
    Exemption,
}

#[derive(Debug, PartialEq, Eq)]
struct Names {
    first: Vec<String>,
    more: usize,
}

impl DomainRules {
    /// Where the descriptor and the rules differ, provided that [`find`](Self::find) found no rule for it.
    pub fn ending<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Ending {
        let (mut level, mut number) = (&self.top, 0);
        for entry in entries {
            let entry = entry.into();
            number += 1;
            match level.child(entry) {
                Some(node) => level = &node.below,
                None => return Ending { level: number, configured: level.configured_beside(entry.key) },
            }
        }
        let is_leaf = number > 0 && level.children.is_empty();
        let configured = if is_leaf { Configured::Exemption } else { Configured::Below(level.key_names()) };
        Ending { level: number, configured }
    }
}

impl Level {
    fn configured_beside(&self, key: &[u8]) -> Configured {
        match self.keys.get(key) {
            _ if self.children.is_empty() => Configured::Nothing,
            Some(key) => Configured::Values(Names::new(key.values.keys().map(|value| &**value))),
            None => Configured::Keys(self.key_names()),
        }
    }

    fn key_names(&self) -> Names {
        let wild: Vec<String> = self.wild_keys.iter().map(|wild| wild.key.text()).collect();
        Names::new(self.keys.keys().map(|key| &**key).chain(wild.iter().map(String::as_bytes)))
    }
}

impl Names {
    fn new<'n>(names: impl Iterator<Item = &'n [u8]>) -> Names {
        let mut all: Vec<&[u8]> = names.collect();
        // Sorted, since a table has no order.
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
        match &self.configured {
            Configured::Values(names) => {
                write!(f, "level {level}: the rules have this key with other values: {names}")
            }
            Configured::Keys(names) => write!(f, "level {level}: the rules have other keys there: {names}"),
            Configured::Nothing => write!(f, "level {level}: the rules end before it"),
            Configured::Below(_) if level == 0 => f.write_str("it has no entries"),
            Configured::Below(names) => {
                write!(f, "level {level}: it ends there, and the rules go on with the keys {names}")
            }
            Configured::Exemption => {
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
