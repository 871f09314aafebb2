//! The configured tree, indexed level by level.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{Rule, wildcard::Wildcard};
use crate::descriptor::Entry;

/// Seeded anew in each process, so that nobody can work out which keys collide.
pub(super) type Table<V> = HashMap<Box<[u8]>, V, RandomState>;

/// The children of one node.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// In the order of configuration. All else here refers to these by position.
    pub(super) children: Vec<Node>,
    pub(super) keys: Table<Key>,
    /// Children with a `*` in the key, in the order of configuration.
    pub(super) wild_keys: Vec<WildKey>,
}

/// The children of one key.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// By the value as it is configured, also where a `*` is in it.
    pub(super) values: Table<usize>,
    /// In the order of configuration.
    pub(super) wild_values: Vec<(Wildcard, usize)>,
    pub(super) any_value: Option<usize>,
}

#[derive(Debug)]
pub(super) struct WildKey {
    pub(super) key: Wildcard,
    /// None: any value. Without a `*`: that value alone.
    pub(super) value: Option<Wildcard>,
    pub(super) child: usize,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) rule: Option<Rule>,
    pub(super) below: Level,
}

impl Level {
    /// The table of the module doc of [`matcher`](super). Does not allocate.
    pub(super) fn child(&self, entry: Entry<'_>) -> Option<&Node> {
        let key = self.keys.get(entry.key);
        let exact = key.and_then(|key| key.values.get(entry.value).copied());
        let child = exact.or_else(|| self.first_wildcard(key, entry)).or_else(|| key?.any_value)?;
        self.children.get(child)
    }

    /// Of both lists, the one that was configured first.
    fn first_wildcard(&self, key: Option<&Key>, entry: Entry<'_>) -> Option<usize> {
        let by_value = key.and_then(|key| first(&key.wild_values, |(value, _)| value.matches(entry.value)));
        let by_value = by_value.map(|(_, child)| *child);
        let by_key = first(&self.wild_keys, |wild| wild.matches(entry)).map(|wild| wild.child);
        match (by_value, by_key) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

impl WildKey {
    fn matches(&self, entry: Entry<'_>) -> bool {
        self.key.matches(entry.key) && self.value.as_ref().is_none_or(|value| value.matches(entry.value))
    }
}

fn first<T>(list: &[T], matches: impl Fn(&T) -> bool) -> Option<&T> {
    list.iter().find(|item| matches(item))
}
