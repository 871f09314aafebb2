//! A rule, and the limits that hold for a descriptor that matched it: the same for all, or those of a tier, less the
//! limits that others of the request replace.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use foldhash::quality::RandomState;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::is_wildcard;
use crate::{
    billing::Billing,
    descriptor::Entry,
    limit::Limit,
    rules::{MemberTable, Metadata, OnStoreFailure, Options, Pattern},
};

/// A configured pattern at which a descriptor may end, and its limits.
#[derive(Debug)]
pub struct Rule {
    /// The configured path: `key_value` or `key` for each level, joined by dots. It holds no client's bytes.
    pub path: Arc<str>,
    /// The flags of the pattern.
    pub options: Options,
    /// Merged into the dynamic metadata of a request if a descriptor that matches this rule passes.
    pub metadata: Metadata,
    pub(super) limits: RuleLimits,
    /// The path in metrics if no value of a request is shown.
    pub(super) metric_path: Arc<str>,
    pub(super) shows_values: bool,
    /// From the first level to this rule's own. Empty if every entry names its bucket itself and `shows_values` is off.
    pub(super) steps: Box<[Arc<Step>]>,
}

#[derive(Debug)]
pub(super) enum RuleLimits {
    /// The limits are the same for every descriptor.
    Same(Applies),
    /// The limits are those of the tier that a value of the descriptor is in.
    ByTier(TierLimits),
}

/// The limits of each tier, compiled for one rule.
#[derive(Debug)]
pub(super) struct TierLimits {
    /// The position of the entry whose value is looked up.
    pub(super) position: usize,
    pub(super) members: Arc<MemberTable>,
    /// All tiers but the default one.
    pub(super) tiers: HashMap<Box<str>, Applies, RandomState>,
    pub(super) default: Applies,
}

/// One level on the way to a rule, as it is configured.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) key: Box<str>,
    pub(super) value: Option<Box<str>>,
    /// All entries that match it name one bucket.
    pub(super) is_shared: bool,
    /// One key and one value match it.
    is_exact: bool,
    has_value_to_metric: bool,
}

/// The limits that hold for a descriptor that matched.
#[derive(Debug, PartialEq)]
pub enum Applies {
    /// None: the store is not asked.
    Unlimited(Unlimited),
    /// Each of these. The list is never empty.
    All(Vec<Arc<RuleLimit>>),
}

/// A descriptor that is always OK, and is never asked of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlimited {
    /// The configured name; often empty.
    pub name: String,
    /// The names of limits of other descriptors that the request is not held to.
    pub replaces: Vec<String>,
}

/// The position of a limit in its [`Matcher`](super::Matcher), by which tables beside it are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitIndex {
    /// The position in [`Matcher::limits`](super::Matcher::limits).
    Configured(usize),
    /// The request brought the limit along, so no table has an item for it.
    Requested,
}

/// One limit of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleLimit {
    /// Finds what is kept for each configured limit.
    pub index: LimitIndex,
    /// The name of its domain.
    pub domain: Arc<str>,
    /// [`Rule::path`].
    pub path: Arc<str>,
    /// The tier that it is for, if it holds for the members of one tier alone.
    pub tier: Option<Arc<str>>,
    /// The configured name; often empty.
    pub name: String,
    /// Its bucket has its name, because an earlier limit of the rule has the bucket of its algorithm and period.
    pub has_own_bucket: bool,
    /// The names of limits of other descriptors that the request is not held to.
    pub replaces: Vec<String>,
    /// The flags of its rule.
    pub options: Options,
    /// None: the default of the process.
    pub on_store_failure: Option<OnStoreFailure>,
    /// How the rule was asked lately, which `overdraft: auto` depends on. None for any other overdraft.
    pub billing: Option<Arc<Billing>>,
    /// Burst and refill.
    pub limit: Limit,
}

/// The names of the limits that one request is not held to, because others replace them.
#[derive(Debug, Default)]
pub struct Replaced<'m> {
    /// Sorted.
    names: SmallVec<[&'m str; 4]>,
}

// === impl Rule ===

impl Rule {
    /// The limits that hold for a descriptor with these entries, which must have matched this rule.
    pub fn applies<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> &Applies {
        match &self.limits {
            RuleLimits::Same(applies) => applies,
            RuleLimits::ByTier(tiers) => tiers.applies(entries.into_iter().map(Into::into)),
        }
    }

    /// The position of the entry whose value decides on the tier, and the tier; none for the default one. None if the
    /// limits do not depend on a tier.
    pub(super) fn tier_of<'s, 'e>(
        &'s self,
        entries: impl Iterator<Item = Entry<'e>>,
    ) -> Option<(usize, Option<&'s str>)> {
        match &self.limits {
            RuleLimits::Same(_) => None,
            RuleLimits::ByTier(tiers) => Some((tiers.position, tiers.tier(entries).map(|(name, _)| name))),
        }
    }

