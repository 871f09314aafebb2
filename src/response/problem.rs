//! The body of a 429: problem details of RFC 9457, with the type that the RateLimit header draft defines.

use std::borrow::Cow;

use serde_json::json;

use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
};
use tollgate_core::{limit::Algorithm, matcher::RuleLimit};

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// In an order for people to read, which a map of serde_json would not keep.
const COMMON: &str = r#""title":"Too Many Requests","status":429"#;
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

pub(super) fn body(outcome: &Outcome<'_>, speaker: &Decision<'_>) -> String {
    // That a take never fits is known without the store.
    if speaker.source == Source::Deny && !speaker.never_fits {
        let detail = json!("The rate limit cannot be checked at the moment; try again shortly.");
        return format!(r#"{{"type":"{REDUCED_CAPACITY}",{COMMON},"detail":{detail}}}"#);
    }
    let violated: Vec<Cow<'_, str>> = outcome.denying().map(|decision| decision.limit.label()).collect();
    quota_exceeded(&detail(&speaker.limit, speaker.never_fits), &violated)
}

/// The body of a denial by this limit alone.
pub(super) fn body_for(limit: &RuleLimit) -> String {
    quota_exceeded(&detail(limit, false), &[limit.label()])
}

fn quota_exceeded(detail: &str, violated: &[Cow<'_, str>]) -> String {
    let (detail, violated) = (json!(detail), json!(violated));
    format!(r#"{{"type":"{QUOTA_EXCEEDED}",{COMMON},"detail":{detail},"violated-policies":{violated}}}"#)
}

/// A text that is the same for each denial by a limit. The wait is in the headers.
fn detail(rule_limit: &RuleLimit, never_fits: bool) -> String {
    let limit = &rule_limit.limit;
    let (requests, unit, burst) = (limit.requests_per_unit(), limit.per(), limit.burst());
    if burst == 0 {
        return "Requests of this kind are not accepted.".to_owned();
    }
    if never_fits {
        return format!("The request asks for more than {burst} at once, so it will never fit.");
    }
    match limit.algorithm() {
        Algorithm::TokenBucket => {
            format!("The limit of {requests} per {unit}, at most {burst} at once, is used up.")
        }
        // Their burst is the number itself.
        Algorithm::FixedWindow | Algorithm::SlidingWindowLog => {
            format!("The limit of {requests} per {unit} is used up.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_core::{
        limit::{LimitSpec, Unit},
        matcher::Matcher,
        rules::{Domain, Pattern},
    };

    #[test]
    fn only_a_bucket_speaks_of_what_it_admits_at_once() {
        for (algorithm, expected) in [
            (Algorithm::TokenBucket, "The limit of 30 per minute, at most 30 at once, is used up."),
            (Algorithm::FixedWindow, "The limit of 30 per minute is used up."),
            (Algorithm::SlidingWindowLog, "The limit of 30 per minute is used up."),
        ] {
            let limit = LimitSpec { algorithm, ..LimitSpec::new(30, Unit::Minute) }.check().unwrap();
            let descriptors = vec![Pattern::with_limit("key", None, limit)];
            let domain = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
            let matcher = Matcher::new(vec![domain]);
            assert_eq!(detail(&matcher.limits()[0], false), expected);
        }
    }
}
