//! What clients of real Envoy nodes see: one limit across three nodes, and the 429 contract.

mod support;

use std::time::Duration;

use lab::{
    binaries::{self, Part},
    http::{self, Answer},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tollgate_prove::decisions_in;

/// Long, so that a busy machine gives no fallback answers: these tests are about exactness.
const GENEROUS: Duration = Duration::from_secs(5);

struct Stack {
    topology: Topology,
    tollgate: Tollgate,
    redis: Redis,
}

/// Redis, one Tollgate with the demo's limits, and three nodes. `None` if a part is missing and that is allowed.
async fn stack(args: &[&str], edits: &[(&str, &str)]) -> Option<Stack> {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return None;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(binaries::checkout().join("examples/demo.yaml")).store(redis.url());
    let serve = serve.args(&["--store-deadline", "5s", "--jitter", "0"]).args(args);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let mut global = Global::new([tollgate.grpc()]).timeout(GENEROUS);
    for (text, put) in edits {
        global = global.edit(text, put);
    }
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    Some(Stack { topology, tollgate, redis })
}

impl Stack {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(self.topology.addr(), path, headers).await.expect("an answer")
    }

    /// Sends until the first 429. Returns that, and the number of requests that passed before.
    async fn exhaust(&self, path: &str, headers: &[(&str, &str)]) -> (usize, Answer) {
        for passed in 0..50 {
            let answer = self.get(path, headers).await;
            if answer.status == 429 {
                return (passed, answer);
            }
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        panic!("{path} was never limited")
    }

    /// Fails if the nodes let a request pass because they had no answer: then the answers prove nothing.
    async fn assert_nothing_failed_open(&self) {
        let opened = self.topology.counter("cluster.upstream.ratelimit.failure_mode_allowed").await;
        assert_eq!(opened.expect("the nodes answer"), 0);
        let metrics = http::get(self.tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
        let decisions = decisions_in(&metrics).expect("Tollgate's own metrics");
        assert!(decisions.store_made > 0 && decisions.fallback_answers == 0, "{metrics}");
    }
}

fn headers<'a>(answer: &'a Answer, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let all = answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text")));
    all.filter(|(name, _)| name.contains(prefix)).collect()
}

/// The wait for a limit of 6 per minute: ten seconds after its last token was taken, or nine if a busy machine took
/// more than one second for the requests before.
#[track_caller]
fn about_ten<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.header(name);
    assert!(matches!(value, Some("9" | "10")), "{name}: {value:?}");
    value.unwrap_or_default()
}

#[tokio::test]
async fn three_nodes_that_ask_tollgate_admit_the_limit() {
    let Some(stack) = stack(&[], &[]).await else { return };
    let addr = stack.topology.addr();
    let mut requests = JoinSet::new();
    for _ in 0..600 {
        requests
            .spawn(async move { http::get(addr, "/", &[("x-api-key", "burst")]).await.expect("an answer") });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 100);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 500);
    stack.assert_nothing_failed_open().await;
}

