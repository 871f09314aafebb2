//! The messages of a load: all bytes are made beforehand but for the digits of the keys.

use prost::Message as _;
use tollgate::pb::{
    HeaderValue, RateLimitDescriptor, RateLimitRequest,
    auth::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Request},
    },
    core::HeaderMap,
    rate_limit_descriptor::Entry,
};

use crate::{
    bench::{
        keys::Demand,
        limits::{DOMAIN, KEY_DIGITS, Rule, api_key, digits},
    },
    http::BROWSER,
};

/// The kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A `RateLimitRequest`.
    RateLimit,
    /// A `CheckRequest` with one header, as a narrow `allowed_headers` makes it.
    Check,
    /// A `CheckRequest` with the headers of a browser.
    CheckForBrowser,
}

/// The message for one rule, or for two with a key each, and where in it the digits of keys are.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) rule: Rule,
    pub(super) second: Option<Rule>,
    pub(super) bytes: Vec<u8>,
    digits_at: Vec<usize>,
}

/// One for each rule, and one for each pair of rules that a request for two keys may fall under.
pub(super) fn bodies(form: Form, descriptors: usize) -> Vec<Body> {
    if form != Form::RateLimit {
        return Rule::ALL.map(|rule| Body::of_check(form, rule)).into();
    }
    let one = Rule::ALL.map(|rule| {
        let others = (1..descriptors).map(|number| Rule::Open(number as u8));
        Body::new(std::iter::once(rule).chain(others))
    });
    let of_pairs = [Rule::Ten, Rule::Open(0)];
    let pairs = of_pairs.into_iter().flat_map(|rule| of_pairs.map(|second| (rule, second)));
    let pairs = pairs.map(|(rule, second)| Body { second: Some(second), ..Body::new([rule, second]) });
    one.into_iter().chain(pairs).collect()
}

// === impl Form ===

impl Form {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Form::RateLimit => "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            Form::Check | Form::CheckForBrowser => "/envoy.service.auth.v3.Authorization/Check",
        }
    }
}

// === impl Body ===

impl Body {
    /// A body with one descriptor under each of these rules.
    fn new(rules: impl IntoIterator<Item = Rule>) -> Body {
        let rules: Vec<Rule> = rules.into_iter().collect();
        let entry = |key: &str, value: String| Entry { key: key.to_owned().into(), value: value.into() };
        let descriptor = |rule: Rule| RateLimitDescriptor {
            entries: vec![entry("route", rule.route()), entry("api_key", api_key(0))],
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: DOMAIN.to_owned(),
            descriptors: rules.iter().copied().map(descriptor).collect(),
            hits_addend: 0,
        };
        Body::from_message(rules[0], &request.encode_to_vec())
    }

    /// A check of a request that `authz` makes the same descriptor of.
    fn of_check(form: Form, rule: Rule) -> Body {
        let line = |name: &'static str, value: String| HeaderValue {
            key: name.into(),
            raw_value: value.into_bytes().into(),
            ..HeaderValue::default()
        };
        let others = if form == Form::CheckForBrowser { &BROWSER[..] } else { &[] };
        let mut headers: Vec<HeaderValue> =
            others.iter().map(|&(name, value)| line(name, value.to_owned())).collect();
        headers.push(line("x-api-key", api_key(0)));
        let http = HttpRequest {
            id: "5794237571980373806".to_owned(),
            method: "GET".to_owned(),
            path: "/a/b?x=1".to_owned(),
            host: "api.example.com".to_owned(),
            scheme: "http".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            header_map: Some(HeaderMap { headers }),
            ..HttpRequest::default()
        };
        let extensions = [("domain", DOMAIN.to_owned()), ("route", rule.route())];
        let attributes = AttributeContext {
            request: Some(Request { http: Some(http), time: None }),
            context_extensions: extensions.map(|(key, value)| (key.to_owned(), value)).into(),
            ..AttributeContext::default()
        };
        Body::from_message(rule, &CheckRequest { attributes: Some(attributes) }.encode_to_vec())
    }

    fn from_message(rule: Rule, message: &[u8]) -> Body {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
        bytes.extend_from_slice(message);
        let key = api_key(0).into_bytes();
        let found = bytes.windows(key.len()).enumerate().filter(|(_, window)| *window == key);
        let digits_at = found.map(|(at, _)| at + key.len() - KEY_DIGITS).collect();
        Body { rule, second: None, bytes, digits_at }
    }

    pub(super) fn write(&self, ask: &Demand, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let second = ask.second.map(|(key, _)| digits(key));
        let first = digits(ask.key);
        for (index, at) in self.digits_at.iter().enumerate() {
            let digits = second.as_ref().filter(|_| index > 0).unwrap_or(&first);
            out[start + at..][..KEY_DIGITS].copy_from_slice(digits);
        }
    }
}
