//! Makes descriptors of what a line says: by `authz` of the limits files, by an Envoy configuration, or straight from
//! fields that hold the values.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use foldhash::fast::RandomState;
use thiserror::Error;

use super::{
    log::{Fields, Names},
    packed::{PackedEntry, Packer},
};
use crate::config::envoy::EnvoyFile;
use tollgate_core::{
    actions::{Dropped, HttpRequest, RateLimit},
    authz::{WithoutDescriptor, first_match},
    descriptor::{Entry, Hits},
    matcher::DomainRules,
};

/// The most notes that are kept.
const MOST_NOTES: usize = 20;

/// What makes the descriptors.
#[derive(Debug)]
pub(super) enum Way<'c> {
    Authz { domain: String, rules: &'c DomainRules },
    Envoy { file: &'c EnvoyFile, route: Option<&'c str>, domain: Option<String> },
    Fields { domain: String, descriptors: Vec<FieldDescriptor> },
}

/// A way, and what it could not make.
#[derive(Debug)]
pub(super) struct Maker<'c> {
    way: Way<'c>,
    pub(super) missed: Missed,
}

/// Requests and lists that came to nothing.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Requests without any descriptor.
    pub(super) without_descriptor: u64,
    /// Those of them that ext_authz would answer by 403.
    pub(super) forbidden: u64,
    /// By the place of the list in memory and its action that found nothing.
    drops: HashMap<(usize, Option<usize>), (u64, String), RandomState>,
    pub(super) notes: BTreeSet<String>,
}

/// A descriptor whose values are fields of the log: `KEY=FIELD` or `KEY:=TEXT`, joined by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldDescriptor(Vec<(String, From)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    Field(String),
    Text(String),
}

/// A text that is no such descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("write KEY=FIELD or KEY:=TEXT, joined by commas, such as route:=login,api_key=x-api-key")]
pub(super) struct NotADescriptor;

impl std::str::FromStr for FieldDescriptor {
    type Err = NotADescriptor;

    fn from_str(text: &str) -> Result<FieldDescriptor, NotADescriptor> {
        let entry = |part: &str| {
            let (key, value) = part.split_once('=').ok_or(NotADescriptor)?;
            let (key, from) = match key.strip_suffix(':') {
                Some(key) => (key, From::Text(value.to_owned())),
                None if value.is_empty() => return Err(NotADescriptor),
                None => (key, From::Field(value.trim().to_owned())),
            };
            if key.trim().is_empty() { Err(NotADescriptor) } else { Ok((key.trim().to_owned(), from)) }
        };
        text.split(',').map(entry).collect::<Result<_, _>>().map(FieldDescriptor)
    }
}

impl FieldDescriptor {
    /// The fields that it needs.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, from)| match from {
            From::Field(field) => Some(field.as_str()),
            From::Text(_) => None,
        })
    }
}

// === impl Maker ===

