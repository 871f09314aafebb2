//! Makes descriptors of a request by the engine that serves, and notes what each list of actions did.

use std::path::Path;

use super::descriptors::AskedDescriptor;
use crate::config::envoy::{Choice, LeftOut};
use tollgate_core::{
    actions::{BuiltDescriptor, Dropped, HttpRequest, RateLimit, Reason},
    authz::{AuthzEntry, WithoutDescriptor, first_match},
    matcher::DomainRules,
};

/// What was made of a request.
#[derive(Debug)]
pub(super) struct Made {
    /// Where the lists of actions are, from the outside in.
    pub(super) source: Vec<String>,
    pub(super) lists: Vec<MadeList>,
    /// What becomes of a request without a descriptor.
    pub(super) without_descriptor: WithoutDescriptor,
    /// What could not be taken into account.
    pub(super) notes: Vec<String>,
}

/// What one list made.
#[derive(Debug)]
pub(super) struct MadeList {
    /// Where it is, such as `node.yaml:7`; none in `authz`, whose lists are numbered.
    pub(super) at: Option<String>,
    /// Its actions, in words.
    pub(super) actions: String,
    pub(super) result: Making,
}

#[derive(Debug)]
pub(super) enum Making {
    /// The number, from 1, of the descriptor that it made.
    Descriptor(usize),
    /// It made none, because this action found nothing; none if the number of hits is not known.
    Dropped { action: Option<String>, reason: String },
    /// It does not count for this request.
    NotNow(String),
    /// It cannot be evaluated here.
    Unknown(String),
}

/// Runs lists one after another.
#[derive(Debug, Default)]
pub(super) struct Maker {
    pub(super) lists: Vec<MadeList>,
    pub(super) descriptors: Vec<AskedDescriptor>,
    /// A list was dropped for the lack of metadata, or may have been.
    needs_metadata: bool,
}

impl Maker {
    pub(super) fn run(&mut self, at: Option<String>, list: &RateLimit, request: &HttpRequest<'_>) {
        let result = match list.descriptor(request) {
            Ok(built) => {
                self.descriptors.push(owned(&built));
                Making::Descriptor(self.descriptors.len())
            }
            Err(Dropped { action, reason }) => {
                self.needs_metadata |= matches!(reason, Reason::NoMetadata | Reason::NoHits);
                let action = action.map(|index| list.actions()[index].to_string());
                Making::Dropped { action, reason: reason.to_string() }
            }
        };
        self.lists.push(MadeList { at, actions: words(list), result });
    }

    fn note(&mut self, at: String, actions: String, result: Making) {
        self.lists.push(MadeList { at: Some(at), actions, result });
    }
}

fn words(list: &RateLimit) -> String {
    list.actions().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn owned(built: &BuiltDescriptor<'_>) -> AskedDescriptor {
    let entries = built.entries().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect();
    AskedDescriptor { entries, hits: built.hits() }
}

/// Makes descriptors by the lists that were chosen in an Envoy configuration.
pub(super) fn by_envoy(
    file: &Path,
    choice: &Choice<'_>,
    request: &HttpRequest<'_>,
) -> (Made, Vec<AskedDescriptor>) {
    let (mut maker, mut notes) = (Maker::default(), choice.notes.clone());
    for one in &choice.lists {
        let at = format!("{}:{}", file.display(), one.at.line);
        match one.for_stage(choice.stage) {
            Err(LeftOut::Unknown(problem)) => {
                maker.note(at, "a list of actions".to_owned(), Making::Unknown(problem.to_owned()));
            }
            Err(left_out) => {
                let actions = one.list.as_ref().map(words).unwrap_or_default();
                maker.note(at, actions, Making::NotNow(left_out.to_string()));
            }
            Ok(list) => {
                if one.has_override {
                    notes.push(format!(
                        "the `limit` of the list at {at} comes from metadata, and is not evaluated"
                    ));
                }
                maker.run(Some(at), list, request);
            }
        }
    }
    let Maker { lists, descriptors, .. } = maker;
    if maker.needs_metadata {
        notes.push(
            "metadata that other filters of Envoy set cannot be given here, so it counts as absent"
                .to_owned(),
        );
    }
    let mut source = choice.way.clone();
    if let Some(first) = source.first_mut() {
        *first = format!("{}: {first}", file.display());
    }
    (Made { source, lists, without_descriptor: WithoutDescriptor::Allow, notes }, descriptors)
}

/// Makes descriptors by the `authz` of a domain, as a `Check` does.
pub(super) fn by_authz(rules: &DomainRules, request: &HttpRequest<'_>) -> (Made, Vec<AskedDescriptor>) {
    let entry = first_match(&rules.authz, request);
    let mut maker = Maker::default();
    for list in entry.map_or(&[][..], |entry: &AuthzEntry| &entry.rate_limits) {
        maker.run(None, list, request);
    }
    let index = entry.and_then(|entry| rules.authz.iter().position(|one| std::ptr::eq(one, entry)));
    let source = match index {
        Some(index) => format!("authz[{index}], the first entry that matches the request"),
        None => "authz: no entry matches the request".to_owned(),
    };
    let without_descriptor = entry.and_then(|entry| entry.without_descriptor).unwrap_or_default();
    let Maker { lists, descriptors, .. } = maker;
    (Made { source: vec![source], lists, without_descriptor, notes: Vec::new() }, descriptors)
}
