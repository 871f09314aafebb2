//! Which rule a descriptor falls under.
//!
//! The entries of a descriptor are walked from the first; at each level one child is chosen:
//!
//! | order | child | chosen when |
//! |---|---|---|
//! | 1 | `key` with `value` | both are equal to the entry's, byte by byte, also where a `*` is in them |
//! | 2 | the first in configuration order of those with a `*` in key or value | its key matches the entry's key, and its value, if it has one, the entry's value |
//! | 3 | `key` alone | the key is equal |
//!
//! The choice is final: siblings are not tried when the subtree yields nothing. A rule applies only at
//! the last entry, so a longer or shorter descriptor has no limit, and neither has a child without
//! `rate_limit` (which is how values are exempted).
//!
//! This is the order of envoyproxy/ratelimit, but for one thing: it compares `key_value` as one text, so that
//! `a` with `b_c` is `a_b` with `c` there, and a `*` in a key reaches into the value. Here keys and values are
//! compared apart.
//!
//! Exact and bare keys cost two hash probes an entry, however many rules there are. The wildcards of a level
//! are tried one by one, those of the entry's own key and those with a `*` in the key, and only where no exact
//! child was found. A lookup does not allocate.

use std::sync::Arc;

pub use self::ending::Ending;
pub use self::replaced::Replaced;
pub use self::rule::{Applies, LimitIndex, Rule, RuleLimit, Unlimited};
use self::shapes::Shapes;
use self::tree::{Level, Node, Table};
pub use self::wildcard::{Wildcard, is_wildcard};
use crate::{descriptor::Entry, limit::DefaultAlgorithm, rules::Domain};

mod build;
mod ending;
mod members;
mod metric_path;
mod replaced;
mod rule;
mod shapes;
mod tree;
mod wildcard;

/// All rules, ready to be looked up. Immutable: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Matcher {
    domains: Table<DomainRules>,
    limits: Vec<Arc<RuleLimit>>,
}

/// The rules of one domain, ready to be looked up.
#[derive(Debug)]
pub struct DomainRules {
    name: Arc<str>,
    /// How a limit counts that a request brings along.
    pub default_algorithm: DefaultAlgorithm,
    top: Level,
    shapes: Shapes,
    /// Some limit `replaces` another.
    has_replaces: bool,
}

/// What the entries of a descriptor lead to.
#[derive(Debug)]
pub enum Found<'m> {
    Rule(&'m Rule),
    /// A pattern without a limit, below which nothing stands: whoever wrote it meant it.
    Exemption,
    /// Nothing that is configured; [`DomainRules::ending`] tells where that showed.
    Nothing,
}

// === impl Matcher ===

impl Matcher {
    /// Of two domains with one name, or two patterns with one key and value at one level, the last counts.
    pub fn new(domains: Vec<Domain>) -> Matcher {
        let mut matcher = Matcher::default();
        for domain in build::last_of_each(&domains, |domain| &domain.name) {
            let rules = build::domain(domain, &mut matcher.limits);
            matcher.domains.insert(domain.name.as_bytes().into(), rules);
        }
        matcher
    }

    /// The rules of the domain of exactly that name.
    pub fn domain(&self, name: &[u8]) -> Option<&DomainRules> {
        self.domains.get(name)
    }

    /// The names of all domains, in no order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.values().map(|rules| &*rules.name)
    }

    /// In the order of configuration, those of a rule before those below it.
    pub fn limits(&self) -> &[Arc<RuleLimit>] {
        &self.limits
    }
}

// === impl DomainRules ===

impl DomainRules {
    /// What a descriptor leads to; without entries nothing.
    pub fn look_up<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Found<'_> {
        let mut level = &self.top;
        let mut last = None;
        for entry in entries {
            let Some(node) = level.child(entry.into()) else { return Found::Nothing };
            (level, last) = (&node.below, Some(node));
        }
        match last {
            Some(Node { rule: Some(rule), .. }) => Found::Rule(rule),
            Some(node) if node.below.children.is_empty() => Found::Exemption,
            _ => Found::Nothing,
        }
    }

    /// The rule of a descriptor, if it has one.
    pub fn find<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Option<&Rule> {
        match self.look_up(entries) {
            Found::Rule(rule) => Some(rule),
            Found::Exemption | Found::Nothing => None,
        }
    }

    /// Whether some rule, or exemption, is for descriptors with these keys in this order, whatever their values.
    pub fn have_shape<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) -> bool {
        self.shapes.contain(keys)
    }

    /// The limits that a request is not held to, of all that it matched. Costs nothing where no limit of the
    /// domain `replaces` another.
    pub fn replaced<'m>(&self, matched: impl IntoIterator<Item = &'m Applies>) -> Replaced<'m> {
        if self.has_replaces { Replaced::by(matched) } else { Replaced::default() }
    }
}

#[cfg(test)]
mod tests;
