//! The HTTP form: as Envoy asks, and as Traefik and nginx ask.

use lab::http;
use tollgate::metrics::CONTENT_TYPE;

use super::{http_address, metric, serve};

const LIMITS: &str = "
domain: edge
authz:
- rate_limits:
  - actions:
    - { method: {} }
    - { host: {} }
    - { path: {} }
    - { request_headers: { header_name: x-api-key, descriptor_key: api_key, skip_if_absent: true } }
descriptors:
- key: method
  descriptors:
  - key: host
    descriptors:
    - key: path
      rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 }
      descriptors:
      - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 } }
";
const ANY: [&str; 2] = ["--authz-http-listen", "127.0.0.1:0"];

#[tokio::test]
async fn the_request_line_says_what_is_asked_and_the_answer_is_passed_on_as_it_is() {
    let tollgate = serve("http", LIMITS, &[ANY[0], ANY[1], "--jitter", "0"]).await;
    let address = http_address(&tollgate).await;
    let mut connection = http::Connection::open(address).await.expect("connects");
    let key = [("x-api-key", "a"), ("x-forwarded-uri", "/else"), ("x-forwarded-method", "PUT")];
    let allowed = connection.get("/a?x=1", &key).await.expect("an answer");
    assert_eq!((allowed.status.as_u16(), allowed.header("ratelimit-remaining")), (200, Some("1")));
    assert_eq!(connection.get("/a?x=2", &key).await.expect("an answer").status, 200);
    let denied = connection.get("/a", &key).await.expect("an answer");
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("retry-after"), denied.header("ratelimit-reset"));
    assert_eq!(denied.header("x-envoy-ratelimited"), Some("true"));
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    assert!(denied.text().contains("method.host.path.api_key"), "{}", denied.text());
    assert_eq!(connection.get("/b", &key).await.expect("an answer").status, 200, "another path");
    let series = "tollgate_requests_total{door=\"authz_http\",outcome=\"deny\"}";
    assert_eq!(metric(&tollgate, series).await, Some(1));
}

/// Traefik's ForwardAuth asks one address for everything, and says what the client asked for in these headers.
#[tokio::test]
async fn forwarded_headers_say_what_is_asked_where_they_are_trusted_and_nothing_else_does() {
    let args = [ANY[0], ANY[1], "--authz-request-from", "x-forwarded", "--authz-denied-status", "403"];
    let tollgate = serve("forwarded", LIMITS, &args).await;
    let address = http_address(&tollgate).await;
    let asked = |path: &'static str| {
        [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-uri", path),
            ("x-forwarded-for", "203.0.113.7"),
        ]
    };
    for (path, expected) in [("/a?x=1", 200), ("/a?x=2", 403), ("/b", 200)] {
        let answer = http::get(address, "/check", &asked(path)).await.expect("an answer");
        assert_eq!(answer.status, expected, "{path}");
    }
    for headers in [&asked("/c")[..3], &[&asked("/c")[..], &[("x-forwarded-uri", "/d")]].concat()] {
        let refused = http::get(address, "/check", headers).await.expect("an answer");
        assert_eq!(refused.status, 400);
        assert!(
            refused.text().starts_with("the header x-forwarded-uri is missing or repeated"),
            "{}",
            refused.text()
        );
    }
    let series = "tollgate_requests_total{door=\"authz_http\",outcome=\"invalid\"}";
    assert_eq!(metric(&tollgate, series).await, Some(2));
}

#[tokio::test]
async fn a_header_can_name_the_domain_and_an_address_must_have_one() {
    let limits = "
domain: edge
authz: [{ rate_limits: [{ actions: [{ remote_address: {} }] }], without_descriptor: deny }]
descriptors: [{ key: remote_address, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }]
";
    let named = serve("named", limits, &[&ANY[..], &["--authz-domain-header", "x-domain"]].concat()).await;
    let address = http_address(&named).await;
    let unknown = http::get(address, "/", &[("x-domain", "inner")]).await.expect("an answer");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("no limits file has `authz` for the domain inner"), "{}", unknown.text());
    let known = http::get(address, "/", &[("x-domain", "edge")]).await.expect("an answer");
    assert_eq!(known.status, 403, "there is no address, and the entry says deny");
    assert!(named.log_text().contains("set --authz-address-header"), "{}", named.log_text());

    let args = [&ANY[..], &["--authz-address-header", "x-real-ip"]].concat();
    let tollgate = serve("addressed", limits, &args).await;
    let address = http_address(&tollgate).await;
    for (client, expected) in [("203.0.113.7", 200), ("203.0.113.7", 429), ("203.0.113.8", 200)] {
        let answer = http::get(address, "/", &[("x-real-ip", client)]).await.expect("an answer");
        assert_eq!(answer.status, expected, "{client}");
    }
    assert!(!tollgate.log_text().contains("--authz-address-header"), "{}", tollgate.log_text());
}

#[tokio::test]
async fn the_metrics_page_is_not_on_this_port() {
    let tollgate = serve("not-admin", LIMITS, &ANY).await;
    let answer = http::get(http_address(&tollgate).await, "/metrics", &[]).await.expect("an answer");
    assert_ne!(answer.header("content-type"), Some(CONTENT_TYPE));
}
