//! Virtual hosts and routes, and which of them a request takes.

use std::path::PathBuf;

use super::{
    lists::{EnvoyList, ListKind, Specific, lists},
    tree::{flag, get, items, optional_flag, text},
};
use crate::{
    config::{
        actions,
        error::Position,
        fields::{Fields, Part, key_name},
        report::{Place, Report, Reported},
        yaml::{Kind, Node},
    },
    error,
};
use tollgate_core::actions::{HeaderMatch, HttpRequest, QueryMatch, TextMatch, TextMatchSpec};

#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: String,
    pub(super) domains: Vec<String>,
    pub(super) lists: Vec<EnvoyList>,
    pub(super) specific: Vec<Specific>,
    pub(super) routes: Vec<Route>,
    /// It has a `matcher` in place of routes.
    pub(super) has_matcher: bool,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) at: Position,
    /// Empty if it has none.
    pub(super) name: String,
    /// What it does in place of forwarding the request; none if it forwards it.
    pub(super) answers_by: Option<&'static str>,
    pub(super) includes_virtual_host: bool,
    pub(super) lists: Vec<EnvoyList>,
    pub(super) specific: Vec<Specific>,
    requests: RouteMatch,
}

/// The requests that a route is for.
#[derive(Debug)]
struct RouteMatch {
    path: PathMatch,
    headers: Vec<HeaderMatch>,
    query: Vec<QueryMatch>,
    /// What cannot be evaluated.
    unknown: Vec<String>,
    /// In words.
    text: String,
}

#[derive(Debug)]
enum PathMatch {
    Text(TextMatch),
    /// The path itself, or one below it.
    Below(TextMatch, TextMatch),
    Any,
}

/// Whether a request takes a route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
    /// Everything else fits, but these conditions cannot be evaluated.
    Unknown(String),
}

// === impl VirtualHost ===

impl VirtualHost {
    pub(super) fn read(node: &Node) -> VirtualHost {
        let domains = items(node, "domains").iter().filter_map(|domain| match domain.kind() {
            Kind::Scalar(scalar) => Some(scalar.text.to_ascii_lowercase()),
            Kind::List(_) | Kind::Map(_) => None,
        });
        VirtualHost {
            name: text(node, "name").unwrap_or_default().to_owned(),
            domains: domains.collect(),
            lists: lists(node, "rate_limits", ListKind::Plain),
            specific: Specific::all(node),
            routes: items(node, "routes").iter().map(Route::read).collect(),
            has_matcher: get(node, "matcher").is_some(),
        }
    }

    /// How well a host in lower case fits, none if it does not: an exact name, then the longest suffix, then the longest
    /// prefix, then `*`.
    pub(super) fn fit(&self, host: &str) -> Option<(u8, usize)> {
        let fit = |domain: &String| match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(""), _) => Some((0, 0)),
            (Some(end), _) => (host.len() > end.len() && host.ends_with(end)).then_some((2, end.len())),
            (_, Some(start)) => {
                (host.len() > start.len() && host.starts_with(start)).then_some((1, start.len()))
            }
            _ => (host == domain).then_some((3, 0)),
        };
        self.domains.iter().filter_map(fit).max()
    }
}

// === impl Route ===

impl Route {
    fn read(node: &Node) -> Route {
        let action = get(node, "route");
        let others = ["redirect", "direct_response", "filter_action", "non_forwarding_action"];
        let answers_by = others.into_iter().find(|name| get(node, name).is_some());
        Route {
            at: node.at,
            name: text(node, "name").unwrap_or_default().to_owned(),
            answers_by,
            includes_virtual_host: action.is_some_and(|action| flag(action, "include_vh_rate_limits")),
            lists: action.map(|action| lists(action, "rate_limits", ListKind::Plain)).unwrap_or_default(),
            specific: Specific::all(node),
            requests: RouteMatch::read(get(node, "match")),
        }
    }

    /// Such as `login (prefix /login, line 12)`.
    pub(super) fn label(&self) -> String {
        let blank = if self.name.is_empty() { "" } else { " " };
        format!("{}{blank}({}, line {})", self.name, self.requests.text, self.at.line)
    }

