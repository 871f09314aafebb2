//! Warnings about requests that pass because no rule is for them, though somebody may believe that one is: their
//! domain is not configured, or no rule has their keys. Each domain, or list of keys, is a warning the first time,
//! and then one an hour with the count.
//!
//! If some rule has the keys of a descriptor, but none has its values, there is no warning: a file with limits for a
//! few values is meant to let the others pass, which is counted. Domains and keys come from Envoy's configuration, so
//! they are shown; values come from clients, so they are not.

use std::hash::{Hash, Hasher};

use tracing::warn;

use crate::{
    limiter::Outcome,
    logging::{
        short,
        subjects::{Due, Warnings},
    },
};
use tollgate_core::{
    descriptor::{Descriptor, Request},
    matcher::{DomainRules, Found, Matcher},
};

/// The most keys of a descriptor that a line shows.
const MOST_KEYS: usize = 8;

/// The subject of a warning.
enum Unmatched<'a, 'b> {
    Domain(&'a [u8]),
    Keys(&'a [u8], &'a Descriptor<'b>),
}

/// Warns, if it is due, about the domain of a request, or about each descriptor that no rule is for.
pub(super) fn warn(warnings: &Warnings, request: &Request<'_>, matcher: &Matcher, outcome: &Outcome<'_>) {
    if outcome.without_limit.unknown_domain > 0 {
        log(warnings, &Unmatched::Domain(request.domain));
    } else if outcome.without_limit.unmatched > 0
        && let Some(rules) = matcher.domain(request.domain)
    {
        for descriptor in unmatched(request, rules, outcome) {
            if !rules.have_shape(descriptor.entries().map(|entry| entry.key)) {
                log(warnings, &Unmatched::Keys(request.domain, descriptor));
            }
        }
    }
}

fn log(warnings: &Warnings, unmatched: &Unmatched<'_, '_>) {
    let Some(due) = warnings.occurs(unmatched) else { return };
    match (unmatched, due) {
        (Unmatched::Domain(domain), Due::Subject { times }) => {
            warn!(domain = short(domain), times, "{UNKNOWN_DOMAIN}");
        }
        (Unmatched::Domain(domain), Due::Others { times }) => {
            warn!(domain = short(domain), times, "{OTHERS}");
        }
        (Unmatched::Keys(domain, descriptor), Due::Subject { times }) => {
            warn!(domain = short(domain), keys = keys(descriptor), times, "{UNKNOWN_KEYS}");
        }
        (Unmatched::Keys(domain, descriptor), Due::Others { times }) => {
            warn!(domain = short(domain), keys = keys(descriptor), times, "{OTHERS}");
        }
    }
}

const UNKNOWN_DOMAIN: &str = "requests of this domain are not limited, since no limits file has it: the domain of a file \
    and that of Envoy's rate_limit filter must be the same";
const UNKNOWN_KEYS: &str = "descriptors with these keys are not limited, since no rule has these keys in this order. \
    If they are meant to pass, add a rule for them without a rate_limit; if not, --log-level \
    info,tollgate::requests=debug shows where they and the rules differ";
const OTHERS: &str = "requests of further domains, or with further keys, are not limited, since no rule is for them; this \
    is one of them";

/// The descriptors of this request that lead to nothing in these rules.
fn unmatched<'r, 'a>(
    request: &'r Request<'a>,
    rules: &DomainRules,
    outcome: &Outcome<'_>,
) -> impl Iterator<Item = &'r Descriptor<'a>> {
    let mut matched = outcome.rules.iter().map(|matched| matched.descriptor).peekable();
    let has_exempt = outcome.without_limit.exempt > 0;
    let each = request.descriptors.iter().enumerate();
    each.filter(move |(index, descriptor)| matched.next_if_eq(index).is_none() && descriptor.limit.is_none())
        .map(|(_, descriptor)| descriptor)
        // They are looked up again only if some of them may be exempt.
        .filter(move |descriptor| {
            !has_exempt || matches!(rules.look_up(descriptor.entries()), Found::Nothing)
        })
}

fn keys(descriptor: &Descriptor<'_>) -> String {
    let first = descriptor.entries().take(MOST_KEYS).map(|entry| short(entry.key));
    let mut keys = first.collect::<Vec<_>>().join(", ");
    if descriptor.entries.len() > MOST_KEYS {
        keys.push_str(", …");
    }
    keys
}

impl Hash for Unmatched<'_, '_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Unmatched::Domain(domain) => (0_u8, domain).hash(state),
            Unmatched::Keys(domain, descriptor) => {
                (1_u8, domain).hash(state);
                descriptor.entries().for_each(|entry| entry.key.hash(state));
            }
        }
    }
}
