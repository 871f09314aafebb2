//! The gRPC form, asked as Envoy asks.

use tollgate::pb::{
    HeaderValue, RateLimitDescriptor, RateLimitRequest,
    auth::attribute_context::Peer,
    core::{Address, HeaderMap, SocketAddress, address},
    rate_limit_descriptor::Entry,
    rate_limit_response::Code as Overall,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::Code;

use super::{about, channel, check, metric, serve, support, told, with_extensions};

const LIMITS: &str = "
domain: edge
authz:
- match: { hosts: [api.example.com], path_prefix: /login, methods: [POST] }
  rate_limits:
  - actions: [{ generic_key: { descriptor_key: route, descriptor_value: login } }, { remote_address: {} }]
  without_descriptor: deny
- rate_limits:
  - actions:
    - { generic_key: { descriptor_key: route, descriptor_value: default } }
    - { request_headers: { header_name: x-api-key, descriptor_key: api_key } }
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 3 } }
  - { key: remote_address, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 } }
";

fn key(name: &str) -> [(&str, &str); 1] {
    [("x-api-key", name)]
}

#[tokio::test]
async fn an_admitted_request_and_a_denied_one_are_told_the_whole_contract() {
    let tollgate = serve("contract", LIMITS, &["--jitter", "0"]).await;
    let channel = channel(&tollgate).await;
    let allowed = told(&channel, about("GET", "/", &key("a"))).await;
    assert_eq!((allowed.status, allowed.code), (200, 0));
    let names: Vec<&str> = allowed.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]);
    assert_eq!(allowed.header("ratelimit-remaining"), Some("2"));
    assert!(allowed.actions.iter().all(|action| *action == 2), "they replace those of the upstream");

    for _ in 0..2 {
        assert_eq!(told(&channel, about("GET", "/", &key("a"))).await.status, 200);
    }
    let denied = told(&channel, about("GET", "/", &key("a"))).await;
    assert_eq!((denied.status, denied.code), (429, Code::ResourceExhausted as i32));
    assert_eq!(denied.header("x-envoy-ratelimited"), Some("true"));
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    assert_eq!(denied.header("ratelimit-remaining"), Some("0"));
    assert_eq!(denied.header("retry-after"), denied.header("ratelimit-reset"), "without jitter");
    assert_eq!(denied.header("grpc-status"), None);
    let body: serde_json::Value = serde_json::from_str(&denied.body).expect("JSON");
    assert_eq!(body["violated-policies"][0], "route.api_key");

    let grpc = [("x-api-key", "a"), ("content-type", "application/grpc+proto")];
    let denied = told(&channel, about("POST", "/pkg.Service/Call", &grpc)).await;
    assert_eq!((denied.status, denied.header("grpc-status")), (429, Some("8")));
    assert_eq!(told(&channel, about("GET", "/", &key("b"))).await.status, 200, "another key, another bucket");
}

