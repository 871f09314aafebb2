//! Which keys, in which order, the descriptors have that some rule of a domain is for, whatever their values.
//!
//! A descriptor of such a shape that matches no rule is what a file with limits for a few values looks like. One of
//! another shape was forgotten, or is misspelt, in the file or in Envoy's configuration.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hasher as _},
};

use foldhash::quality::RandomState;

use super::wildcard::{Wildcard, is_wildcard};
use crate::rules::{Limits, Pattern};

#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Of those without a `*`, by the hash of their keys.
    plain: HashSet<u64, RandomState>,
    wild: Vec<Box<[Wildcard]>>,
    seed: RandomState,
}

impl Shapes {
    /// Those of all rules, and of what exempts: a pattern without a limit that nothing stands below.
    pub(super) fn of(patterns: &[Pattern]) -> Shapes {
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

    /// Does not allocate.
    pub(super) fn contain<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) -> bool {
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
