use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Answer, Told, judge, told};
use crate::record::Class;

const BODY: &[u8] = br#"{"type":"about:blank","title":"Too Many Requests","status":429}"#;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

const SOUND: [(&str, &str); 5] = [
    ("retry-after", "8"),
    ("ratelimit-limit", "10"),
    ("ratelimit-remaining", "0"),
    ("ratelimit-reset", "7"),
    ("content-type", "application/problem+json"),
];

/// The rules that a denial breaks if its `name` is `value` instead (None: left out).
fn broken_by(name: &str, value: Option<&'static str>) -> Vec<&'static str> {
    let lines: Vec<_> = SOUND
        .into_iter()
        .filter_map(|(n, v)| if n == name { value.map(|value| (n, value)) } else { Some((n, v)) })
        .collect();
    rules(&headers(&lines), BODY)
}

fn rules(headers: &HeaderMap, body: &[u8]) -> Vec<&'static str> {
    let answer = Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body };
    let judgement = judge(answer, 10);
    assert_eq!(judgement.class, Class::Denied);
    judgement.breaches.into_iter().map(|breach| breach.rule).collect()
}

#[test]
fn a_sound_denial_breaks_nothing() {
    assert_eq!(rules(&headers(&SOUND), BODY), Vec::<&str>::new());
    assert_eq!(told(&headers(&SOUND)), Some(Told { retry_after_s: 8, reset_s: 7 }));
}

#[test]
fn each_header_of_a_denial_is_checked() {
    let retry = "retry-after is one whole number of seconds, at least 1";
    let reset = "ratelimit-reset is one whole number of seconds";
    for (name, value, rule) in [
        ("retry-after", None, retry),
        ("retry-after", Some("8.5"), retry),
        ("retry-after", Some("+8"), retry),
        ("retry-after", Some("Wed, 21 Oct 2026 07:28:00 GMT"), retry),
        ("retry-after", Some("6"), "retry-after is not before ratelimit-reset"),
        ("ratelimit-reset", None, reset),
        ("ratelimit-reset", Some("-1"), reset),
        ("ratelimit-limit", None, "ratelimit-limit is the burst"),
        ("ratelimit-limit", Some("11"), "ratelimit-limit is the burst"),
        ("ratelimit-remaining", None, "ratelimit-remaining is 0"),
        ("ratelimit-remaining", Some("1"), "ratelimit-remaining is 0"),
        ("content-type", None, "content-type is application/problem+json"),
        ("content-type", Some("text/plain"), "content-type is application/problem+json"),
        (
            "content-type",
            Some("text/plain,application/problem+json"),
            "content-type is application/problem+json",
        ),
    ] {
        assert_eq!(broken_by(name, value), vec![rule], "{name}: {value:?}");
    }
    let zero = broken_by("retry-after", Some("0"));
    assert_eq!(zero, vec![retry, "retry-after is not before ratelimit-reset"]);
}

#[test]
fn no_header_of_a_denial_may_stand_twice() {
    for (name, value) in SOUND {
        let mut twice = headers(&SOUND);
        twice.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        let answer = Answer { status: StatusCode::TOO_MANY_REQUESTS, headers: &twice, body: BODY };
        let breaches = judge(answer, 10).breaches;
        assert_eq!(breaches.len(), 1, "{name} twice: {breaches:?}");
        assert_eq!(breaches[0].seen, format!("{name}: {value} | {name}: {value}"));
    }
}

#[test]
fn a_denial_says_so_in_its_body() {
    for body in ["", "too many", "{}", r#"{"status":"429"}"#, r#"{"status":503}"#, r#"{"status":429"#] {
        assert_eq!(rules(&headers(&SOUND), body.as_bytes()), ["the body is JSON with status 429"], "{body}");
    }
}

#[test]
fn who_made_an_answer_shows_in_its_headers() {
    let signed =
        headers(&[("ratelimit-limit", "10"), ("ratelimit-remaining", "9"), ("ratelimit-reset", "0")]);
    let unsigned = headers(&[("x-ratelimit-limit", "10"), ("content-type", "text/plain")]);
    for (status, headers, class) in [
        (StatusCode::OK, &signed, Class::Admitted),
        (StatusCode::OK, &unsigned, Class::AdmittedUnsigned),
        (StatusCode::NO_CONTENT, &signed, Class::Admitted),
        (StatusCode::TOO_MANY_REQUESTS, &unsigned, Class::DeniedUnsigned),
        (StatusCode::SERVICE_UNAVAILABLE, &signed, Class::Failed),
        (StatusCode::NOT_FOUND, &unsigned, Class::Failed),
    ] {
        let judgement = judge(Answer { status, headers, body: b"" }, 10);
        assert_eq!(judgement.class, class, "{status}");
        assert_eq!(judgement.breaches, vec![], "{status}");
    }
}

#[test]
fn an_admitted_answer_has_all_figures_and_no_retry_after() {
    let partial = headers(&[("ratelimit-limit", "10"), ("retry-after", "1")]);
    let judgement = judge(Answer { status: StatusCode::OK, headers: &partial, body: b"" }, 10);
    let rules: Vec<_> = judgement.breaches.iter().map(|breach| breach.rule).collect();
    assert_eq!(
        rules,
        [
            "an admitted answer has a ratelimit-remaining",
            "an admitted answer has a ratelimit-reset",
            "an admitted answer has no retry-after",
        ]
    );
}
