//! An outage of Redis, and then of Tollgate, behind three nodes that ask by ext_authz.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    FaultsError, Row, limits_file,
    nodes::{Load, Visit, percentile_ms, worst_share},
};
use crate::{
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};

/// One replica, so that its share is the whole limit: each restart of a bucket adds at most one burst.
const LIMITS: &str = "\
domain: edge
authz:
- rate_limits: [{ actions: [{ request_headers: { header_name: x-api-key, descriptor_key: api_key } }] }]
descriptors:
- { key: api_key, value: local, rate_limit: { unit: second, requests_per_unit: 20, burst: 20, on_store_failure: local } }
- { key: api_key, value: error, rate_limit: { unit: second, requests_per_unit: 1000, on_store_failure: error } }
";
const PER_SECOND: u64 = 20;
const BURST: u64 = 20;
const CLIENTS: usize = 4;
const EVERY: Duration = Duration::from_millis(50);
const BEFORE: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(3);
/// Tollgate's deadline for Redis is 10 ms; the breaker and the connection settle within this.
const SETTLED_US: u64 = 1_000_000;

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let mut redis = Redis::start().await?;
    let serve = Serve::new(limits_file("authz", LIMITS)?).store(redis.url()).args(&["--replicas", "1"]);
    let mut tollgate = Tollgate::start(&serve).await?;
    let nodes =
        Global::by_authz([tollgate.grpc()]).edit("failure_mode_allow: true", "failure_mode_allow: false");
    let topology = Topology::start(&Variant::Global(nodes)).await?;
    let load = Load::start(topology.addr(), &["local", "error"], CLIENTS, EVERY);
    sleep(BEFORE).await;
    let killed_us = load.now_us();
    redis.kill();
    sleep(OUTAGE).await;
    redis.restart().await?;
    let back_us = load.now_us();
    sleep(AFTER).await;
    let dead_us = load.now_us();
    tollgate.kill();
    sleep(Duration::from_secs(2)).await;
    let visits = load.stop().await;

    let served: Vec<Visit> = visits.iter().copied().filter(|visit| visit.end_us < dead_us).collect();
    let dead: Vec<Visit> =
        visits.into_iter().filter(|visit| visit.start_us > dead_us + SETTLED_US / 2).collect();
    Ok(vec![local(&served, killed_us, back_us), error(&served, killed_us, back_us), without_tollgate(&dead)])
}

fn select<'v>(visits: &'v [Visit], key: &'static str) -> impl Iterator<Item = Visit> + Clone + 'v {
    visits.iter().copied().filter(move |visit| visit.key == key)
}

fn local(visits: &[Visit], killed_us: u64, back_us: u64) -> Row {
    let during: Vec<Visit> =
        select(visits, "local").filter(|visit| (killed_us..back_us).contains(&visit.start_us)).collect();
    let admitted: Vec<Visit> = select(visits, "local").filter(|visit| visit.status == 200).collect();
    let denied = select(visits, "local").filter(|visit| visit.status == 429);
    let (all, told) = (
        select(visits, "local").count(),
        denied.clone().filter(|visit| visit.retry_after_s.is_some()).count(),
    );
    let answered = admitted.len() + denied.clone().count();
    let worst = worst_share(&admitted, BURST, PER_SECOND);
    Row::new("Redis is killed for 5 s behind ext_authz; the limit says `local`")
        .promised("every request is answered, 200 or a 429 with retry-after; at most twice the bound in any interval")
        .measured(format!(
            "{answered} of {all} answered, {} of them 429, all with retry-after: {}; worst interval {worst:.2} of burst + \
             refill; p50 during it {:.1} ms",
            denied.clone().count(),
            if told == denied.clone().count() { "yes" } else { "NO" },
            percentile_ms(&during, 50),
        ))
        .kept_if(
            answered == all && told == denied.count() && worst <= 2.0 && during.len() > 100 && told > 0,
        )
}

fn error(visits: &[Visit], killed_us: u64, back_us: u64) -> Row {
    let settled = killed_us + SETTLED_US..back_us;
    let during: Vec<Visit> =
        select(visits, "error").filter(|visit| settled.contains(&visit.start_us)).collect();
    let told = during.iter().filter(|visit| visit.status == 503 && visit.retry_after_s == Some(1)).count();
    let after: Vec<Visit> =
        select(visits, "error").filter(|visit| visit.start_us > back_us + SETTLED_US).collect();
    let passed = after.iter().filter(|visit| visit.status == 200).count();
    Row::new("the same; the limit says `error`")
        .promised("a 503 with retry-after: 1, where Envoy's failure_mode_allow is off; 200 again within 1 s")
        .measured(format!(
            "{told} of {} answered so, after the first second; {passed} of {} pass afterwards",
            during.len(),
            after.len()
        ))
        .kept_if(told == during.len() && told > 100 && passed == after.len() && passed > 50)
}

fn without_tollgate(visits: &[Visit]) -> Row {
    let told = visits.iter().filter(|visit| visit.status == 503).count();
    Row::new("Tollgate is killed behind ext_authz")
        .promised("the node answers its status_on_error, 503, where failure_mode_allow is off")
        .measured(format!("{told} of {}", visits.len()))
        .kept_if(told == visits.len() && told > 50)
}
