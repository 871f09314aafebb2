//! Ways around the limit that a client of real Envoy nodes may try, and what it sees when a replica dies.

mod support;

use std::{collections::BTreeSet, time::Duration};

use lab::{
    binaries::Part,
    http::{self, Answer},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use support::load::Load;
use tokio::net::TcpSocket;
use tollgate::clock::Clock;

/// Nothing is refilled while a test runs, except for the key `load`. The limits per minute are for waits.
const LIMITS: &str = "\
domain: edge
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 } }
  - { key: api_key, value: load, rate_limit: { unit: second, requests_per_unit: 20 } }
  - { key: api_key, value: waits, rate_limit: { unit: minute, requests_per_unit: 6 } }
  - { key: remote_address, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 } }
- key: route
  value: login
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 4 } }
  - { key: remote_address, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 4 } }
";

/// Long, so that a busy machine gives no fallback answers: these tests are about exactness.
const GENEROUS: Duration = Duration::from_secs(5);
const OPENED: &str = "cluster.upstream.ratelimit.failure_mode_allowed";

struct Stack {
    topology: Topology,
    tollgates: Vec<Tollgate>,
    _redis: Redis,
}

/// One Redis, this number of Tollgates on it, and three nodes. `None` if a part is missing and that is allowed.
async fn stack(test: &str, tollgates: usize) -> Option<Stack> {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return None;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(support::file(&format!("edges_{test}.yaml"), LIMITS)).store(redis.url());
    let serve = serve.args(&["--store-deadline", "5s"]);
    let mut started = Vec::new();
    for _ in 0..tollgates {
        started.push(Tollgate::start(&serve).await.expect("Tollgate starts"));
    }
    let addresses: Vec<_> = started.iter().map(Tollgate::grpc).collect();
    let global = Variant::Global(Global::new(addresses).timeout(GENEROUS));
    let topology = Topology::start(&global).await.expect("Envoy starts");
    Some(Stack { topology, tollgates: started, _redis: redis })
}

impl Stack {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(self.topology.addr(), path, headers).await.expect("an answer")
    }

    /// Sends until the first 429. Returns the number of requests that passed before.
    async fn exhaust(&self, path: &str, headers: &[(&str, &str)]) -> usize {
        for passed in 0..50 {
            let answer = self.get(path, headers).await;
            if answer.status == 429 {
                return passed;
            }
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        panic!("{path} was never limited")
    }

    async fn opened(&self) -> u64 {
        self.topology.counter(OPENED).await.expect("the nodes answer")
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_past_the_limit_of_its_route() {
    let Some(stack) = stack("path", 1).await else { return };
    let key = [("x-api-key", "k")];
    assert_eq!(stack.exhaust("/login", &key).await, 4);
    for path in ["//login", "///login", "/x/../login", "/./login", "/login?q", "/login/", "/login/x"] {
        assert_eq!(stack.get(path, &key).await.status, 429, "{path}");
    }
    assert_eq!(stack.get("/loginx", &key).await.status, 200, "another route");
    assert_eq!(stack.opened().await, 0);
}

#[tokio::test]
async fn a_made_up_address_does_not_give_a_client_without_key_another_bucket() {
    let Some(stack) = stack("forged", 1).await else { return };
    assert_eq!(stack.exhaust("/", &[]).await, 10);
    for name in ["x-forwarded-for", "x-envoy-external-address", "x-real-ip", "forwarded"] {
        for address in ["192.0.2.1", "192.0.2.2, 192.0.2.3", "for=192.0.2.4"] {
            assert_eq!(stack.get("/", &[(name, address)]).await.status, 429, "{name}: {address}");
        }
    }
    assert_eq!(stack.get("/", &[("x-api-key", "")]).await.status, 429, "an empty key is none");
    assert_eq!(stack.opened().await, 0);
}

#[tokio::test]
async fn each_client_address_has_a_bucket_of_its_own_behind_the_load_balancer() {
    let Some(stack) = stack("address", 1).await else { return };
    assert_eq!(stack.exhaust("/", &[]).await, 10);
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let elsewhere = TcpSocket::new_v4().expect("a socket");
        elsewhere.bind("127.0.0.2:0".parse().expect("an address")).expect("all of 127/8 is this machine");
        let stream = elsewhere.connect(stack.topology.addr()).await.expect("connects");
        statuses.push(http::get_over(stream, "/", &[]).await.expect("an answer").status.as_u16());
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429]].concat());
    assert_eq!(stack.opened().await, 0);
}

#[tokio::test]
async fn by_default_retry_after_is_jittered_up_to_a_fifth_of_the_wait_and_never_early() {
    let Some(stack) = stack("jitter", 1).await else { return };
    let key = [("x-api-key", "waits")];
    stack.exhaust("/", &key).await;
    let mut added = BTreeSet::new();
    for _ in 0..40 {
        let answer = stack.get("/", &key).await;
        if answer.status == 200 {
            // The machine is so slow that ten seconds have passed.
            continue;
        }
        let seconds = |name| answer.header(name).and_then(|text| text.parse::<u32>().ok()).expect(name);
        let (reset, retry_after) = (seconds("ratelimit-reset"), seconds("retry-after"));
        // A fifth of the wait, rounded.
        let most = ((reset * 2 + 5) / 10).max(1);
        assert!((reset..=reset + most).contains(&retry_after), "{retry_after} for a wait of {reset}");
        added.insert(retry_after - reset);
    }
    assert!(added.len() > 1, "retry-after was always ratelimit-reset + {added:?}");
}

/// Everything that was admitted beyond burst + refill · length is what the nodes let pass because they had no answer.
/// With retries on `reset` that is nothing, or on a starved machine a few of the calls under way. Calls that were
/// charged twice make it less, never more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_over_three_nodes_while_one_of_two_replicas_is_killed() {
    const CLIENTS: usize = 48;
    const STARVED: u64 = 8;
    let Some(mut stack) = stack("killed", 2).await else { return };
    let clock = Clock::start();
    let start_us = clock.now_us();
    let load = Load::start(stack.topology.addr(), CLIENTS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = http::get(stack.tollgates[0].admin(), "/metrics", &[]).await.expect("an answer").text();
    assert!(
        metrics.contains(r#"tollgate_requests_total{door="rls",outcome="deny"}"#),
        "not loaded: {metrics}"
    );
    stack.tollgates[0].kill();
    let before_kill = load.sent();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (sent, admitted) = load.stop().await;

    let allowed = 20 + (clock.now_us() - start_us) * 20 / 1_000_000;
    let opened = stack.opened().await;
    let retried =
        stack.topology.counter("cluster.tollgate.upstream_rq_retry").await.expect("the nodes answer");
    println!(
        "{before_kill} requests before the kill, {} after it: {admitted} admitted, {allowed} allowed, \
         {retried} calls retried, {opened} let pass by the nodes",
        sent - before_kill
    );
    assert!(sent > before_kill && before_kill > 0, "the load stood still");
    assert!(opened <= STARVED, "{opened} requests passed for want of an answer");
    assert!(admitted <= allowed + opened, "{admitted} admitted, {allowed} allowed, {opened} failed open");
    assert!(admitted * 4 >= allowed * 3, "{admitted} admitted where {allowed} were allowed");
}
