//! The shapes of a domain's rules: the keys, in their order, of descriptors that some rule is for, whatever their
//! values.
//!
//! If a descriptor of such a shape matches no rule, the file probably limits a few values on purpose. A descriptor of
//! another shape was forgotten or misspelt, in the file or in Envoy's configuration.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hasher as _},
};

use foldhash::quality::RandomState;

use super::{Wildcard, is_wildcard};
use crate::rules::{Limits, Pattern};

/// The shapes of some rules.
#[derive(Debug, Default)]
pub struct Shapes {
    /// The hashes of the keys of those without a `*`.
    plain: HashSet<u64, RandomState>,
    wild: Vec<Box<[Wildcard]>>,
    seed: RandomState,
}

impl Shapes {
    /// The shapes of all rules, and of patterns that exempt: those without a limit and with nothing below them.
    pub fn new(patterns: &[Pattern]) -> Shapes {
        let mut shapes = Shapes::default();
        shapes.add(patterns, &mut Vec::new(), &mut HashSet::default());
        shapes
    }

    fn add<'a>(
        &mut self,
        patterns: &'a [Pattern],
        keys: &mut Vec<&'a str>,
        wild: &mut HashSet<Vec<&'a str>, RandomState>,
    ) {
        for pattern in patterns {
            keys.push(&pattern.key);
            if pattern.limits != Limits::None || pattern.descriptors.is_empty() {
                if !keys.iter().any(|key| is_wildcard(key)) {
                    self.plain.insert(self.hash(keys.iter().map(|key| key.as_bytes())));
                } else if wild.insert(keys.clone()) {
                    self.wild.push(keys.iter().map(|key| Wildcard::new(key)).collect());
                }
            }
            self.add(&pattern.descriptors, keys, wild);
            keys.pop();
        }
    }

    /// Whether some rule is for descriptors with these keys. Does not allocate.
    pub fn contain<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) -> bool {
        self.plain.contains(&self.hash(keys.clone()))
            || self.wild.iter().any(|shape| {
                let mut patterns = shape.iter();
                let fit = keys.clone().all(|key| patterns.next().is_some_and(|pattern| pattern.matches(key)));
                fit && patterns.next().is_none()
            })
    }

    fn hash<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> u64 {
        let mut hasher = self.seed.build_hasher();
        for key in keys {
            hasher.write_usize(key.len());
            hasher.write(key);
        }
        hasher.finish()
    }
}
