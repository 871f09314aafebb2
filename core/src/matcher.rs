//! Which rule a descriptor falls under.
//!
//! The entries of a descriptor are followed from the first one; at each level one child is chosen:
//!
//! | order | child | chosen if |
//! |---|---|---|
//! | 1 | `key` with `value` | both equal the entry's byte by byte, even if there is a `*` in them |
//! | 2 | the first in configuration order with a `*` in its key or value | its key matches the entry's key, and its value, if it has one, the entry's value |
//! | 3 | `key` alone | it equals the entry's key |
//!
//! The choice is final: siblings are not tried if nothing is found below the chosen child. A rule applies only at the
//! last entry, so a descriptor that is longer or shorter has no limit. A child without `rate_limit` has none either,
//! which is how values are exempted.
//!
//! This is the order of envoyproxy/ratelimit with one exception: it compares `key_value` as one text, so that there
//! `a` with `b_c` is the same as `a_b` with `c`, and a `*` in a key reaches into the value. Here keys and values are
//! compared separately.
//!
//! Keys with an exact value and keys alone cost two hash probes for each entry, however many rules there are. The
//! wildcards of a level are tried one by one, and only if no exact child was found: those of the entry's own key, and
//! those with a `*` in the key. A lookup does not allocate.

use std::{collections::HashMap, sync::Arc};

use foldhash::quality::RandomState;

pub use self::ending::Ending;
pub use self::rule::{Applies, LimitIndex, Replaced, Rule, RuleLimit, Unlimited};
pub use self::shapes::Shapes;
pub use self::trace::{Choice, Tier, TracedLevel, TracedPattern};
pub use self::wildcard::{Wildcard, is_wildcard};
use crate::{actions::RateLimit, authz::AuthzEntry, descriptor::Entry, limit::Defaults, rules::Domain};

mod build;
mod ending;
mod metric_path;
mod rule;
mod shapes;
mod trace;
mod version;
mod wildcard;

/// All rules, ready to be looked up. A matcher never changes: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Matcher {
    domains: Table<DomainRules>,
    limits: Vec<Arc<RuleLimit>>,
    /// The name of the domain that has `authz`, if there is exactly one.
    authz_domain: Option<Arc<str>>,
    authz_reads_address: bool,
    version: String,
}

/// The rules of one domain, ready to be looked up.
#[derive(Debug)]
pub struct DomainRules {
    name: Arc<str>,
    /// How limits count that a request brings along.
    pub defaults: Defaults,
    /// What makes the descriptors of requests that come by ext_authz.
    pub authz: Vec<AuthzEntry>,
    top: Level,
    shapes: Shapes,
    /// Some limit `replaces` another.
    has_replaces: bool,
}

/// What the entries of a descriptor lead to.
#[derive(Debug)]
pub enum Found<'m> {
    /// A rule ends there, with limits or unlimited.
    Rule(&'m Rule),
    /// A pattern without a limit, and without anything below it, so it was written to exempt.
    Exemption,
    /// Nothing that is configured; [`DomainRules::ending`] tells where the rules and the descriptor differ.
    Nothing,
}

/// A hash table with a new seed in each process, so that nobody can work out which keys collide.
type Table<V> = HashMap<Box<[u8]>, V, RandomState>;

/// The children of one node.
#[derive(Debug, Default)]
struct Level {
    /// In configuration order. The fields below refer to these by position.
    children: Vec<Node>,
    keys: Table<Key>,
    /// Children with a `*` in the key, in configuration order.
    wild_keys: Vec<WildKey>,
}

/// The children of one key.
#[derive(Debug, Default)]
struct Key {
    /// By the configured value, even if there is a `*` in it.
    values: Table<usize>,
    /// In configuration order.
    wild_values: Vec<(Wildcard, usize)>,
    any_value: Option<usize>,
}

#[derive(Debug)]
struct WildKey {
    key: Wildcard,
    /// None: any value. A pattern without a `*` matches that value alone.
    value: Option<Wildcard>,
    child: usize,
}