impl<'c> Maker<'c> {
    pub(super) fn new(way: Way<'c>) -> Maker<'c> {
        Maker { way, missed: Missed::default() }
    }

    /// Whether the limits files make the descriptors.
    pub(super) fn is_authz(&self) -> bool {
        matches!(self.way, Way::Authz { .. })
    }

    /// Adds the descriptors of one request.
    pub(super) fn make(&mut self, names: &Names, fields: &Fields, to: &mut Vec<u8>) {
        let Maker { way, missed } = self;
        match way {
            Way::Fields { domain, descriptors } => {
                let mut packer = Packer::new(to, domain.as_bytes());
                let made = descriptors.iter().filter(|descriptor| descriptor.put(names, fields, &mut packer));
                missed.without_descriptor += u64::from(made.count() == 0);
            }
            Way::Authz { domain, rules } => fields.request(names, |request| {
                let mut packer = Packer::new(to, domain.as_bytes());
                let entry = first_match(&rules.authz, request);
                let lists = entry.map_or(&[][..], |entry| &entry.rate_limits).iter();
                let made = lists.filter(|list| put(list, request, &mut packer, missed)).count();
                let without = entry.and_then(|entry| entry.without_descriptor).unwrap_or_default();
                missed.without_descriptor += u64::from(made == 0);
                missed.forbidden += u64::from(made == 0 && without == WithoutDescriptor::Deny);
            }),
            Way::Envoy { file, route, domain } => fields.request(names, |request| {
                let choice = file.choose(request, *route).expect("it was asked once before");
                let domain = domain.as_deref().unwrap_or(choice.domain);
                let mut packer = Packer::new(to, domain.as_bytes());
                let mut made = 0;
                for note in &choice.notes {
                    missed.note(note);
                }
                for list in &choice.lists {
                    match list.for_stage(choice.stage) {
                        Ok(list) => made += u64::from(put(list, request, &mut packer, missed)),
                        Err(left_out) => {
                            missed.note(&format!("the list at line {}: {left_out}", list.at.line))
                        }
                    }
                }
                missed.without_descriptor += u64::from(made == 0);
            }),
        }
    }

    /// Fields that `--descriptor` names and no line has.
    pub(super) fn unknown_fields(&self, names: &Names) -> Vec<&str> {
        let Way::Fields { descriptors, .. } = &self.way else { return Vec::new() };
        let fields = descriptors.iter().flat_map(FieldDescriptor::fields);
        fields.filter(|field| names.known(field).is_none()).collect()
    }
}

/// Adds the descriptor of one list. Returns whether there is one.
fn put(list: &RateLimit, request: &HttpRequest<'_>, packer: &mut Packer<'_>, missed: &mut Missed) -> bool {
    match list.descriptor(request) {
        Ok(built) => {
            let entries = built.entries.iter().map(|built| PackedEntry {
                entry: Entry { key: built.key, value: &built.value },
                is_constant: list.actions()[built.action].is_constant(),
            });
            packer.put(built.hits(), entries);
            true
        }
        Err(dropped) => {
            missed.drop(list, dropped);
            false
        }
    }
}

impl FieldDescriptor {
    fn put(&self, names: &Names, fields: &Fields, packer: &mut Packer<'_>) -> bool {
        let found = self.0.iter().map(|(key, from)| {
            let (value, is_constant) = from.value(names, fields)?;
            Some((key, value, is_constant))
        });
        let Some(found) = found.collect::<Option<Vec<_>>>() else { return false };
        let entries = found.iter().map(|(key, value, is_constant)| PackedEntry {
            entry: Entry { key: key.as_bytes(), value },
            is_constant: *is_constant,
        });
        packer.put(Hits::One, entries);
        true
    }
}

impl From {
    /// The value, and whether all requests have it.
    fn value<'v>(&'v self, names: &Names, fields: &'v Fields) -> Option<(Cow<'v, [u8]>, bool)> {
        match self {
            From::Text(text) => Some((text.as_bytes().into(), true)),
            From::Field(field) => fields.subject(names, names.known(field)?).map(|value| (value, false)),
        }
    }
}

// === impl Missed ===

impl Missed {
    fn drop(&mut self, list: &RateLimit, Dropped { action, reason }: Dropped) {
        let place = std::ptr::from_ref(list).addr();
        let (count, _) = self.drops.entry((place, action)).or_insert_with(|| {
            let action = action.map(|index| list.actions()[index].to_string());
            (0, action.map_or(reason.to_string(), |action| format!("{action}: {reason}")))
        });
        *count += 1;
    }

    fn note(&mut self, note: &str) {
        if self.notes.len() < MOST_NOTES && !self.notes.contains(note) {
            self.notes.insert(note.to_owned());
        }
    }

    /// The lists that made no descriptor of a request, most often first: how often, and why.
    pub(super) fn drops(&self) -> Vec<(u64, &str)> {
        let mut drops: Vec<(u64, &str)> =
            self.drops.values().map(|(count, why)| (*count, why.as_str())).collect();
        drops.sort_unstable_by(|one, other| other.cmp(one));
        drops
    }
}
