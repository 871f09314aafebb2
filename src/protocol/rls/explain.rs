//! What became of each descriptor, for whoever wonders why a request is not limited: lines at debug, under a target of
//! their own ([`REQUESTS`]). With the level above debug none of this runs.
//!
//! Values come from clients and may be secrets, so they show only where the operator asks for it.

use std::borrow::Cow;

use tracing::{Level, debug, enabled};

use super::Modes;
use crate::{
    error,
    limiter::{BadRequest, Decision, Outcome},
    logging::{REQUESTS, short},
    pb::{RateLimitDescriptor, RateLimitRequest},
    protocol::rls::entries,
};
use tollgate_core::{
    decision::{Source, Verdict},
    matcher::{Applies, Matcher},
};

/// The most entries of a descriptor, or domains of the rules, that a line shows.
const MOST: usize = 16;

/// One line for each descriptor.
pub(super) fn answer(request: &RateLimitRequest, matcher: &Matcher, outcome: &Outcome<'_>, modes: Modes) {
    if !enabled!(target: REQUESTS, Level::DEBUG) {
        return;
    }
    let domain = short(request.domain.as_bytes());
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
            let store_error = outcome.asked.as_ref().and_then(|asked| Some(asked.error.as_ref()?.kind()));
            debug!(target: REQUESTS, domain, entries, limits, store_error, answer, "a descriptor is limited");
        }
    }
}

/// One line: Envoy lets such a request pass unless its `failure_mode_deny` is on.
pub(super) fn refusal(request: &RateLimitRequest, bad: &BadRequest) {
    if enabled!(target: REQUESTS, Level::DEBUG) {
        let (domain, why) = (short(request.domain.as_bytes()), error::chain(bad).to_string());
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

/// Of a descriptor that no limit holds.
fn why_not(index: usize, request: &RateLimitRequest, matcher: &Matcher, outcome: &Outcome<'_>) -> String {
    let Some(rules) = matcher.domain(request.domain.as_bytes()) else {
        let mut domains: Vec<&str> = matcher.domains().collect();
        domains.sort_unstable();
        let shown: Vec<String> = domains.iter().take(MOST).map(|name| short(name.as_bytes())).collect();
        let more = if domains.len() > MOST { ", …" } else { "" };
        return format!("no limits file has its domain; they have {}{more}", shown.join(", "));
    };
    let Some(matched) = outcome.rules.iter().find(|matched| matched.descriptor == index) else {
        return rules.ending(entries(&request.descriptors[index])).to_string();
    };
    let path = short(matched.rule.path.as_bytes());
    match matched.applies {
        Applies::Unlimited(_) => format!("its rule {path} is unlimited"),
        Applies::All(_) => format!("limits of other descriptors replace those of its rule {path}"),
    }
}

fn shown(descriptor: &RateLimitDescriptor, modes: Modes) -> String {
    let each = entries(descriptor).take(MOST).map(|entry| {
        let value = if modes.show_values { Cow::from(short(entry.value)) } else { "…".into() };
        format!("{}={value}", short(entry.key))
    });
    let mut shown = each.collect::<Vec<_>>().join(", ");
    if descriptor.entries.len() > MOST {
        shown.push_str(", …");
    }
    shown
}
