//! Finds lists of actions that no request can satisfy, so that `check` can warn of them.
//!
//! It finds actions of which one needs a header and another needs its absence, such as a `header_value_match` for
//! requests without `x-api-key` next to a `request_headers` for `x-api-key`. It does not find other contradictions.

use super::{Action, HttpRequest, RateLimit, action::Source, header_match::HeaderMatch, request::HeaderName};

/// Whether an action keeps the descriptor of a request without a certain header, and of a request with it.
#[derive(Debug, Clone, Copy)]
struct Possible {
    missing: bool,
    present: bool,
}

impl RateLimit {
    /// The header because of which this list never makes a descriptor, if there is one.
    pub fn contradiction(&self) -> Option<&str> {
        let demands = || self.actions.iter().flat_map(Action::demands);
        let is_impossible = |name: &HeaderName| {
            let of_name = demands().filter(|(other, _)| *other == name).map(|(_, possible)| possible);
            let both = of_name
                .reduce(|a, b| Possible { missing: a.missing && b.missing, present: a.present && b.present });
            both.is_some_and(|both| !both.missing && !both.present)
        };
        demands().map(|(name, _)| name).find(|name| is_impossible(name)).map(HeaderName::as_str)
    }
}

impl Action {
    fn demands(&self) -> Vec<(&HeaderName, Possible)> {
        match &self.source {
            Source::Header(name) => vec![(name, Possible { missing: self.skips(), present: true })],
            Source::HeaderMatch { headers, expected: true, .. } => {
                headers.iter().map(|header| (header.name(), Possible::to_match(header))).collect()
            }
            // It is enough that one of several does not match, so no single header is needed.
            Source::HeaderMatch { headers, expected: false, .. } => match &**headers {
                [header] => vec![(header.name(), Possible::to_differ(header))],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

impl Possible {
    fn to_match(header: &HeaderMatch) -> Possible {
        let missing = header.is_match(&HttpRequest::default());
        Possible { missing, present: header.if_present() != Some(false) }
    }

    fn to_differ(header: &HeaderMatch) -> Possible {
        let missing = !header.is_match(&HttpRequest::default());
        Possible { missing, present: header.if_present() != Some(true) }
    }
}

#[cfg(test)]
mod tests;