    /// The entries that name the bucket of a descriptor with these entries, which must have matched this rule. At
    /// levels with `share_threshold` they are the pattern's, and not the descriptor's.
    pub fn bucket_entries<'s, 'e: 's, I>(&'s self, entries: I) -> impl Iterator<Item = Entry<'s>> + Clone
    where
        I: Iterator<Item = Entry<'e>> + Clone,
    {
        let mut steps = self.steps.iter();
        entries.map(move |entry| match steps.next() {
            Some(step) if step.is_shared => step.entry(),
            _ => entry,
        })
    }
}

// === impl TierLimits ===

impl TierLimits {
    /// The limits of the default tier if the value is not listed, or if its tier has no limits here.
    fn applies<'e>(&self, entries: impl Iterator<Item = Entry<'e>>) -> &Applies {
        self.tier(entries).map_or(&self.default, |(_, applies)| applies)
    }

    /// The tier that is not the default one.
    fn tier<'e>(&self, mut entries: impl Iterator<Item = Entry<'e>>) -> Option<(&str, &Applies)> {
        let tier = entries.nth(self.position).and_then(|entry| tier(&self.members, entry.value))?;
        Some((tier, self.tiers.get(tier)?))
    }
}

/// The tier of a value. Values that are listed in plain text are looked up first, since that costs no digest.
fn tier<'t>(members: &'t MemberTable, value: &[u8]) -> Option<&'t str> {
    let plain = members.plain.get(value);
    let tier = plain.or_else(|| match members.sha256.is_empty() {
        true => None,
        false => members.sha256.get::<[u8; 32]>(&Sha256::digest(value).into()),
    });
    tier.map(|tier| &**tier)
}

// === impl Step ===

impl Step {
    pub(super) fn new(pattern: &Pattern) -> Step {
        let is_wildcard = is_wildcard(&pattern.name());
        Step {
            key: pattern.key.as_str().into(),
            value: pattern.value.as_deref().map(Into::into),
            // Without a `*` a pattern matches one key and value, or gives each value a bucket of its own.
            is_shared: pattern.options.share_threshold && is_wildcard,
            is_exact: pattern.value.is_some() && !is_wildcard,
            has_value_to_metric: pattern.options.value_to_metric,
        }
    }

    /// Whether a metric path may show the descriptor's value at this level.
    pub(super) fn may_show_value(&self, is_detailed: bool) -> bool {
        !self.is_shared && !self.is_exact && (is_detailed || self.has_value_to_metric)
    }

    /// A key with a `*` and without a value matches as it would with the value `*`.
    fn entry(&self) -> Entry<'_> {
        Entry { key: self.key.as_bytes(), value: self.value.as_deref().unwrap_or("*").as_bytes() }
    }
}

// === impl LimitIndex ===

impl LimitIndex {
    /// The item for this limit in a table that has one for each of [`Matcher::limits`](super::Matcher::limits), in
    /// their order. None for a limit that the request brought along.
    pub fn find<T>(self, table: &[T]) -> Option<&T> {
        match self {
            LimitIndex::Configured(position) => table.get(position),
            LimitIndex::Requested => None,
        }
    }
}

// === impl RuleLimit ===

impl RuleLimit {
    /// A limit at that path, without a name and without flags.
    pub fn new(index: LimitIndex, domain: &str, path: &str, limit: Limit) -> RuleLimit {
        let (name, replaces, options) = (String::new(), Vec::new(), Options::default());
        let (domain, path) = (domain.into(), path.into());
        RuleLimit {
            index,
            domain,
            path,
            tier: None,
            name,
            has_own_bucket: false,
            replaces,
            options,
            on_store_failure: None,
            billing: None,
            limit,
        }
    }

    /// The name that its bucket has beside the entries. Most have none.
    pub fn bucket_name(&self) -> Option<&str> {
        self.has_own_bucket.then_some(&self.name)
    }

    /// What people read: its path, and its name if it has one.
    pub fn label(&self) -> Cow<'_, str> {
        self.label_under(&self.path)
    }

    /// The label with another path, such as that of [`Rule::metric_path`].
    pub fn label_under<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match self.name.as_str() {
            "" => Cow::Borrowed(path),
            name => Cow::Owned(format!("{path}:{name}")),
        }
    }
}

// === impl Replaced ===

impl<'m> Replaced<'m> {
    /// The names that any of these `replaces`, including what is unlimited and what is itself replaced.
    pub fn by(matched: impl IntoIterator<Item = &'m Applies>) -> Replaced<'m> {
        let mut names = SmallVec::new();
        let mut add = |replaces: &'m [String]| names.extend(replaces.iter().map(String::as_str));
        for applies in matched {
            match applies {
                Applies::Unlimited(unlimited) => add(&unlimited.replaces),
                Applies::All(limits) => limits.iter().for_each(|limit| add(&limit.replaces)),
            }
        }
        names.sort_unstable();
        Replaced { names }
    }

    /// Whether the request is not held to this limit. Always false for a limit without a name.
    pub fn leaves_out(&self, limit: &RuleLimit) -> bool {
        !self.names.is_empty()
            && !limit.name.is_empty()
            && self.names.binary_search(&limit.name.as_str()).is_ok()
    }
}
