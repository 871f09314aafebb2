//! Which lists of actions make the descriptors of a request that comes by ext_authz.
//!
//! Envoy's ratelimit filter makes descriptors itself. Its ext_authz filter sends the request instead, so the limits
//! file says what to make of it. The first entry that matches the request counts.

use crate::actions::{HttpRequest, RateLimit};

/// One entry of `authz`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuthzEntry {
    /// The requests that the entry is for.
    pub requests: RequestMatch,
    /// Each makes at most one descriptor.
    pub rate_limits: Vec<RateLimit>,
    /// None: the file does not say.
    pub without_descriptor: Option<WithoutDescriptor>,
}

/// What happens to a request of which no list makes a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutDescriptor {
    /// It passes, as with Envoy's own filter.
    #[default]
    Allow,
    /// It is answered 403.
    Deny,
}

/// The requests that an entry is for. Each condition that is empty holds for every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestMatch {
    /// One of these is the host of the request.
    pub hosts: Vec<HostPattern>,
    /// The path, without the query, begins with this.
    pub path_prefix: String,
    /// One of these is the method of the request.
    pub methods: Vec<String>,
}

/// A host, or several of them: `example.com`, `*.example.com`, `example.*`, `*`. The case of letters does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    kind: HostKind,
    text: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostKind {
    Exact,
    /// Hosts that end with the text, with at least one more character.
    EndsWith,
    BeginsWith,
    Any,
}

/// The first entry that matches the request.
pub fn first_match<'a>(entries: &'a [AuthzEntry], request: &HttpRequest<'_>) -> Option<&'a AuthzEntry> {
    entries.iter().find(|entry| entry.requests.is_match(request))
}

// === impl WithoutDescriptor ===

impl WithoutDescriptor {
    /// Both, the default first.
    pub const ALL: [WithoutDescriptor; 2] = [WithoutDescriptor::Allow, WithoutDescriptor::Deny];

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            WithoutDescriptor::Allow => "allow",
            WithoutDescriptor::Deny => "deny",
        }
    }
}

// === impl RequestMatch ===

impl RequestMatch {
    /// Whether all conditions hold for the request.
    pub fn is_match(&self, request: &HttpRequest<'_>) -> bool {
        self.has_host(request) && self.has_path(request) && self.has_method(request)
    }

    fn has_host(&self, request: &HttpRequest<'_>) -> bool {
        self.hosts.is_empty()
            || request
                .host_name()
                .is_some_and(|host| self.hosts.iter().any(|pattern| pattern.is_match(&host)))
    }

    fn has_path(&self, request: &HttpRequest<'_>) -> bool {
        request.path_without_query().starts_with(self.path_prefix.as_bytes())
    }

    fn has_method(&self, request: &HttpRequest<'_>) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|method| method.as_bytes() == request.method)
    }

    /// Whether every request matches.
    pub fn is_everything(&self) -> bool {
        *self == RequestMatch::default()
    }

    /// Whether every request that matches the other one matches this one too. (There are hosts for which it is so, and
    /// this does not see it.)
    pub fn covers(&self, other: &RequestMatch) -> bool {
        let has_host = |host: &HostPattern| self.hosts.iter().any(|own| own.covers(host));
        let has_method = |method: &String| self.methods.contains(method);
        (self.hosts.is_empty() || !other.hosts.is_empty() && other.hosts.iter().all(has_host))
            && (self.methods.is_empty() || !other.methods.is_empty() && other.methods.iter().all(has_method))
            && other.path_prefix.starts_with(&self.path_prefix)
    }
}

// === impl HostPattern ===

