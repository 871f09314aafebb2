//! Which rule a descriptor falls under.
//!
//! The entries of a descriptor are walked from the first; at each level one child is chosen:
//!
//! | order | child | chosen when |
//! |---|---|---|
//! | 1 | `key` with `value` | both are equal to the entry's |
//! | 2 | `key` alone | the key is equal |
//!
//! The choice is final: siblings are not tried when the subtree yields nothing. A rule applies only at
//! the last entry, so a longer or shorter descriptor has no limit, and neither has a child without
//! `rate_limit` (which is how values are exempted). A lookup costs two hash probes an entry, however
//! many rules there are.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::limit::Limit;

/// The rules of one domain, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    pub name: String,
    pub descriptors: Vec<Pattern>,
}

/// One configured descriptor entry, with what stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub key: String,
    /// None: any value, each with buckets of its own. Never empty: an empty value matches the bare key.
    pub value: Option<String>,
    pub limit: Option<Limit>,
    pub descriptors: Vec<Pattern>,
}

/// A limit and where it was configured.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Position in [`Matcher::rules`].
    pub index: usize,
    pub domain: Arc<str>,
    /// The configured path, `key_value` or `key` a level, joined by dots. Holds no client's bytes.
    pub name: String,
    pub limit: Limit,
}

/// All rules, ready to be looked up. Immutable: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Matcher {
    domains: HashMap<Box<[u8]>, DomainRules>,
    rules: Vec<Arc<Rule>>,
}

/// The rules of one domain, ready to be looked up.
#[derive(Debug, Default)]
pub struct DomainRules {
    top: Level,
}

/// The children of one node, by key.
#[derive(Debug, Default)]
struct Level {
    keys: HashMap<Box<[u8]>, Children>,
}

#[derive(Debug, Default)]
struct Children {
    by_value: HashMap<Box<[u8]>, Node>,
    any_value: Option<Box<Node>>,
}

#[derive(Debug, Default)]
struct Node {
    rule: Option<Arc<Rule>>,
    below: Level,
}

// === impl Pattern ===

impl Pattern {
    /// `key_value`, or `key` for any value: one level of [`Rule::name`].
    pub fn name(&self) -> String {
        match &self.value {
            Some(value) => format!("{}_{value}", self.key),
            None => self.key.clone(),
        }
    }
}

// === impl Matcher ===

impl Matcher {
    /// Of two domains with one name, or two patterns with one key and value at one level, the last counts.
    pub fn new(domains: Vec<Domain>) -> Matcher {
        let mut matcher = Matcher::default();
        for domain in last_of_each(&domains, |domain| &domain.name) {
            let mut builder = Builder { domain: Arc::from(domain.name.as_str()), rules: &mut matcher.rules };
            let top = builder.level(&domain.descriptors, "");
            matcher.domains.insert(domain.name.as_bytes().into(), DomainRules { top });
        }
        matcher
    }

    /// The rules of the domain of exactly that name.
    pub fn domain(&self, name: &[u8]) -> Option<&DomainRules> {
        self.domains.get(name)
    }

    /// In the order of configuration, a rule before those below it.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

// === impl DomainRules ===

impl DomainRules {
    /// The rule of a descriptor, given as its entries' keys and values. None without entries.
    pub fn find<'e>(&self, entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>) -> Option<&Arc<Rule>> {
        let mut level = &self.top;
        let mut rule = None;
        for (key, value) in entries {
            let node = level.child(key, value)?;
            rule = node.rule.as_ref();
            level = &node.below;
        }
        rule
    }
}

// === impl Level ===

impl Level {
    /// The table of the module doc.
    fn child(&self, key: &[u8], value: &[u8]) -> Option<&Node> {
        let children = self.keys.get(key)?;
        children.by_value.get(value).or(children.any_value.as_deref())
    }
}

// === Builder ===

struct Builder<'a> {
    domain: Arc<str>,
    rules: &'a mut Vec<Arc<Rule>>,
}

impl Builder<'_> {
    fn level(&mut self, patterns: &[Pattern], parent: &str) -> Level {
        let mut level = Level::default();
        for pattern in last_of_each(patterns, |pattern| (&pattern.key, &pattern.value)) {
            let node = self.node(pattern, parent);
            let children = level.keys.entry(pattern.key.as_bytes().into()).or_default();
            match &pattern.value {
                Some(value) => {
                    children.by_value.insert(value.as_bytes().into(), node);
                }
                None => children.any_value = Some(Box::new(node)),
            }
        }
        level
    }

    fn node(&mut self, pattern: &Pattern, parent: &str) -> Node {
        let dot = if parent.is_empty() { "" } else { "." };
        let name = format!("{parent}{dot}{}", pattern.name());
        let rule = pattern.limit.as_ref().map(|limit| self.rule(&name, limit));
        Node { rule, below: self.level(&pattern.descriptors, &name) }
    }

    fn rule(&mut self, name: &str, limit: &Limit) -> Arc<Rule> {
        let rule = Arc::new(Rule {
            index: self.rules.len(),
            domain: Arc::clone(&self.domain),
            name: name.to_owned(),
            limit: limit.clone(),
        });
        self.rules.push(Arc::clone(&rule));
        rule
    }
}

/// The items, less those that a later one of the same name replaces.
fn last_of_each<'a, T, N: Eq + Hash>(
    items: &'a [T],
    name: impl Fn(&'a T) -> N,
) -> impl Iterator<Item = &'a T> {
    let last: HashMap<N, usize> = items.iter().enumerate().map(|(index, item)| (name(item), index)).collect();
    items.iter().enumerate().filter(move |(index, item)| last[&name(item)] == *index).map(|(_, item)| item)
}

#[cfg(test)]
mod tests;
