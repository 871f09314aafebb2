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

use std::{collections::HashMap, sync::Arc};

use crate::{descriptor::Entry, limit::Limit};

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
    /// None: any value, each with buckets of its own.
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
    domains: HashMap<String, Level>,
    rules: Vec<Arc<Rule>>,
}

/// The children of one node.
#[derive(Debug, Default)]
struct Level {
    keys: HashMap<String, Children>,
}

#[derive(Debug, Default)]
struct Children {
    by_value: HashMap<String, Node>,
    any_value: Option<Box<Node>>,
}

#[derive(Debug, Default)]
struct Node {
    rule: Option<Arc<Rule>>,
    below: Level,
}

// STUB
#[derive(Debug)]
pub struct DomainRules;
impl DomainRules {
    pub fn find<'a>(&self, _e: impl Iterator<Item = Entry<'a>>) -> Option<&Arc<Rule>> {
        None
    }
}
impl Matcher {
    pub fn domain(&self, _name: &[u8]) -> Option<&DomainRules> {
        None
    }
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}
