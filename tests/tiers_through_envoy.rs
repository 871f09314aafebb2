//! Free and paid clients under the same load, through real nodes, and a plan that a client made up.

mod support;

use std::time::{Duration, Instant};

use lab::{
    binaries::Part,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use tokio::task::JoinSet;
use tollgate::clock;

const LIMITS: &str = "
domain: edge
tiers:
  free: [{ unit: minute, requests_per_unit: 60, burst: 10 }, { unit: day, requests_per_unit: 1000, algorithm: fixed_window }]
  paid: [{ unit: minute, requests_per_unit: 600, burst: 200 }]
members: { file: tiers-through-envoy-members.yaml, key: api_key, default: free }
descriptors:
- key: route
  descriptors:
  - { key: api_key, tier: from_members }
  - { key: plan, value: paid, descriptors: [{ key: api_key, tier: paid }] }
";
/// The SHA-256 of `paid-in-secret`.
const DIGEST: &str = "a233a94885b4c43e6451f8993464415b6abf8885c02e1543a4726c613961d94d";

struct Stack {
    topology: Topology,
    _tollgate: Tollgate,
    _redis: Redis,
}

async fn stack(edits: &[(&str, &str)]) -> Option<Stack> {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return None;
    }
    support::file("tiers-through-envoy-members.yaml", &format!("paid: [paid-key, 'sha256:{DIGEST}']\n"));
    let limits = support::file("tiers-through-envoy.yaml", LIMITS);
    let redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(&limits).store(redis.url()).args(&["--store-deadline", "5s"]);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let mut global = Global::new([tollgate.grpc()]).timeout(Duration::from_secs(5));
    for (text, put) in edits {
        global = global.edit(text, put);
    }
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    Some(Stack { topology, _tollgate: tollgate, _redis: redis })
}

impl Stack {
    /// The number of requests that pass of 400 sent at once, and the seconds that it took.
    async fn passing(&self, headers: &'static [(&'static str, &'static str)]) -> (usize, f64) {
        let (addr, started): (_, Instant) = (self.topology.addr(), clock::monotonic());
        let mut requests = JoinSet::new();
        for _ in 0..400 {
            requests.spawn(async move { http::get(addr, "/", headers).await.expect("an answer").status });
        }
        let statuses = requests.join_all().await;
        assert!(statuses.iter().all(|status| matches!(status.as_u16(), 200 | 429)), "{statuses:?}");
        (
            statuses.into_iter().filter(|status| status.as_u16() == 200).count(),
            started.elapsed().as_secs_f64(),
        )
    }
}

/// The burst, and the tokens that may have come back meanwhile.
#[track_caller]
fn assert_admitted((passing, took_s): (usize, f64), burst: usize, per_second: f64) {
    let most = burst as f64 + per_second * took_s + 1.0;
    assert!(passing >= burst && passing as f64 <= most, "{passing} of {burst} passed in {took_s} s");
}

#[tokio::test]
async fn a_paid_key_gets_the_larger_burst_and_rate_under_the_same_load() {
    let Some(stack) = stack(&[]).await else { return };
    let free = stack.passing(&[("x-api-key", "free-key")]).await;
    let paid = stack.passing(&[("x-api-key", "paid-key")]).await;
    assert_admitted(free, 10, 1.0);
    assert_admitted(paid, 200, 10.0);
    let secret = stack.passing(&[("x-api-key", "paid-in-secret")]).await;
    assert_admitted(secret, 200, 10.0);
}

#[tokio::test]
async fn a_plan_counts_if_a_filter_says_it_and_not_if_a_client_does() {
    let paid: &[(&str, &str)] = &[("x-api-key", "free-key"), ("x-plan", "paid")];
    let Some(believed) = stack(&[("remove: x-plan", "remove: x-nobody-sends-this")]).await else { return };
    assert_admitted(believed.passing(paid).await, 200, 10.0);
    drop(believed);
    let Some(shipped) = stack(&[]).await else { return };
    assert_admitted(shipped.passing(paid).await, 10, 1.0);
}
