//! Requests that pass since no rule is for them, where somebody may believe that one is: of a domain that is not
//! configured, or with keys that no rule has. Each is a warning the first time, then one an hour with the count.
//!
//! A descriptor whose keys some rule has, and whose values none, is what a file with limits for a few values is
//! meant to let pass; that is counted, and no warning. Domain and keys come from Envoy's configuration and are shown;
//! values come from clients and are not.

use std::hash::{Hash, Hasher};

use tracing::warn;

use super::entries;
use crate::{
    limiter::Outcome,
    logging::{
        short,
        subjects::{Due, Warnings},
    },
    pb::{RateLimitDescriptor, RateLimitRequest},
};
use tollgate_core::matcher::{DomainRules, Found, Matcher};

/// The most keys of a descriptor that a line shows.
const MOST_KEYS: usize = 8;

/// What is told once.
enum Stray<'a> {
    Domain(&'a str),
    Keys(&'a str, &'a RateLimitDescriptor),
}

/// Costs nothing where a rule, or an exemption, is for every descriptor.
pub(super) fn look_for(
    warnings: &Warnings,
    request: &RateLimitRequest,
    matcher: &Matcher,
    outcome: &Outcome<'_>,
) {
    if outcome.without_limit.unknown_domain > 0 {
        tell(warnings, &Stray::Domain(&request.domain));
    } else if outcome.without_limit.unmatched > 0
        && let Some(rules) = matcher.domain(request.domain.as_bytes())
    {
        for descriptor in unmatched(request, rules, outcome) {
            if !rules.have_shape(entries(descriptor).map(|entry| entry.key)) {
                tell(warnings, &Stray::Keys(&request.domain, descriptor));
            }
        }
    }
}

fn tell(warnings: &Warnings, stray: &Stray<'_>) {
    let Some(due) = warnings.occurs(stray) else { return };
    match (stray, due) {
        (Stray::Domain(domain), Due::Subject { times }) => {
            warn!(domain = short(domain.as_bytes()), times, "{UNKNOWN_DOMAIN}");
        }
        (Stray::Domain(domain), Due::Others { times }) => {
            warn!(domain = short(domain.as_bytes()), times, "{OTHERS}");
        }
        (Stray::Keys(domain, descriptor), Due::Subject { times }) => {
            warn!(domain = short(domain.as_bytes()), keys = keys(descriptor), times, "{UNKNOWN_KEYS}");
        }
        (Stray::Keys(domain, descriptor), Due::Others { times }) => {
            warn!(domain = short(domain.as_bytes()), keys = keys(descriptor), times, "{OTHERS}");
        }
    }
}

const UNKNOWN_DOMAIN: &str = "requests of this domain are not limited, since no limits file has it: the domain of a file \
    and that of Envoy's rate_limit filter have to be the same";
const UNKNOWN_KEYS: &str = "descriptors with these keys are not limited, since no rule has these keys in this order. \
    If they are meant to pass, a rule for them without a rate_limit says so; else --log-level \
    info,tollgate::requests=debug tells where they and the rules part";
const OTHERS: &str = "requests of further domains, or with further keys, are not limited since no rule is for them; this \
    is one of them";

/// The descriptors of this request that lead to nothing in these rules.
fn unmatched<'r>(
    request: &'r RateLimitRequest,
    rules: &DomainRules,
    outcome: &Outcome<'_>,
) -> impl Iterator<Item = &'r RateLimitDescriptor> {
    let mut matched = outcome.rules.iter().map(|matched| matched.descriptor).peekable();
    let has_exempt = outcome.without_limit.exempt > 0;
    let each = request.descriptors.iter().enumerate();
    each.filter(move |(index, descriptor)| matched.next_if_eq(index).is_none() && descriptor.limit.is_none())
        .map(|(_, descriptor)| descriptor)
        // Not looked up once more unless it may be the other kind.
        .filter(move |descriptor| !has_exempt || matches!(rules.look_up(entries(descriptor)), Found::Nothing))
}

fn keys(descriptor: &RateLimitDescriptor) -> String {
    let first = descriptor.entries.iter().take(MOST_KEYS).map(|entry| short(&entry.key));
    let mut keys = first.collect::<Vec<_>>().join(", ");
    if descriptor.entries.len() > MOST_KEYS {
        keys.push_str(", …");
    }
    keys
}

impl Hash for Stray<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Stray::Domain(domain) => (0_u8, domain).hash(state),
            Stray::Keys(domain, descriptor) => {
                (1_u8, domain).hash(state);
                entries(descriptor).for_each(|entry| entry.key.hash(state));
            }
        }
    }
}