#[tokio::test]
async fn both_doors_charge_one_bucket() {
    let tollgate = serve("both", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    let entry = |key: &'static str, value: &'static str| Entry { key: key.into(), value: value.into() };
    let entries = vec![entry("route", "default"), entry("api_key", "a")];
    let descriptor = RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    let request = RateLimitRequest { domain: "edge".into(), descriptors: vec![descriptor], hits_addend: 1 };
    let mut rls = RateLimitServiceClient::new(channel.clone());
    let mut ask = async || rls.should_rate_limit(request.clone()).await.expect("an answer").into_inner();
    assert_eq!(ask().await.overall_code(), Overall::Ok);
    assert_eq!(told(&channel, about("GET", "/", &key("a"))).await.header("ratelimit-remaining"), Some("1"));
    assert_eq!(ask().await.overall_code(), Overall::Ok);
    assert_eq!(told(&channel, about("GET", "/", &key("a"))).await.status, 429);
    assert_eq!(ask().await.overall_code(), Overall::OverLimit);
    for (door, outcome, times) in
        [("rls", "allow", 2), ("rls", "deny", 1), ("authz", "allow", 1), ("authz", "deny", 1)]
    {
        let series = format!("tollgate_requests_total{{door=\"{door}\",outcome=\"{outcome}\"}}");
        assert_eq!(metric(&tollgate, &series).await, Some(times), "{series}");
    }
}

fn from(peer: &str, mut request: tollgate::pb::auth::CheckRequest) -> tollgate::pb::auth::CheckRequest {
    let socket = SocketAddress { address: peer.to_owned(), ..SocketAddress::default() };
    let address = Address { address: Some(address::Address::SocketAddress(socket)) };
    let source = Peer { address: Some(address), service: "anybody".to_owned(), ..Peer::default() };
    request.attributes.get_or_insert_default().source = Some(source);
    request
}

#[tokio::test]
async fn the_address_is_that_of_the_peer_unless_a_header_is_named_for_it() {
    let login = |headers: &[(&str, &str)]| from("10.0.0.1", about("POST", "/login?next=/", headers));
    let tollgate = serve("peer", LIMITS, &[]).await;
    let one = channel(&tollgate).await;
    let spoofed = [("x-client", "203.0.113.9")];
    for expected in [200, 200, 429] {
        assert_eq!(told(&one, login(&spoofed)).await.status, expected, "the header means nothing");
    }
    let other = from("10.0.0.2", about("POST", "/login", &[]));
    assert_eq!(told(&one, other).await.status, 200, "another peer");

    let tollgate = serve("header", LIMITS, &["--authz-address-header", "X-Client"]).await;
    let named = channel(&tollgate).await;
    for client in ["203.0.113.9", "203.0.113.8", "2001:db8::1"] {
        for expected in [200, 200, 429] {
            assert_eq!(told(&named, login(&[("x-client", client)])).await.status, expected, "{client}");
        }
    }
    // Nothing takes the place of a missing address, and the entry says `without_descriptor: deny`.
    for headers in [&[][..], &[("x-client", "203.0.113.9,198.51.100.1")]] {
        let told = told(&named, login(headers)).await;
        assert_eq!((told.status, told.code, told.headers.len()), (403, Code::PermissionDenied as i32, 0));
    }
    let log = tollgate.log_text();
    assert_eq!(log.matches("requests have no client address").count(), 1, "{log}");
    let series = "tollgate_requests_total{door=\"authz\",outcome=\"no_descriptor_denied\"}";
    assert_eq!(metric(&tollgate, series).await, Some(2));
}

#[tokio::test]
async fn a_request_that_makes_no_descriptor_passes_and_it_is_told_and_counted() {
    let tollgate = serve("none", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    for _ in 0..5 {
        let told = told(&channel, about("GET", "/", &[])).await;
        assert_eq!((told.status, told.headers.len()), (200, 0));
    }
    let log = tollgate.log_text();
    assert_eq!(log.matches("makes no descriptor of them").count(), 1, "{log}");
    let series = "tollgate_requests_total{door=\"authz\",outcome=\"no_descriptor\"}";
    assert_eq!(metric(&tollgate, series).await, Some(5));
}

#[tokio::test]
async fn a_request_that_no_entry_matches_passes_and_it_is_told() {
    let limits = "
domain: edge
authz:
- match: { path_prefix: /login }
  rate_limits: [{ actions: [{ path: {} }] }]
- { match: { path_prefix: /static } }
descriptors: [{ key: path, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 0 } }]
";
    let tollgate = serve("no-entry", limits, &[]).await;
    let channel = channel(&tollgate).await;
    assert_eq!(told(&channel, about("GET", "/login", &[])).await.status, 429);
    assert_eq!(told(&channel, about("GET", "/static/a", &[])).await.status, 200);
    assert!(!tollgate.log_text().contains("pass unlimited"), "an entry without lists exempts on purpose");
    assert_eq!(told(&channel, about("GET", "/other", &[])).await.status, 200);
    let log = tollgate.log_text();
    assert!(log.contains("no entry of the domain's authz matches them"), "{log}");
}

const TWO_DOMAINS: [&str; 2] = ["edge", "inner"];

#[tokio::test]
async fn the_domain_is_named_or_is_the_only_one_with_authz() {
    let limits = |domain: &str| {
        let text = format!(
            "domain: {domain}\nauthz: [{{ rate_limits: [{{ actions: [{{ method: {{}} }}] }}] }}]\n\
             descriptors: [{{ key: method, rate_limit: {{ unit: day, algorithm: token_bucket, requests_per_unit: 1, name: {domain} }} }}]\n"
        );
        support::file(&format!("authz-domain-{domain}.yaml"), &text)
    };
    let paths = TWO_DOMAINS.map(limits);
    let both = lab::tollgate::Serve::new(&paths[0]).args(&["--config", &paths[1].display().to_string()]);
    let tollgate = lab::tollgate::Tollgate::start(&both).await.expect("starts");
    let channel = channel(&tollgate).await;
    for domain in TWO_DOMAINS {
        let named = || with_extensions(about("GET", "/", &[]), &[("domain", domain)]);
        assert_eq!(told(&channel, named()).await.status, 200);
        let denied = told(&channel, named()).await;
        assert_eq!(denied.status, 429);
        assert!(denied.body.contains(&format!("[\"method:{domain}\"]")), "{}", denied.body);
    }
    for (extensions, expected) in [
        (&[][..], "the request names no domain, and not exactly one domain has `authz`"),
        (&[("domain", "elsewhere")], "no limits file has `authz` for the domain elsewhere"),
    ] {
        let request = with_extensions(about("GET", "/", &[]), extensions);
        let status = check(&channel, request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(expected), "{status:?}");
    }
    let log = tollgate.log_text();
    assert_eq!(log.matches("a check of ext_authz was refused").count(), 2, "{log}");
    let series = "tollgate_requests_total{door=\"authz\",outcome=\"invalid\"}";
    assert_eq!(metric(&tollgate, series).await, Some(2));
}

#[tokio::test]
async fn the_first_line_of_a_raw_header_is_the_key() {
    let tollgate = serve("raw", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    let raw = |lines: &[&[u8]]| {
        let line = |value: &&[u8]| HeaderValue {
            key: "x-api-key".into(),
            raw_value: value.to_vec().into(),
            ..HeaderValue::default()
        };
        let mut request = about("GET", "/", &[]);
        let http = request.attributes.as_mut().and_then(|a| a.request.as_mut()).and_then(|r| r.http.as_mut());
        http.expect("set").header_map = Some(HeaderMap { headers: lines.iter().map(line).collect() });
        request
    };
    for (lines, left) in [
        (&[&b"\xff\xfe"[..], b"b"][..], "2"),
        (&[b"\xff\xfe", b"c"], "1"),
        (&[b"b"], "2"),
        (&[b"\xff\xff"], "2"),
    ] {
        let told = told(&channel, raw(lines)).await;
        assert_eq!(told.header("ratelimit-remaining"), Some(left), "{lines:?}");
    }
}

#[tokio::test]
async fn shadow_mode_lets_pass_what_either_limit_or_missing_descriptor_would_deny() {
    let tollgate = serve("shadow", LIMITS, &["--shadow-mode"]).await;
    let channel = channel(&tollgate).await;
    for _ in 0..5 {
        assert_eq!(told(&channel, about("GET", "/", &key("a"))).await.status, 200);
    }
    assert_eq!(told(&channel, about("POST", "/login", &[])).await.status, 200);
    let series = "tollgate_requests_total{door=\"authz\",outcome=\"deny\"}";
    assert_eq!(metric(&tollgate, series).await, Some(2), "they are counted as what they would be");
}

#[tokio::test]
async fn without_an_answer_of_the_store_the_client_gets_503_and_when_to_come_back() {
    let Some(mut redis) = support::redis().await else { return };
    let limits = support::file("authz-error.yaml", LIMITS);
    let serve = lab::tollgate::Serve::new(&limits).store(redis.url()).args(&["--on-store-failure", "error"]);
    let tollgate = lab::tollgate::Tollgate::start(&serve).await.expect("starts");
    let channel = channel(&tollgate).await;
    redis.kill();
    let told = told(&channel, about("GET", "/", &key("a"))).await;
    assert_eq!(
        (told.status, told.code, told.header("retry-after")),
        (503, Code::Unavailable as i32, Some("1"))
    );
    let series = "tollgate_requests_total{door=\"authz\",outcome=\"unavailable\"}";
    assert_eq!(metric(&tollgate, series).await, Some(1));
}

#[tokio::test]
async fn dynamic_metadata_has_the_descriptors_and_the_metadata_of_their_rules() {
    let limits = "
domain: edge
authz:
- rate_limits:
  - actions: [{ request_headers: { header_name: x-api-key, descriptor_key: api_key } }]
    hits_addend: { number: 2 }
descriptors:
- { key: api_key, metadata: { plan: gold }, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 5 } }
";
    let tollgate = serve("metadata", limits, &["--dynamic-metadata"]).await;
    let channel = channel(&tollgate).await;
    let answer = check(&channel, about("GET", "/", &key("a"))).await.expect("an answer");
    let shown = format!("{:?}", answer.dynamic_metadata.expect("it is on"));
    for expected in ["api_key=a", "gold", "hitsAddend", "remaining", "NumberValue(3.0)", "\"edge\""] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[tokio::test]
async fn shadow_mode_lets_pass_what_the_store_does_not_answer() {
    let Some(mut redis) = support::redis().await else { return };
    let limits = support::file("authz-shadow-error.yaml", LIMITS);
    let args = ["--on-store-failure", "error", "--shadow-mode"];
    let serve = lab::tollgate::Serve::new(&limits).store(redis.url()).args(&args);
    let tollgate = lab::tollgate::Tollgate::start(&serve).await.expect("starts");
    let channel = channel(&tollgate).await;
    redis.kill();
    assert_eq!(told(&channel, about("GET", "/", &key("a"))).await.status, 200);
    let entry = Entry { key: "route".into(), value: "default".into() };
    let other = Entry { key: "api_key".into(), value: "a".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry, other], ..RateLimitDescriptor::default() };
    let request = RateLimitRequest { domain: "edge".into(), descriptors: vec![descriptor], hits_addend: 1 };
    let answer = RateLimitServiceClient::new(channel).should_rate_limit(request).await.expect("an answer");
    assert_eq!(answer.into_inner().overall_code(), Overall::Ok);
}

#[tokio::test]
async fn more_headers_than_envoy_ever_sends_are_refused_before_they_are_all_read() {
    let tollgate = serve("headers", LIMITS, &[]).await;
    let channel = channel(&tollgate).await;
    let mut request = about("GET", "/", &[]);
    let http = request.attributes.as_mut().and_then(|a| a.request.as_mut()).and_then(|r| r.http.as_mut());
    http.expect("set").header_map = Some(HeaderMap { headers: vec![HeaderValue::default(); 100_000] });
    let status = check(&channel, request).await.expect_err("refused");
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "the request has more than 16384 header lines")
    );
}
