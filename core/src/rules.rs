//! What is configured: domains, descriptor patterns and their limits, checked.
//!
//! The configuration makes these, the matcher makes them ready to be looked up. Nothing here can be wrong:
//! what could be was refused where it was read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    authz::AuthzEntry,
    limit::{Defaults, Limit},
};

/// The rules of one domain, in the order in which they were configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Domain {
    /// The domain's name, as Envoy sends it; not empty.
    pub name: String,
    /// How a limit counts that a request brings along. Those that are configured have theirs already.
    pub defaults: Defaults,
    /// The patterns for the first entry of a descriptor.
    pub descriptors: Vec<Pattern>,
    /// Which tier a key belongs to, for patterns with [`Limits::OfMember`].
    pub members: Option<Members>,
    /// What makes the descriptors of requests that come by ext_authz. Empty: such requests have no meaning here.
    pub authz: Vec<AuthzEntry>,
}

/// One configured descriptor entry, with what stands below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pattern {
    /// May hold a `*`, which matches within the key alone.
    pub key: String,
    /// None: any value, each with buckets of its own. Never empty. A `*` in it stands for zero or more
    /// characters.
    pub value: Option<String>,
    /// The limits of descriptors that end here.
    pub limits: Limits,
    /// How these limits are enforced and counted.
    pub options: Options,
    /// Merged into the dynamic metadata of a request in which a descriptor that ends here passes.
    pub metadata: Metadata,
    /// The patterns for the next entry.
    pub descriptors: Vec<Pattern>,
}

/// What a pattern limits.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Limits {
    /// Nothing: a descriptor that ends here is exempt.
    #[default]
    None,
    /// All of these at once; never empty.
    All(Vec<NamedLimit>),
    /// Those of the tier that [`Domain::members`] names for the value of its key, which is an entry of this
    /// pattern or one above it.
    OfMember,
}

/// One limit, and how others refer to it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedLimit {
    /// None: unlimited.
    pub limit: Option<Limit>,
    /// Empty where none is given.
    pub name: String,
    /// Limits of these names, of other descriptors of the same request, are left out.
    pub replaces: Vec<String>,
    /// None: as the process was told.
    pub on_store_failure: Option<OnStoreFailure>,
}

/// What a limit answers when its store has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnStoreFailure {
    /// A bucket in this process decides, with this replica's share of the limit.
    #[default]
    Local,
    /// The request passes: this limit is worth less than an outage.
    Allow,
    /// The request is denied, and told to come back in a second.
    Deny,
    /// The caller gets UNAVAILABLE, and Envoy's `failure_mode_deny` decides.
    Error,
}

// === impl OnStoreFailure ===

impl OnStoreFailure {
    /// All modes, the default first.
    pub const ALL: [OnStoreFailure; 4] =
        [OnStoreFailure::Local, OnStoreFailure::Allow, OnStoreFailure::Deny, OnStoreFailure::Error];

    /// The mode of this name in a limits file; None if there is none.
    pub fn from_name(name: &str) -> Option<OnStoreFailure> {
        OnStoreFailure::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            OnStoreFailure::Local => "local",
            OnStoreFailure::Allow => "allow",
            OnStoreFailure::Deny => "deny",
            OnStoreFailure::Error => "error",
        }
    }
}

/// What a descriptor's flags say; each is off unless it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The limit never denies; it is counted as if it did.
    pub shadow_mode: bool,
    /// The limits are quotas: the request is denied only if none of them fits.
    pub quota_mode: bool,
    /// Metrics name the whole descriptor, with its values.
    pub detailed_metric: bool,
    /// Metrics show the values of this entry.
    pub value_to_metric: bool,
    /// All values that match the wildcard share one bucket.
    pub share_threshold: bool,
}

// === Members ===

/// Which tier a key is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Members {
    /// The key of the entry whose value is looked up.
    pub key: String,
    /// The tier of a value that is not listed.
    pub default: String,
    /// The limits of each tier that is named in the domain.
    pub tiers: BTreeMap<String, Vec<NamedLimit>>,
    /// The members and their tiers.
    pub table: Arc<MemberTable>,
}

/// The members file: each value, or its SHA-256, with the name of its tier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberTable {
    /// Values of an entry, and the tier of each.
    pub plain: HashMap<Box<[u8]>, Arc<str>>,
    /// SHA-256 digests of values, and the tier of each.
    pub sha256: HashMap<[u8; 32], Arc<str>>,
}

// === Metadata ===

/// A map of JSON-like values, in the order of its keys.
pub type Metadata = BTreeMap<String, MetadataValue>;

/// A value of metadata, as in YAML and JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list of values.
    List(Vec<MetadataValue>),
    /// A map of values by name.
    Map(Metadata),
}

/// Adds what is not there yet: the first value of a name stays, but maps below one name are merged.
pub fn merge(into: &mut Metadata, more: &Metadata) {
    for (name, value) in more {
        match (into.get_mut(name), value) {
            (None, _) => {
                into.insert(name.clone(), value.clone());
            }
            (Some(MetadataValue::Map(into)), MetadataValue::Map(more)) => merge(into, more),
            (Some(_), _) => {}
        }
    }
}

// === impl Pattern ===

impl Pattern {
    /// A pattern with one limit and nothing else.
    pub fn with_limit(key: &str, value: Option<&str>, limit: Limit) -> Pattern {
        let limits = Limits::All(vec![NamedLimit::from(limit)]);
        Pattern { key: key.to_owned(), value: value.map(str::to_owned), limits, ..Pattern::default() }
    }

    /// `key_value`, or `key` for any value: one level of [`Rule::path`](crate::matcher::Rule::path).
    pub fn name(&self) -> String {
        match &self.value {
            Some(value) => format!("{}_{value}", self.key),
            None => self.key.clone(),
        }
    }
}

impl From<Limit> for NamedLimit {
    fn from(limit: Limit) -> NamedLimit {
        NamedLimit { limit: Some(limit), name: String::new(), replaces: Vec::new(), on_store_failure: None }
    }
}

#[cfg(test)]
mod tests;
