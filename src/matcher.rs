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

use std::{borrow::Cow, collections::HashMap, hash::Hash, sync::Arc};

use crate::{
    limit::Limit,
    rules::{Domain, Limits, Metadata, NamedLimit, OnStoreFailure, Options, Pattern},
};

/// A configured pattern that a descriptor may end at, and what it limits.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// The configured path, `key_value` or `key` a level, joined by dots. Holds no client's bytes.
    pub path: Arc<str>,
    pub limits: Applies,
    pub options: Options,
    pub metadata: Metadata,
}

/// What applies to a request that matched.
#[derive(Debug, PartialEq)]
pub enum Applies {
    Unlimited(Unlimited),
    /// Each of these; never empty.
    All(Vec<Arc<RuleLimit>>),
}

/// Always OK, and never asked of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlimited {
    pub name: String,
    pub replaces: Vec<String>,
}

/// One limit of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleLimit {
    /// Position in [`Matcher::limits`].
    pub index: usize,
    pub domain: Arc<str>,
    /// [`Rule::path`].
    pub path: Arc<str>,
    /// As configured; often empty.
    pub name: String,
    pub replaces: Vec<String>,
    pub options: Options,
    /// None: as the process was told.
    pub on_store_failure: Option<OnStoreFailure>,
    pub limit: Limit,
}

/// All rules, ready to be looked up. Immutable: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Matcher {
    domains: HashMap<Box<[u8]>, DomainRules>,
    limits: Vec<Arc<RuleLimit>>,
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
    rule: Option<Rule>,
    below: Level,
}

// === impl RuleLimit ===

impl RuleLimit {
    /// A limit at that path, without a name and without flags.
    pub fn new(index: usize, domain: &str, path: &str, limit: Limit) -> RuleLimit {
        let (name, replaces, options) = (String::new(), Vec::new(), Options::default());
        RuleLimit {
            index,
            domain: domain.into(),
            path: path.into(),
            name,
            replaces,
            options,
            on_store_failure: None,
            limit,
        }
    }

    /// How people are told of it: its path, and its name if it has one.
    pub fn label(&self) -> Cow<'_, str> {
        match self.name.as_str() {
            "" => Cow::Borrowed(&self.path),
            name => Cow::Owned(format!("{}:{name}", self.path)),
        }
    }
}

// === impl Matcher ===

impl Matcher {
    /// Of two domains with one name, or two patterns with one key and value at one level, the last counts.
    pub fn new(domains: Vec<Domain>) -> Matcher {
        let mut matcher = Matcher::default();
        for domain in last_of_each(&domains, |domain| &domain.name) {
            let mut builder =
                Builder { domain: Arc::from(domain.name.as_str()), limits: &mut matcher.limits };
            let top = builder.level(&domain.descriptors, "");
            matcher.domains.insert(domain.name.as_bytes().into(), DomainRules { top });
        }
        matcher
    }

    /// The rules of the domain of exactly that name.
    pub fn domain(&self, name: &[u8]) -> Option<&DomainRules> {
        self.domains.get(name)
    }

    /// In the order of configuration, those of a rule before those below it.
    pub fn limits(&self) -> &[Arc<RuleLimit>] {
        &self.limits
    }
}

// === impl DomainRules ===

impl DomainRules {
    /// The rule of a descriptor, given as its entries' keys and values. None without entries.
    pub fn find<'e>(&self, entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>) -> Option<&Rule> {
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
    limits: &'a mut Vec<Arc<RuleLimit>>,
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
        let rule = self.rule(&name, pattern);
        Node { rule, below: self.level(&pattern.descriptors, &name) }
    }

    fn rule(&mut self, path: &str, pattern: &Pattern) -> Option<Rule> {
        let Limits::All(limits) = &pattern.limits else { return None };
        let path = Arc::from(path);
        Some(Rule {
            limits: self.applies(&path, limits, pattern.options),
            path,
            options: pattern.options,
            metadata: pattern.metadata.clone(),
        })
    }

    fn applies(&mut self, path: &Arc<str>, limits: &[NamedLimit], options: Options) -> Applies {
        let mut all = Vec::with_capacity(limits.len());
        for NamedLimit { limit, name, replaces, on_store_failure } in limits {
            let (name, replaces) = (name.clone(), replaces.clone());
            let Some(limit) = limit.clone() else { return Applies::Unlimited(Unlimited { name, replaces }) };
            let (domain, path) = (Arc::clone(&self.domain), Arc::clone(path));
            let index = self.limits.len();
            let limit = Arc::new(RuleLimit {
                index,
                domain,
                path,
                name,
                replaces,
                options,
                on_store_failure: *on_store_failure,
                limit,
            });
            self.limits.push(Arc::clone(&limit));
            all.push(limit);
        }
        Applies::All(all)
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
