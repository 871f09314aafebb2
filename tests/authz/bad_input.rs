//! Hostile checks get a clear answer, within bounds.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::{about, channel, check, metric, serve, told};
use tollgate::pb::auth::{AttributeContext, CheckRequest};

const LIMITS: &str = "
domain: edge
authz:
- rate_limits:
  - actions:
    - { path: {} }
    - header_value_match:
        descriptor_value: hit
        expect_match: false
        headers: [{ name: x-a, string_match: { safe_regex: { regex: '(a|aa)+$' } } }]
    - { request_headers: { header_name: x-api-key, descriptor_key: api_key } }
descriptors:
- key: path
  descriptors:
  - { key: header_match, descriptors: [{ key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }] }
";

/// Far more than any of them takes, and far less than one that is not linear.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test]
async fn every_odd_check_has_an_answer_and_the_service_goes_on() {
    let tollgate = serve("odd", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    let long = "a".repeat(60_000);
    let mut many: Vec<(String, String)> = (0..10_000).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    many.push(("x-api-key".to_owned(), "many".to_owned()));
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let path = format!("/{}?{}", "p".repeat(40_000), "&".repeat(20_000));
    let mut with_body = about("POST", "/body", &[("x-api-key", "k")]);
    let http = with_body.attributes.as_mut().and_then(|a| a.request.as_mut()).and_then(|r| r.http.as_mut());
    http.expect("set").body = "b".repeat(1 << 20);
    let cases = [
        ("nothing", CheckRequest::default(), 200),
        ("no request", CheckRequest { attributes: Some(AttributeContext::default()) }, 200),
        ("long headers", about("GET", "/", &[("x-api-key", &long), ("x-a", &long)]), 200),
        ("many headers", about("GET", "/", &many), 200),
        ("a long path", about("GET", &path, &[("x-api-key", "k")]), 200),
        ("a body", with_body, 200),
        ("odd characters", about("G\0T", "\r\n\u{fffd}", &[("x-api-key", "\r\nset-cookie: a=b")]), 200),
    ];
    for (name, request, expected) in cases {
        let began = Instant::now();
        let told = told(&channel, request).await;
        assert!(began.elapsed() < SOON, "{name} took {:?}", began.elapsed());
        assert_eq!(told.status, expected, "{name}");
        let is_clean = |text: &str| !text.contains(['\r', '\n']);
        assert!(told.headers.iter().all(|(name, value)| is_clean(name) && is_clean(value)), "{name}");
    }
    assert_eq!(metric(&tollgate, "tollgate_panics_total{task=\"client_connection\"}").await, Some(0));
}

#[tokio::test]
async fn more_than_four_megabytes_are_refused_with_words() {
    let tollgate = serve("large", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    let huge = "a".repeat(5 << 20);
    let status = check(&channel, about("GET", "/", &[("x-api-key", &huge)])).await.expect_err("refused");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(told(&channel, about("GET", "/", &[("x-api-key", "k")])).await.status, 200);
}