#[derive(Debug, Default)]
struct Node {
    rule: Option<Rule>,
    below: Level,
}

// === impl Matcher ===

impl Matcher {
    /// Compiles these domains. Of two domains with one name, or two patterns with one key and value at one level, the
    /// last counts.
    pub fn new(domains: Vec<Domain>) -> Matcher {
        let mut matcher = Matcher::default();
        let last: Vec<&Domain> = build::last_of_each(&domains, |domain| &domain.name).collect();
        matcher.version = version::version(last.iter().copied());
        for domain in last {
            let rules = build::domain(domain, &mut matcher.limits);
            matcher.domains.insert(domain.name.as_bytes().into(), rules);
        }
        let mut with_authz = matcher.domains.values().filter(|rules| !rules.authz.is_empty());
        if let (Some(only), None) = (with_authz.next(), with_authz.next()) {
            matcher.authz_domain = Some(Arc::clone(&only.name));
        }
        let mut entries = matcher.domains.values().flat_map(|rules| &rules.authz);
        matcher.authz_reads_address =
            entries.any(|entry| entry.rate_limits.iter().any(RateLimit::reads_address));
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

    /// The name of the domain that has `authz`, if there is exactly one.
    pub fn authz_domain(&self) -> Option<&str> {
        self.authz_domain.as_deref()
    }

    /// Whether `authz` of some domain has an action that looks for the client's address.
    pub fn authz_reads_address(&self) -> bool {
        self.authz_reads_address
    }

    /// Remembers how the rules of `earlier`, which these replace, were asked: those of the same domain and path.
    /// Otherwise each reload would make every rule with `overdraft: auto` pre-paid until its next peek.
    pub fn keep_billing_of(&self, earlier: &Matcher) {
        let place = |limit: &RuleLimit| (Arc::clone(&limit.domain), Arc::clone(&limit.path));
        let billed = |limit: &Arc<RuleLimit>| Some((place(limit), Arc::clone(limit.billing.as_ref()?)));
        let known: HashMap<_, _, RandomState> = earlier.limits.iter().filter_map(billed).collect();
        for (place, billing) in self.limits.iter().filter_map(billed) {
            if let Some(known) = known.get(&place) {
                billing.copy(known);
            }
        }
    }

    /// Twelve hexadecimal digits that are the same in each replica with the same rules, and for no others.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All limits in configuration order, those of a rule before those below it. [`LimitIndex`] is a position in them.
    pub fn limits(&self) -> &[Arc<RuleLimit>] {
        &self.limits
    }
}

// === impl DomainRules ===

impl DomainRules {
    /// What a descriptor leads to. Without entries it leads to nothing.
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

    /// The limits that a request is not held to, because of the others that it matched. Costs nothing if no limit of
    /// the domain `replaces` another.
    pub fn replaced<'m>(&self, matched: impl IntoIterator<Item = &'m Applies>) -> Replaced<'m> {
        if self.has_replaces { Replaced::by(matched) } else { Replaced::default() }
    }
}

// === impl Level ===

impl Level {
    fn child(&self, entry: Entry<'_>) -> Option<&Node> {
        self.children.get(self.choose(entry)?)
    }

    /// Chooses a child by the table in the module's documentation. Does not allocate.
    fn choose(&self, entry: Entry<'_>) -> Option<usize> {
        let key = self.keys.get(entry.key);
        let exact = key.and_then(|key| key.values.get(entry.value).copied());
        exact.or_else(|| self.first_wildcard(key, entry)).or_else(|| key?.any_value)
    }

    /// The wildcard that was configured first, from both lists.
    fn first_wildcard(&self, key: Option<&Key>, entry: Entry<'_>) -> Option<usize> {
        let by_value =
            key.and_then(|key| key.wild_values.iter().find(|(value, _)| value.matches(entry.value)));
        let by_value = by_value.map(|(_, child)| *child);
        let by_key = self.wild_keys.iter().find(|wild| wild.matches(entry)).map(|wild| wild.child);
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

#[cfg(test)]
mod tests;
