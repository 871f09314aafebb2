//! Why each level of the rules chose the pattern that it chose, for `tollgate explain`.
//!
//! The choice itself is the matcher's own. This module lists the patterns of each level that a descriptor passes, and
//! says of each how it fits the entry. It allocates and visits every pattern of a level, so no request uses it.

use std::fmt;

use super::{DomainRules, Level, Rule, Wildcard, is_wildcard};
use crate::descriptor::Entry;

/// One level of the rules, as one entry of a descriptor found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedLevel {
    /// The patterns whose key matches the entry's key, in configuration order.
    pub patterns: Vec<TracedPattern>,
    /// The number of patterns with other keys.
    pub other_keys: usize,
}

/// A pattern whose key matches the key of the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedPattern {
    /// As configured.
    pub key: String,
    /// As configured; none for any value.
    pub value: Option<String>,
    /// Why it was chosen, or why not.
    pub choice: Choice,
}

/// Why a pattern was chosen, or why it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Chosen: key and value are those of the entry.
    Exact,
    /// Chosen: the first pattern with a `*` that matches.
    Wildcard,
    /// Chosen: the key is that of the entry, and the pattern has no value.
    AnyValue,
    /// Not chosen: it does not match the value.
    OtherValue,
    /// Not chosen: it matches, but another pattern has exactly this key and value.
    BehindExact,
    /// Not chosen: it matches, but another pattern with a `*` matches too, and comes first in the configuration.
    BehindEarlier,
    /// Not chosen: it has no value, and a pattern with a `*` matches.
    BehindWildcard,
}

/// How a pattern fits an entry, whatever the others of its level do. The order is that of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Wildcard,
    AnyValue,
    OtherValue,
    OtherKey,
}

// === impl DomainRules ===

impl DomainRules {
    /// The levels that a descriptor passes, from the first. The last one is that of the last entry, or the one at which
    /// nothing was chosen.
    pub fn trace<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Vec<TracedLevel> {
        let (mut level, mut levels) = (&self.top, Vec::new());
        for entry in entries {
            let entry = entry.into();
            levels.push(level.trace(entry));
            let Some(node) = level.child(entry) else { break };
            level = &node.below;
        }
        levels
    }
}

impl Rule {
    /// The tier by whose limits a descriptor with these entries is held, if the limits of this rule depend on that. The
    /// entries must have matched this rule.
    pub fn tier<'s, 'e>(&'s self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Option<Tier<'s>> {
        let (position, tier) = self.tier_of(entries.into_iter().map(Into::into))?;
        Some(Tier { position, name: tier })
    }
}

/// The tier of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier<'m> {
    /// The index of the entry whose value is looked up.
    pub position: usize,
    /// None: the default tier, because the value is not listed, or because its tier has no limits.
    pub name: Option<&'m str>,
}

// === impl Level ===

impl Level {
    fn trace(&self, entry: Entry<'_>) -> TracedLevel {
        let all = self.written();
        let fits: Vec<Fit> = all.iter().map(|pattern| pattern.fit(entry)).collect();
        let chosen = self.choose(entry);
        let patterns = all.into_iter().zip(&fits).enumerate();
        let patterns =
            patterns.filter(|(_, (_, fit))| **fit != Fit::OtherKey).map(|(index, (written, fit))| {
                let choice = choice(*fit, chosen == Some(index), chosen.map(|index| fits[index]));
                TracedPattern { key: written.key, value: written.value, choice }
            });
        let patterns: Vec<TracedPattern> = patterns.collect();
        TracedLevel { other_keys: self.children.len() - patterns.len(), patterns }
    }

    /// The patterns as they were written, in configuration order.
    fn written(&self) -> Vec<Written> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all = vec![Written::default(); self.children.len()];
        for (key, children) in &self.keys {
            if let Some(child) = children.any_value {
                all[child] = Written { key: text(key), value: None };
            }
            for (value, child) in &children.values {
                all[*child] = Written { key: text(key), value: Some(text(value)) };
            }
        }
        for wild in self.wild_keys.iter().filter(|wild| wild.value.is_none()) {
            all[wild.child] = Written { key: wild.key.text(), value: None };
        }
        all
    }
}

fn choice(fit: Fit, is_chosen: bool, chosen: Option<Fit>) -> Choice {
    match (fit, is_chosen, chosen) {
        (Fit::Exact, true, _) => Choice::Exact,
        (Fit::Wildcard, true, _) => Choice::Wildcard,
        (Fit::AnyValue, true, _) => Choice::AnyValue,
        (Fit::OtherValue | Fit::OtherKey, ..) => Choice::OtherValue,
        (_, false, Some(Fit::Exact)) => Choice::BehindExact,
        (Fit::AnyValue, false, _) => Choice::BehindWildcard,
        (Fit::Exact | Fit::Wildcard, false, _) => Choice::BehindEarlier,
    }
}

/// A pattern as it was written.
#[derive(Debug, Clone, Default)]
struct Written {
    key: String,
    value: Option<String>,
}

impl Written {
    fn fit(&self, entry: Entry<'_>) -> Fit {
        let is_key = self.key.as_bytes() == entry.key;
        let is_wild = is_wildcard(&self.key) || self.value.as_deref().is_some_and(is_wildcard);
        match &self.value {
            Some(value) if is_key && value.as_bytes() == entry.value => Fit::Exact,
            None if is_key && !is_wild => Fit::AnyValue,
            _ if !Wildcard::new(&self.key).matches(entry.key) => Fit::OtherKey,
            Some(value) if !Wildcard::new(value).matches(entry.value) => Fit::OtherValue,
            _ => Fit::Wildcard,
        }
    }
}

// === how it reads ===

impl Choice {
    /// Whether the pattern was chosen.
    pub const fn is_chosen(self) -> bool {
        matches!(self, Choice::Exact | Choice::Wildcard | Choice::AnyValue)
    }

    /// One word for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Choice::Exact => "exact",
            Choice::Wildcard => "wildcard",
            Choice::AnyValue => "any_value",
            Choice::OtherValue => "other_value",
            Choice::BehindExact => "behind_exact",
            Choice::BehindEarlier => "behind_earlier_wildcard",
            Choice::BehindWildcard => "behind_wildcard",
        }
    }
}

/// The reason, to be read behind `chosen:` or `not chosen:`.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Exact => "key and value are equal",
            Choice::Wildcard => "it is the first pattern with a * that matches",
            Choice::AnyValue => "the key is equal, and it is for any value",
            Choice::OtherValue => "the value does not match",
            Choice::BehindExact => "a pattern with exactly this key and value takes precedence",
            Choice::BehindEarlier => "another pattern with a * matches, and comes first in the file",
            Choice::BehindWildcard => {
                "a pattern with a * that matches takes precedence over a key without a value"
            }
        })
    }
}
