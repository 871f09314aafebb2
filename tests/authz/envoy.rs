//! Through real Envoy nodes, as envoy/authz/node.yaml configures them.

use std::time::Duration;

use lab::{
    binaries::{self, Part},
    http::{self, Answer},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use tokio::task::JoinSet;

/// Long, so that a busy machine gives no fallback answers: these tests are about exactness.
const GENEROUS: Duration = Duration::from_secs(5);

struct Stack {
    topology: Topology,
    tollgate: Tollgate,
    _redis: Redis,
}

async fn stack(edits: &[(&str, &str)]) -> Option<Stack> {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return None;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(binaries::checkout().join("examples/demo.yaml")).store(redis.url());
    let args = ["--store-deadline", "5s", "--jitter", "0", "--authz-address-header", "x-tollgate-client"];
    let tollgate = Tollgate::start(&serve.args(&args)).await.expect("Tollgate starts");
    let global =
        edits.iter().fold(Global::by_authz([tollgate.grpc()]).timeout(GENEROUS), |global, (text, put)| {
            global.edit(text, put)
        });
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    Some(Stack { topology, tollgate, _redis: redis })
}

impl Stack {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(self.topology.addr(), path, headers).await.expect("an answer")
    }
}

#[tokio::test]
async fn three_nodes_that_ask_by_ext_authz_admit_the_limit() {
    let Some(stack) = stack(&[]).await else { return };
    let addr = stack.topology.addr();
    let mut requests = JoinSet::new();
    for _ in 0..600 {
        requests
            .spawn(async move { http::get(addr, "/", &[("x-api-key", "burst")]).await.expect("an answer") });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 100);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 500);
    let opened = stack.topology.counter("http.edge.ext_authz.failure_mode_allowed").await;
    assert_eq!(opened.expect("the nodes answer"), 0);
}

#[tokio::test]
async fn a_client_is_told_by_ext_authz_what_it_is_told_by_the_rate_limit_service() {
    let Some(stack) = stack(&[]).await else { return };
    let key = [("x-api-key", "k")];
    let mut passed = Vec::new();
    let denied = loop {
        let answer = stack.get("/login", &key).await;
        if answer.status == 429 {
            break answer;
        }
        passed.push(answer);
    };
    assert_eq!(passed.len(), 6);
    assert_eq!(passed[0].header("ratelimit-remaining"), Some("5"));
    assert_eq!(denied.header("x-envoy-ratelimited"), Some("true"));
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    assert_eq!(denied.header("retry-after"), denied.header("ratelimit-reset"));
    let problem: serde_json::Value = serde_json::from_slice(&denied.body).expect("JSON");
    assert_eq!(
        (&problem["status"], &problem["violated-policies"][0]),
        (&429.into(), &"route_login.api_key".into())
    );

    // Envoy tells a gRPC client by its own answer, with our code in it.
    let grpc = stack.get("/login", &[key[0], ("content-type", "application/grpc")]).await;
    assert_eq!((grpc.status.as_u16(), grpc.header("grpc-status")), (200, Some("8")));
}

#[tokio::test]
async fn a_client_without_a_key_is_known_by_its_address_and_cannot_choose_it() {
    let Some(stack) = stack(&[]).await else { return };
    let mut statuses = Vec::new();
    for n in 0..8 {
        let spoofed = format!("203.0.113.{n}");
        let headers = [
            ("x-tollgate-client", spoofed.as_str()),
            ("x-forwarded-for", spoofed.as_str()),
            ("x-api-key", ""),
        ];
        statuses.push(stack.get("/login", &headers[..2 + n % 2]).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429]);
    for _ in 0..9 {
        assert_eq!(stack.get("/healthz", &[]).await.status, 200, "a route where the filter is off");
    }
}

