//! Makes descriptors of a request by the engine that serves, and notes what each list of actions did.

use super::descriptors::AskedDescriptor;
use tollgate_core::{
    actions::{BuiltDescriptor, Dropped, HttpRequest, RateLimit},
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
}

/// Runs lists one after another.
#[derive(Debug, Default)]
pub(super) struct Maker {
    pub(super) lists: Vec<MadeList>,
    pub(super) descriptors: Vec<AskedDescriptor>,
}

impl Maker {
    pub(super) fn run(&mut self, at: Option<String>, list: &RateLimit, request: &HttpRequest<'_>) {
        let result = match list.descriptor(request) {
            Ok(built) => {
                self.descriptors.push(owned(&built));
                Making::Descriptor(self.descriptors.len())
            }
            Err(Dropped { action, reason }) => {
                let action = action.map(|index| list.actions()[index].to_string());
                Making::Dropped { action, reason: reason.to_string() }
            }
        };
        self.lists.push(MadeList { at, actions: words(list), result });
    }
}

fn words(list: &RateLimit) -> String {
    list.actions().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn owned(built: &BuiltDescriptor<'_>) -> AskedDescriptor {
    let entries = built.entries().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect();
    AskedDescriptor { entries, hits: built.hits() }
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
    let Maker { lists, descriptors } = maker;
    (Made { source: vec![source], lists, without_descriptor, notes: Vec::new() }, descriptors)
}
