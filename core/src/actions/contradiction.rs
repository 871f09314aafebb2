//! Finds lists of actions that no request can satisfy, so that `check` can warn of them.
//!
//! It finds actions of which one needs a header and another needs its absence, such as a `header_value_match` for
//! requests without `x-api-key` next to a `request_headers` for `x-api-key`; the same for query parameters; and two exact
//! values of one query parameter, of which only the first counts. It does not find other contradictions: two exact values
//! of a header, for example, may be in two lines.

use super::{
    Action, HttpRequest, RateLimit,
    action::Source,
    header_match::HeaderMatch,
    query::{QueryMatch, Wanted},
    request::HeaderName,
};

/// Whether an action keeps the descriptor of a request without a certain header, and of a request with it.
#[derive(Debug, Clone, Copy)]
struct Possible {
    missing: bool,
    present: bool,
}

impl RateLimit {
    /// The header or query parameter because of which this list never makes a descriptor, if there is one.
    pub fn contradiction(&self) -> Option<&str> {
        self.header_contradiction().or_else(|| self.parameter_contradiction())
    }

    fn parameter_contradiction(&self) -> Option<&str> {
        let wanted: Vec<(&str, Wanted<'_>)> = self.actions.iter().flat_map(Action::parameters).collect();
        let is_impossible = |(index, (name, one)): &(usize, &(&str, Wanted<'_>))| {
            wanted[..*index].iter().any(|(other_name, other)| name == other_name && one.excludes(*other))
        };
        wanted.iter().enumerate().find(is_impossible).map(|(_, (name, _))| *name)
    }

    fn header_contradiction(&self) -> Option<&str> {
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
    /// What it wants of query parameters.
    fn parameters(&self) -> Vec<(&str, Wanted<'_>)> {
        match &self.source {
            Source::QueryParameter(name) if !self.skips() => vec![(name, Wanted::Present)],
            Source::QueryMatch { parameters, expected: true, .. } => {
                parameters.iter().map(QueryMatch::wanted).collect()
            }
            // It is enough that one of several does not match.
            Source::QueryMatch { parameters, expected: false, .. } => match &**parameters {
                [parameter] => parameter.wanted_not().into_iter().collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

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
