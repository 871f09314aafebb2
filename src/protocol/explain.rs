//! Debug lines that say what became of each descriptor, for operators who wonder why a request is not limited. They
//! have a target of their own ([`REQUESTS`]). Nothing of this runs unless its level is debug or lower.
//!
//! Values come from clients and may be secrets, so they show only if the operator asks for them.

use std::borrow::Cow;

use tracing::{Level, debug, enabled};

use super::Modes;
use crate::{
    error,
    fallback::Source,
    limiter::{Decision, Outcome},
    logging::{REQUESTS, short},
};
use tollgate_core::{
    decision::Verdict,
    descriptor::{BadRequest, Descriptor, Request},
    matcher::{Applies, Matcher},
};

/// The most entries of a descriptor, or domains of the rules, that a line shows.
const MOST: usize = 16;

/// Writes one line for each descriptor. The caller checks that the lines are wanted.
pub(super) fn answer(request: &Request<'_>, matcher: &Matcher, outcome: &Outcome<'_>, modes: Modes) {
    let domain = short(request.domain);
    let answer = match outcome.verdict {
        Some(Verdict::Deny) if !modes.shadow => "deny",
        Some(_) => "allow",
        None => "unavailable",
    };
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        let entries = shown(descriptor, modes);
        let decided = outcome.decisions.iter().filter(|decision| decision.descriptor == index);
        let limits = decided.map(limit).collect::<Vec<_>>().join("; ");
        if limits.is_empty() {
            let why = why_not(index, request, matcher, outcome);
            debug!(target: REQUESTS, domain, entries, why, answer, "a descriptor is not limited");
        } else {
            let store_error = outcome.store_call.as_ref().and_then(|call| Some(call.error.as_ref()?.kind()));
            debug!(target: REQUESTS, domain, entries, limits, store_error, answer, "a descriptor is limited");
        }
    }
}

/// Writes one line. Envoy lets such a request pass unless its `failure_mode_deny` is on.
pub(super) fn refusal(domain: &[u8], bad: &BadRequest) {
    if enabled!(target: REQUESTS, Level::DEBUG) {
        let (domain, why) = (short(domain), error::chain(bad));
        debug!(target: REQUESTS, domain, why, answer = "invalid", "a request is refused");
    }
}

fn limit(decision: &Decision<'_>) -> String {
    let word = match decision.verdict {
        _ if decision.source == Source::Error => "no decision",
        Verdict::Allow => "allow",
        Verdict::Deny if decision.is_over() => "deny",
        Verdict::Deny => "would deny",
    };
    let (label, source, left) = (decision.limit.label(), decision.source.word(), decision.remaining);
    format!("{}: {word} by {source}, {left} left", short(label.as_bytes()))
}

/// Why no limit applies to this descriptor.
fn why_not(index: usize, request: &Request<'_>, matcher: &Matcher, outcome: &Outcome<'_>) -> String {
    let Some(rules) = matcher.domain(request.domain) else {
        let mut domains: Vec<&str> = matcher.domains().collect();
        domains.sort_unstable();
        let shown: Vec<String> = domains.iter().take(MOST).map(|name| short(name.as_bytes())).collect();
        let more = if domains.len() > MOST { ", …" } else { "" };
        return format!("no limits file has its domain; they have {}{more}", shown.join(", "));
    };
    let Some(matched) = outcome.rules.iter().find(|matched| matched.descriptor == index) else {
        return rules.ending(request.descriptors[index].entries()).to_string();
    };
    let path = short(matched.rule.path.as_bytes());
    match matched.applies {
        Applies::Unlimited(_) => format!("its rule {path} is unlimited"),
        Applies::All(_) => format!("limits of other descriptors replace those of its rule {path}"),
    }
}

fn shown(descriptor: &Descriptor<'_>, modes: Modes) -> String {
    let each = descriptor.entries().take(MOST).map(|entry| {
        let value = if modes.show_values { Cow::from(short(entry.value)) } else { "…".into() };
        format!("{}={value}", short(entry.key))
    });
    let mut shown = each.collect::<Vec<_>>().join(", ");
    if descriptor.entries.len() > MOST {
        shown.push_str(", …");
    }
    shown
}