#[tokio::test]
async fn a_denied_client_is_told_when_to_come_back_and_an_admitted_one_what_is_left() {
    let Some(stack) = stack(&[], &[]).await else { return };
    let key = [("x-api-key", "k")];
    let allowed = stack.get("/login", &key).await;
    assert_eq!(allowed.status, 200);
    let reset = about_ten(&allowed, "ratelimit-reset");
    assert_eq!(
        headers(&allowed, "ratelimit"),
        [("ratelimit-limit", "6"), ("ratelimit-remaining", "5"), ("ratelimit-reset", reset)]
    );
    assert_eq!(allowed.header("retry-after"), None);

    let (passed, denied) = stack.exhaust("/login", &key).await;
    assert_eq!(passed, 5);
    let reset = about_ten(&denied, "ratelimit-reset");
    assert_eq!(
        headers(&denied, "ratelimit"),
        [
            ("ratelimit-limit", "6"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", reset),
            ("x-envoy-ratelimited", "true"),
        ]
    );
    assert_eq!(denied.header("retry-after"), Some(reset), "without jitter");
    assert_eq!(headers(&denied, "content-type"), [("content-type", "application/problem+json")]);
    let problem: serde_json::Value = serde_json::from_slice(&denied.body).expect("JSON");
    assert_eq!(
        (&problem["status"], &problem["violated-policies"][0]),
        (&429.into(), &"route_login.api_key".into())
    );
    stack.assert_nothing_failed_open().await;
}

#[tokio::test]
async fn structured_headers_replace_the_others_where_they_are_asked_for() {
    let Some(stack) = stack(&["--headers", "ratelimit-structured"], &[]).await else { return };
    let (_, denied) = stack.exhaust("/login", &[("x-api-key", "k")]).await;
    let in_seconds = |t: u32| {
        let state = format!(r#""route_login.api_key";r=0;t={t}"#);
        denied.header("ratelimit").is_some_and(|value| value == state)
    };
    assert!(in_seconds(9) || in_seconds(10), "{denied:?}");
    assert_eq!(
        headers(&denied, "ratelimit").iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["ratelimit-policy", "ratelimit", "x-envoy-ratelimited"]
    );
    let policy = denied.header("ratelimit-policy");
    assert_eq!(policy, Some(r#""route_login.api_key";q=6;w=60;tollgate-burst=6"#));
    assert_eq!((denied.header("retry-after"), denied.body.len()), (None, 0));
}

#[tokio::test]
async fn the_headers_that_envoy_makes_of_the_statuses_are_right_too() {
    let edits = [
        (r#"enable_x_ratelimit_headers: "OFF""#, "enable_x_ratelimit_headers: DRAFT_VERSION_03"),
        ("enable_retry_after_header: false", "enable_retry_after_header: true"),
    ];
    let Some(stack) = stack(&["--headers", "none"], &edits).await else { return };
    let key = [("x-api-key", "k")];
    let allowed = stack.get("/login", &key).await;
    let reset = about_ten(&allowed, "x-ratelimit-reset");
    assert_eq!(
        headers(&allowed, "ratelimit"),
        [("x-ratelimit-limit", "6, 6;w=60"), ("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", reset)]
    );
    let (_, denied) = stack.exhaust("/login", &key).await;
    assert_eq!(denied.header("x-ratelimit-remaining"), Some("0"));
    let reset = about_ten(&denied, "x-ratelimit-reset");
    assert_eq!(denied.header("retry-after"), Some(reset));
}

#[tokio::test]
async fn a_client_without_a_key_or_with_bytes_that_are_no_text_is_limited_too() {
    let Some(stack) = stack(&[], &[]).await else { return };
    let (passed, _) = stack.exhaust("/login", &[]).await;
    assert_eq!(passed, 6);

    let mut statuses = Vec::new();
    for _ in 0..7 {
        let mut stream = TcpStream::connect(stack.topology.addr()).await.expect("connects");
        let request =
            b"GET /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: \xff\xfe\xe9\r\n\r\n";
        stream.write_all(request).await.expect("writes");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("reads");
        statuses.push(String::from_utf8_lossy(&answer[9..12]).into_owned());
    }
    assert_eq!(statuses, ["200", "200", "200", "200", "200", "200", "429"]);
    stack.assert_nothing_failed_open().await;
}

#[tokio::test]
async fn without_redis_envoy_decides_or_tollgate_does_as_configured() {
    for (answer, status) in [("error", 200), ("allow", 200), ("deny", 429)] {
        let Some(mut stack) = stack(&["--on-store-failure", answer], &[]).await else { return };
        stack.redis.kill();
        let got = stack.get("/", &[("x-api-key", "k")]).await;
        assert_eq!(got.status, status, "{answer}");
        let opened = stack.topology.counter("cluster.upstream.ratelimit.failure_mode_allowed").await;
        assert_eq!(opened.expect("the nodes answer"), u64::from(answer == "error"), "{answer}");
        let metrics = http::get(stack.tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
        assert!(metrics.contains(&format!(r#"source="{answer}",verdict="{answer}"}} 1"#)), "{metrics}");
        if answer == "deny" {
            assert_eq!(got.header("retry-after"), Some("1"));
            assert!(got.text().contains("cannot be checked"), "{got:?}");
        }
    }
}
