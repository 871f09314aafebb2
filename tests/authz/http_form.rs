//! The HTTP form: as Envoy asks, and as Traefik and nginx ask.

use lab::http;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
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
        assert_eq!(
            refused.text(),
            "The rate limit of this request cannot be checked.
"
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
    let log = named.log_text();
    assert!(log.contains("no limits file has `authz` for the domain inner"), "{log}");
    let twice =
        http::get(address, "/", &[("x-domain", "edge"), ("x-domain", "edge")]).await.expect("an answer");
    assert_eq!(twice.status, 400);
    let empty = http::get(address, "/", &[("x-domain", "")]).await.expect("an answer");
    assert_eq!(empty.status, 403, "as without the header");
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

/// Answers that hyper gives by itself would otherwise be seen by clients alone.
#[tokio::test]
async fn checks_that_cannot_be_read_are_refused_counted_and_told() {
    let tollgate = serve("unreadable", LIMITS, &ANY).await;
    let address = http_address(&tollgate).await;
    let many = (0..300).map(|n| format!("x-{n}: v\r\n")).collect::<String>();
    let long = "p".repeat(100_000);
    for (raw, expected) in [
        (format!("GET /a HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "HTTP/1.1 431 "),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "HTTP/1.1 414 "),
        ("GET ?a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(raw.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(expected), "{answer}");
    }
    let series = "tollgate_requests_total{door=\"authz_http\",outcome=\"invalid\"}";
    // The last connection has no answer to wait for.
    for _ in 0..500 {
        if metric(&tollgate, series).await == Some(4) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(metric(&tollgate, series).await, Some(4));
    let log = tollgate.log_text();
    assert_eq!(log.matches("a check by HTTP cannot be read").count(), 1, "{log}");
}

#[tokio::test]
async fn an_absolute_request_line_names_the_host() {
    let tollgate = serve("absolute", LIMITS, &ANY).await;
    let address = http_address(&tollgate).await;
    let mut statuses = Vec::new();
    for line in ["GET /a", "GET http://B.test/a", "GET http://a.test/a"] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let raw = format!("{line} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
        stream.write_all(raw.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        statuses.push(String::from_utf8_lossy(&answer)[9..12].to_owned());
    }
    assert_eq!(statuses, ["200", "200", "429"]);
}

/// HTTP/1.1 has no GOAWAY: a request that crosses the closing of its connection is lost.
#[tokio::test]
async fn a_connection_that_is_too_old_answers_once_more_and_says_that_it_closes() {
    let args = [&ANY[..], &["--max-connection-age", "1s"]].concat();
    let tollgate = serve("aged", LIMITS, &args).await;
    let mut connection = http::Connection::open(http_address(&tollgate).await).await.expect("connects");
    let young = connection.get("/young", &[]).await.expect("an answer");
    assert_eq!(young.header("connection"), None);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let old = connection.get("/old", &[]).await.expect("an answer");
    assert_eq!((old.status.as_u16(), old.header("connection")), (200, Some("close")));
}

#[tokio::test]
async fn a_body_that_never_comes_delays_the_answer_by_a_second_at_most() {
    let tollgate = serve("unfinished", LIMITS, &ANY).await;
    let mut stream = TcpStream::connect(http_address(&tollgate).await).await.expect("connects");
    stream.write_all(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.expect("it reads");
    let mut answer = Vec::new();
    let ended =
        tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}