impl HostPattern {
    /// None if the text is not a host: it is empty, has a port, or a `*` within it.
    pub fn new(text: &str) -> Option<HostPattern> {
        let text = text.to_ascii_lowercase();
        let (kind, rest) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => (HostKind::Any, ""),
            (Some(rest), _) => (HostKind::EndsWith, rest),
            (_, Some(rest)) => (HostKind::BeginsWith, rest),
            _ => (HostKind::Exact, text.as_str()),
        };
        let is_host = (kind == HostKind::Any || !rest.is_empty())
            && !rest.contains(['*', '/', ' '])
            && (!rest.contains(':') || rest.starts_with('[') && rest.ends_with(']'));
        is_host.then(|| HostPattern { kind, text: rest.as_bytes().into() })
    }

    fn covers(&self, other: &HostPattern) -> bool {
        match (self.kind, other.kind) {
            (HostKind::Any, _) => true,
            (_, HostKind::Exact) => self.is_match(&other.text),
            _ => self == other,
        }
    }

    /// `host` is in lower case, without its port.
    fn is_match(&self, host: &[u8]) -> bool {
        match self.kind {
            HostKind::Exact => host == &*self.text,
            HostKind::EndsWith => host.len() > self.text.len() && host.ends_with(&self.text),
            HostKind::BeginsWith => host.len() > self.text.len() && host.starts_with(&self.text),
            HostKind::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(method: &'a str, host: &'a str, path: &'a str) -> HttpRequest<'a> {
        let (method, host, path) = (method.as_bytes(), host.as_bytes(), path.as_bytes());
        HttpRequest { method, host, path, ..HttpRequest::default() }
    }

    fn entry(hosts: &[&str], path_prefix: &str, methods: &[&str]) -> AuthzEntry {
        let hosts = hosts.iter().map(|host| HostPattern::new(host).unwrap()).collect();
        let methods = methods.iter().map(|&method| method.to_owned()).collect();
        let requests = RequestMatch { hosts, path_prefix: path_prefix.to_owned(), methods };
        AuthzEntry { requests, ..AuthzEntry::default() }
    }

    #[test]
    fn a_host_matches_whatever_its_case_and_port_and_a_star_stands_for_at_least_one_character() {
        let cases = [
            ("api.example.com", "API.Example.com:8443", true),
            ("api.example.com", "api.example.com.", true),
            ("api.example.com", "xapi.example.com", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("api.*", "api.example.org:80", true),
            ("api.*", "api.", false),
            ("*", "anything", true),
            ("[::1]", "[::1]:80", true),
        ];
        for (pattern, host, expected) in cases {
            let entry = entry(&[pattern], "", &[]);
            assert_eq!(entry.requests.is_match(&request("GET", host, "/")), expected, "{pattern} {host}");
        }
        assert!(!entry(&["*"], "", &[]).requests.is_match(&request("GET", "", "/")), "no host at all");
    }

    #[test]
    fn a_text_that_cannot_be_a_host_is_no_pattern() {
        for text in ["", "a:80", "a*b", "**", "a/b", "https://a", "a b"] {
            assert_eq!(HostPattern::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_entry_all_of_whose_conditions_hold_counts() {
        let entries =
            [entry(&["a"], "/login", &["POST", "PUT"]), entry(&[], "/log", &[]), entry(&[], "", &["GET"])];
        let cases = [
            (request("POST", "a", "/login?x=1"), Some(0)),
            (request("PUT", "a", "/loginx"), Some(0)),
            (request("post", "a", "/login"), Some(1)),
            (request("POST", "b", "/login"), Some(1)),
            (request("GET", "a", "/lo?g=/login"), Some(2)),
            (request("POST", "a", "/lo"), None),
        ];
        for (request, expected) in cases {
            let found =
                first_match(&entries, &request).map(|found| entries.iter().position(|e| e == found).unwrap());
            assert_eq!(found, expected, "{request:?}");
        }
    }

    #[test]
    fn an_entry_covers_what_is_narrower_than_itself() {
        let wide = entry(&["*", "a.test"], "/a", &["GET", "POST"]).requests;
        assert!(wide.covers(&entry(&["b.test"], "/abc", &["GET"]).requests));
        assert!(!wide.covers(&entry(&[], "/abc", &["GET"]).requests), "a request without a host");
        assert!(!wide.covers(&entry(&["b.test"], "/", &["GET"]).requests));
        assert!(!wide.covers(&entry(&["b.test"], "/a", &[]).requests));
        let suffix = entry(&["*.test"], "", &[]).requests;
        assert!(suffix.covers(&entry(&["a.test", "*.test"], "", &[]).requests));
        assert!(!suffix.covers(&entry(&["a.example"], "", &[]).requests));
        assert!(entry(&[], "", &[]).requests.covers(&wide));
    }
}
