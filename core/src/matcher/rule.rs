//! What a descriptor that matched is held to.

use std::{borrow::Cow, sync::Arc};

use super::{members::MemberLimits, wildcard::is_wildcard};
use crate::{
    descriptor::Entry,
    limit::Limit,
    rules::{Metadata, OnStoreFailure, Options, Pattern},
};

/// A configured pattern that a descriptor may end at, and what it limits.
#[derive(Debug)]
pub struct Rule {
    /// The configured path, `key_value` or `key` a level, joined by dots. Holds no client's bytes.
    pub path: Arc<str>,
    pub options: Options,
    pub metadata: Metadata,
    pub(super) limits: RuleLimits,
    /// Where no value of a request is shown.
    pub(super) metric_path: Arc<str>,
    pub(super) shows_values: bool,
    /// From the first level to this rule's own. Empty where every entry names its bucket itself and
    /// `shows_values` is off.
    pub(super) steps: Box<[Arc<Step>]>,
}

#[derive(Debug)]
pub(super) enum RuleLimits {
    Same(Applies),
    OfMember(MemberLimits),
}

/// One level of the way to a rule, as it is configured.
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

/// Where a limit stands among those of its [`Matcher`](super::Matcher), so that tables beside it can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitIndex {
    /// The position in [`Matcher::limits`](super::Matcher::limits).
    Configured(usize),
    /// The request brought the limit along, so no table has a place for it.
    Requested,
}

/// One limit of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleLimit {
    /// Where what is kept for each configured limit is found.
    pub index: LimitIndex,
    pub domain: Arc<str>,
    /// [`Rule::path`].
    pub path: Arc<str>,
    /// As configured; often empty.
    pub name: String,
    /// Its bucket has its name, since an earlier limit of the rule has the bucket of its algorithm and period.
    pub has_own_bucket: bool,
    pub replaces: Vec<String>,
    pub options: Options,
    /// None: as the process was told.
    pub on_store_failure: Option<OnStoreFailure>,
    pub limit: Limit,
}

// === impl Rule ===

impl Rule {
    /// What a request with these entries, which matched this rule, is held to.
    pub fn applies<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> &Applies {
        match &self.limits {
            RuleLimits::Same(applies) => applies,
            RuleLimits::OfMember(members) => members.of(entries.into_iter().map(Into::into)),
        }
    }

    /// The entries that name the bucket of a request with these entries, which matched this rule: where a
    /// level has `share_threshold`, its pattern stands for what was asked.
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

// === impl Step ===

impl Step {
    pub(super) fn new(pattern: &Pattern) -> Step {
        let is_wildcard = is_wildcard(&pattern.name());
        Step {
            key: pattern.key.as_str().into(),
            value: pattern.value.as_deref().map(Into::into),
            // Anything else matches one key and value, or gives each value a bucket of its own.
            is_shared: pattern.options.share_threshold && is_wildcard,
            is_exact: pattern.value.is_some() && !is_wildcard,
            has_value_to_metric: pattern.options.value_to_metric,
        }
    }

    /// Whether a metric path can hold what the request had at this level.
    pub(super) fn may_show_value(&self, is_detailed: bool) -> bool {
        !self.is_shared && !self.is_exact && (is_detailed || self.has_value_to_metric)
    }

    /// A key with a `*` and no value matches as with the value `*`.
    fn entry(&self) -> Entry<'_> {
        Entry { key: self.key.as_bytes(), value: self.value.as_deref().unwrap_or("*").as_bytes() }
    }
}

// === impl LimitIndex ===

impl LimitIndex {
    /// The item for this limit in a table that has one for each of [`Matcher::limits`](super::Matcher::limits), in their
    /// order. None for a limit that the request brought along.
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
        let (has_own_bucket, on_store_failure) = (false, None);
        RuleLimit { index, domain, path, name, has_own_bucket, replaces, options, on_store_failure, limit }
    }

    /// What its bucket is called beside its entries; mostly nothing.
    pub fn bucket_name(&self) -> Option<&str> {
        self.has_own_bucket.then_some(&self.name)
    }

    /// How people are told of it: its path, and its name if it has one.
    pub fn label(&self) -> Cow<'_, str> {
        self.label_under(&self.path)
    }

    /// The label for another path, such as that of [`Rule::metric_path`].
    pub fn label_under<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match self.name.as_str() {
            "" => Cow::Borrowed(path),
            name => Cow::Owned(format!("{path}:{name}")),
        }
    }
}
