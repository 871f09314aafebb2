//! Makes descriptors of a request by Envoy's `rate_limits`, exactly as Envoy's ratelimit filter does.
//!
//! Each list of actions makes at most one descriptor. An action adds one entry to it. If an action finds nothing in
//! the request, it drops the whole descriptor, or adds no entry where `skip_if_absent` is set. If all actions of a
//! list are skipped, the descriptor has no entries; Envoy sends such a descriptor too.
//!
//! Values are bytes and need not be UTF-8. They are borrowed from the request or the list. Only formats of several
//! parts, addresses and percent-encoded query parameters are written anew, without an allocation up to
//! [`Value::INLINE`] bytes. The time for each action is linear in the size of the request.
//!
//! The test `tests/actions` of the service compares the descriptors with those of a real Envoy.

#![allow(
    missing_docs,
    reason = "fields and variants have the names of Envoy's messages, whose documentation says more"
)]

use smallvec::SmallVec;

pub use self::{
    action::{Action, ActionSpec, KINDS, OwnSpec},
    built::{BuiltDescriptor, BuiltEntry, Dropped, Reason},
    error::{ActionError, Problem},
    format::{FormatError, write_number},
    header_match::{HeaderMatch, HeaderMatchSpec, HeaderTest},
    hits::{AmountSpec, HitsAddend, HitsSpec},
    pattern::PatternError,
    query::{QueryMatch, QueryMatchSpec, QueryTest},
    request::{Header, HttpRequest, Metadata, MetadataSource, MetadataValue, NoMetadata},
    text_match::{TextMatch, TextMatchSpec},
    value::Value,
};

mod action;
mod address;
mod built;
mod contradiction;
mod error;
mod format;
mod header_match;
mod hits;
mod pattern;
mod query;
mod request;
mod text_match;
mod value;

/// A list of actions, and how many hits its descriptor asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    actions: Vec<Action>,
    hits_addend: Option<HitsAddend>,
}

// === impl RateLimit ===

impl RateLimit {
    /// Fails if there is no action. Envoy refuses such a list too.
    pub fn new(actions: Vec<Action>, hits_addend: Option<HitsAddend>) -> Result<RateLimit, ActionError> {
        if actions.is_empty() {
            return Err(ActionError::new("actions", Problem::Empty));
        }
        Ok(RateLimit { actions, hits_addend })
    }

    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    pub const fn hits_addend(&self) -> Option<&HitsAddend> {
        self.hits_addend.as_ref()
    }

    /// Whether it makes no descriptor of a request whose client's address is not known, or another one.
    pub fn reads_address(&self) -> bool {
        self.actions.iter().any(Action::reads_address)
    }

    /// The keys of the entries of its descriptors; none if some actions may be skipped.
    pub fn keys(&self) -> Option<Vec<&str>> {
        self.actions.iter().map(|action| (!action.skips()).then_some(action.descriptor_key())).collect()
    }

    /// The descriptor of the request, or the action that dropped it.
    pub fn descriptor<'a>(&'a self, request: &'a HttpRequest<'a>) -> Result<BuiltDescriptor<'a>, Dropped> {
        let mut entries = SmallVec::new();
        for (index, action) in self.actions.iter().enumerate() {
            let found = action.entry(request).map_err(|reason| Dropped { action: Some(index), reason })?;
            entries.extend(found.map(|(key, value)| BuiltEntry {
                key: key.as_bytes(),
                value,
                action: index,
            }));
        }
        let hits = match &self.hits_addend {
            Some(addend) => {
                Some(addend.hits(request).ok_or(Dropped { action: None, reason: Reason::NoHits })?)
            }
            None => None,
        };
        Ok(BuiltDescriptor { entries, hits })
    }
}

/// The result of each list, in the order of the lists.
///
/// A door hands the descriptors to the limiter and ignores the errors; `tollgate explain` shows both.
pub fn descriptors<'a>(
    lists: &'a [RateLimit],
    request: &'a HttpRequest<'a>,
) -> impl Iterator<Item = Result<BuiltDescriptor<'a>, Dropped>> {
    lists.iter().map(|list| list.descriptor(request))
}

#[cfg(test)]
mod tests;
