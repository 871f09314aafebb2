//! One answer, judged: did the limiter make it, and does a 429 tell the client all that it promises?
//!
//! A 429 says `retry-after` (whole seconds, at least 1, not before `ratelimit-reset`), `ratelimit-limit`
//! (the burst), `ratelimit-remaining: 0`, `ratelimit-reset`, each once, with a problem+json body of
//! status 429. A 2xx carries `ratelimit-*` and no `retry-after`. Envoy's own `x-ratelimit-*` are another matter.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    record::Class,
    report::{self, Told as Problem},
};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// A head and as much of the body as was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// One way in which an answer breaks the contract. `rule` comes from a fixed set, `seen` from the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) rule: &'static str,
    pub(super) seen: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) class: Class,
    pub(super) breaches: Vec<Breach>,
    /// The rules that denied, where a denial names them.
    pub(super) denied_by: Vec<String>,
}

/// The seconds that a denial tells its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) retry_after_s: u64,
    pub(super) reset_s: u64,
}

pub(super) fn judge(answer: Answer<'_>, burst: u32) -> Judgement {
    let signed = [LIMIT, REMAINING, RESET].iter().any(|name| answer.headers.contains_key(name));
    let mut denied_by = Vec::new();
    let (class, breaches) = match (answer.status, signed) {
        (StatusCode::TOO_MANY_REQUESTS, true) => {
            let problem = report::problem(answer.body);
            let breaches = denial_breaches(answer, &problem, burst);
            denied_by = problem.violated;
            (Class::Denied, breaches)
        }
        (StatusCode::TOO_MANY_REQUESTS, false) => (Class::DeniedUnsigned, Vec::new()),
        (status, true) if status.is_success() => (Class::Admitted, admission_breaches(answer.headers)),
        (status, false) if status.is_success() => (Class::AdmittedUnsigned, Vec::new()),
        _ => (Class::Failed, Vec::new()),
    };
    Judgement { class, breaches, denied_by }
}

/// What a denial tells; none if it does not say both.
pub(super) fn told(headers: &HeaderMap) -> Option<Told> {
    let retry_after_s = whole_number(one(headers, &header::RETRY_AFTER)?)?;
    let reset_s = whole_number(one(headers, &RESET)?)?;
    Some(Told { retry_after_s, reset_s })
}

fn denial_breaches(answer: Answer<'_>, body: &Problem, burst: u32) -> Vec<Breach> {
    let headers = answer.headers;
    let mut breaches = Vec::new();
    let mut expect = |holds: bool, rule: &'static str, name: &HeaderName| {
        if !holds {
            breaches.push(Breach { rule, seen: shown(headers, name) });
        }
    };
    let number = |name: &HeaderName| one(headers, name).and_then(whole_number);

    let (retry_after, reset) = (number(&header::RETRY_AFTER), number(&RESET));
    expect(
        retry_after.is_some_and(|seconds| seconds >= 1),
        "retry-after is one whole number of seconds, at least 1",
        &header::RETRY_AFTER,
    );
    expect(reset.is_some(), "ratelimit-reset is one whole number of seconds", &RESET);
    if let (Some(retry_after), Some(reset)) = (retry_after, reset) {
        expect(retry_after >= reset, "retry-after is not before ratelimit-reset", &header::RETRY_AFTER);
    }
    expect(number(&LIMIT) == Some(u64::from(burst)), "ratelimit-limit is the burst", &LIMIT);
    expect(number(&REMAINING) == Some(0), "ratelimit-remaining is 0", &REMAINING);
    let problem = one(headers, &header::CONTENT_TYPE).is_some_and(is_problem_json);
    expect(problem, "content-type is application/problem+json", &header::CONTENT_TYPE);
    if body.status != Some(429) {
        let seen = String::from_utf8_lossy(answer.body).chars().take(80).collect();
        breaches.push(Breach { rule: "the body is JSON with status 429", seen });
    }
    breaches
}

fn admission_breaches(headers: &HeaderMap) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, rule) in [
        (LIMIT, "an admitted answer has a ratelimit-limit"),
        (REMAINING, "an admitted answer has a ratelimit-remaining"),
        (RESET, "an admitted answer has a ratelimit-reset"),
    ] {
        if !headers.contains_key(&name) {
            breaches.push(Breach { rule, seen: shown(headers, &name) });
        }
    }
    if headers.contains_key(header::RETRY_AFTER) {
        let seen = shown(headers, &header::RETRY_AFTER);
        breaches.push(Breach { rule: "an admitted answer has no retry-after", seen });
    }
    breaches
}

/// The value of a header that stands exactly once; a second line would leave the client to choose.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// Digits and nothing else: `u64::from_str` would take "+7" as well.
fn whole_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn is_problem_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case("application/problem+json")
}

fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    if values.is_empty() {
        return format!("no {name}");
    }
    format!("{name}: {}", values.join(&format!(" | {name}: "))).chars().take(120).collect()
}

#[cfg(test)]
mod tests;