    pub(super) fn is_taken_by(&self, request: &HttpRequest<'_>) -> Taken {
        let RouteMatch { path, headers, query, unknown, .. } = &self.requests;
        let is_match = path.is_match(request.path_without_query())
            && headers.iter().all(|header| header.is_match(request))
            && query.iter().all(|parameter| parameter.is_match(request.path));
        match (is_match, unknown.is_empty()) {
            (false, _) => Taken::No,
            (true, true) => Taken::Yes,
            (true, false) => Taken::Unknown(unknown.join(", ")),
        }
    }
}

// === impl RouteMatch ===

/// The keys of a match that are evaluated, besides those of the path.
const EVALUATED: [&str; 3] = ["case_sensitive", "headers", "query_parameters"];

impl RouteMatch {
    fn read(node: Option<&Node>) -> RouteMatch {
        let mut found = RouteMatch {
            path: PathMatch::Any,
            headers: Vec::new(),
            query: Vec::new(),
            unknown: Vec::new(),
            text: "every request".to_owned(),
        };
        let Some(node) = node else { return found };
        let Kind::Map(pairs) = node.kind() else { return found };
        let ignore_case = optional_flag(node, "case_sensitive") == Some(false);
        for (key, value) in pairs {
            let Some(name) = key_name(key).filter(|name| !EVALUATED.contains(name)) else { continue };
            match PathMatch::read(name, value, ignore_case) {
                Some(Ok((path, text))) => (found.path, found.text) = (path, format!("{name} {text}")),
                Some(Err(problem)) => found.unknown.push(problem),
                None => found.unknown.push(format!("`{name}`")),
            }
        }
        for item in items(node, "headers") {
            match matched(item, actions::header_match, HeaderMatch::new) {
                Ok(header) => found.headers.push(header),
                Err(problem) => found.unknown.push(problem),
            }
        }
        for item in items(node, "query_parameters") {
            match matched(item, actions::query_match, QueryMatch::new) {
                Ok(parameter) => found.query.push(parameter),
                Err(problem) => found.unknown.push(problem),
            }
        }
        found
    }
}

/// Reads an item of a list with the reader of limits files.
fn matched<S, M, E: std::fmt::Display>(
    item: &Node,
    read: impl FnOnce(&mut Fields<'_>) -> Result<S, Reported>,
    new: impl FnOnce(&S) -> Result<M, E>,
) -> Result<M, String> {
    let mut report = Report::new(PathBuf::new());
    let spec = Fields::read(&[Part::whole(item)], format_args!("an item"), &Place::Root, &mut report, read);
    let errors: Vec<String> = report.into_errors().iter().map(|one| error::chain(&one.problem)).collect();
    match spec {
        Ok(spec) if errors.is_empty() => new(&spec).map_err(|error| error.to_string()),
        _ => Err(errors.join("; ")),
    }
}

// === impl PathMatch ===

impl PathMatch {
    /// None if the key is not about the path, or cannot be evaluated.
    fn read(name: &str, value: &Node, ignore_case: bool) -> Option<Result<(PathMatch, String), String>> {
        let scalar = match value.kind() {
            Kind::Scalar(scalar) => Some(scalar.text.clone()),
            Kind::List(_) | Kind::Map(_) => None,
        };
        let regex = text(value, "regex").map(str::to_owned);
        let text = match name {
            "safe_regex" => regex?,
            "prefix" | "path" | "path_separated_prefix" => scalar?,
            _ => return None,
        };
        let shown = text.clone();
        let exact = |text: String| TextMatch::new(&TextMatchSpec::Exact { text, ignore_case });
        let prefix = |text: String| TextMatch::new(&TextMatchSpec::Prefix { text, ignore_case });
        let path = match name {
            "prefix" if text.is_empty() => Ok(PathMatch::Any),
            "prefix" => prefix(text).map(PathMatch::Text),
            "path" => exact(text).map(PathMatch::Text),
            "safe_regex" => TextMatch::new(&TextMatchSpec::Regex(text)).map(PathMatch::Text),
            _ => prefix(format!("{text}/")).and_then(|below| Ok(PathMatch::Below(exact(text)?, below))),
        };
        Some(path.map(|path| (path, shown)).map_err(|error| error.to_string()))
    }

    fn is_match(&self, path: &[u8]) -> bool {
        match self {
            PathMatch::Any => true,
            PathMatch::Text(text) => text.is_match(path),
            PathMatch::Below(itself, below) => itself.is_match(path) || below.is_match(path),
        }
    }
}
