//! The descriptor that a list of actions makes, or the reason why it makes none.

use smallvec::SmallVec;
use thiserror::Error;

use super::Value;
use crate::descriptor::{Descriptor, Entry, Hits};

/// A descriptor that borrows from its list and its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltDescriptor<'a> {
    pub entries: SmallVec<[BuiltEntry<'a>; 4]>,
    /// None if the list has no `hits_addend`.
    pub hits: Option<Hits>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltEntry<'a> {
    pub key: &'a [u8],
    pub value: Value<'a>,
    /// The index of the action that made this entry.
    pub action: usize,
}

/// Why a list made no descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The index of the action that found nothing; none if the number of hits is not known.
    pub action: Option<usize>,
    pub reason: Reason,
}

/// The text reads well after the name of an action and a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Reason {
    #[error("the request has no such header")]
    NoHeader,
    #[error("the client's address is not known")]
    NoAddress,
    #[error("the request does not match")]
    NoMatch,
    #[error("the request matches, and expect_match is false")]
    Match,
    #[error("the query has no such parameter")]
    NoParameter,
    #[error("the metadata has no such text, and the action has no default_value")]
    NoMetadata,
    #[error("the value is empty, and the action has no default_value")]
    EmptyValue,
    #[error("the request does not have it")]
    NotKnown,
    #[error("hits_addend is not a number from 0 to 1000000000")]
    NoHits,
}

// === impl BuiltDescriptor ===

impl BuiltDescriptor<'_> {
    /// The descriptor as the limiter takes it.
    pub fn as_descriptor(&self) -> Descriptor<'_> {
        Descriptor::new(self.entries(), self.hits())
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        self.entries.iter().map(|entry| Entry { key: entry.key, value: &entry.value })
    }

    /// The hits that the descriptor asks for: one, unless the list has a `hits_addend`.
    pub fn hits(&self) -> Hits {
        self.hits.unwrap_or(Hits::One)
    }
}