/// What a node answers when it has no answer of Tollgate's.
#[tokio::test]
async fn without_tollgate_a_node_fails_as_it_is_told() {
    for (edit, expected, counter) in [
        (None, 200, "failure_mode_allowed"),
        (Some(("failure_mode_allow: true", "failure_mode_allow: false")), 503, "error"),
    ] {
        let edits: Vec<(&str, &str)> = edit.into_iter().collect();
        let Some(mut stack) = stack(&edits).await else { return };
        stack.tollgate.kill();
        let answer = stack.get("/", &[("x-api-key", "k")]).await;
        assert_eq!(answer.status.as_u16(), expected);
        let counted = stack.topology.counter(&format!("http.edge.ext_authz.{counter}")).await;
        assert!(counted.expect("the nodes answer") > 0, "{counter}");
    }
}

#[tokio::test]
async fn by_default_and_beyond_the_circuit_breaker_a_node_fails_closed() {
    let edits = [
        ("failure_mode_allow: true", "failure_mode_allow: false"),
        ("              status_on_error: { code: ServiceUnavailable }\n", ""),
        ("max_requests: 100000, max_pending_requests: 100000, max_retries: 100 }", "max_requests: 0 }"),
    ];
    let Some(stack) = stack(&edits).await else { return };
    let answer = stack.get("/", &[("x-api-key", "k")]).await;
    assert_eq!(answer.status.as_u16(), 403);
}

const FILTER: [&str; 2] = ["              grpc_service:\n", "          - name: envoy.filters.http.router\n"];
const CLUSTER: [&str; 2] = ["    health_checks:\n", "    load_assignment:\n      cluster_name: tollgate\n"];
/// As docs/authz.md shows it.
const HTTP_SERVICE: &str = "              http_service:
                server_uri: { uri: http://tollgate, cluster: tollgate, timeout: 5s }
                authorization_response:
                  allowed_client_headers: { patterns: [ { exact: content-type }, { exact: retry-after }, { prefix: ratelimit }, { exact: x-envoy-ratelimited }, { exact: grpc-status } ] }
                  allowed_client_headers_on_success: { patterns: [ { prefix: ratelimit } ] }
";

/// The text from the first mark to the last occurrence of the second.
fn between<'t>(text: &'t str, [from, to]: [&str; 2]) -> &'t str {
    let from = text.find(from).expect("the file has it");
    let to = text.rfind(to).expect("the file has it");
    &text[from..to]
}

#[tokio::test]
async fn three_nodes_that_ask_by_http_admit_the_limit_and_pass_on_the_contract() {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let args = [
        "--store-deadline",
        "5s",
        "--authz-address-header",
        "x-tollgate-client",
        "--authz-http-listen",
        "127.0.0.1:0",
    ];
    let serve = Serve::new(binaries::checkout().join("examples/demo.yaml")).store(redis.url()).args(&args);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let node = std::fs::read_to_string(binaries::checkout().join("envoy/authz/node.yaml")).expect("the file");
    let global = Global::by_authz([super::http_address(&tollgate).await])
        .edit(between(&node, FILTER), HTTP_SERVICE)
        .edit(between(&node, CLUSTER), "")
        .edit("              encode_raw_headers: true\n", "");
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    let addr = topology.addr();
    let mut requests = JoinSet::new();
    for _ in 0..300 {
        requests
            .spawn(async move { http::get(addr, "/", &[("x-api-key", "burst")]).await.expect("an answer") });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 100);
    let denied = answers.iter().find(|answer| answer.status == 429).expect("most are denied");
    for header in
        ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-envoy-ratelimited"]
    {
        assert!(denied.header(header).is_some(), "{header}: {denied:?}");
    }
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    let allowed = answers.iter().find(|answer| answer.status == 200).expect("some pass");
    assert_eq!(allowed.header("ratelimit-limit"), Some("100"));
    let series = "tollgate_requests_total{door=\"authz_http\",outcome=\"deny\"}";
    assert_eq!(super::metric(&tollgate, series).await, Some(200));
    let headers = [("x-api-key", "burst"), ("content-type", "application/grpc")];
    let grpc = http::get(addr, "/", &headers).await.expect("an answer");
    assert_eq!((grpc.status.as_u16(), grpc.header("grpc-status")), (200, Some("8")));
}
