//! What changes while requests run: limits, Envoy Gateway itself, and certificates.

use std::time::{Duration, Instant};

use crate::{
    certificates::served_certificate,
    client::Request,
    load::{Load, assert_all},
    resources::{policy, route},
    rig::{OTHER_PORT, PORT, SECOND_PORT, rig},
};

/// After a reconnect, Tollgate keeps a domain that vanished for 15 s. What it forgets too early would show by then.
const SETTLED: Duration = Duration::from_secs(20);

fn rule(requests: u32) -> String {
    rule_with(requests, "")
}

fn rule_with(requests: u32, more: &str) -> String {
    let selector = "headers: [{name: x-user-id, type: Distinct}]";
    format!("{{clientSelectors: [{{{selector}}}], limit: {{requests: {requests}, unit: Hour}}{more}}}")
}

fn by(path: &str, user: &str) -> Request {
    Request::get(path).header("x-user-id", user)
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_limit_that_changes_keeps_what_was_used_and_loses_no_request() {
    let texts =
        |requests| [route("one", "changed"), policy("changed", &["HTTPRoute/changed"], &[&rule(requests)])];
    let probes = [Request::get("/changed")];
    let mut rig = rig().await;
    rig.apply("changed", &texts(1000), &probes).await;
    let denied = Load::of(by("/changed", "busy"));
    let started = Instant::now();
    // A thousand requests of one user, however often the limit is written again.
    while denied.count(started, 429) < 50 {
        rig.apply("changed", &texts(1000), &probes).await;
        assert!(started.elapsed() < Duration::from_secs(60), "{} passed", denied.count(started, 200));
    }
    // What refills in a minute is less than one hit in three seconds.
    let refilled = usize::try_from(started.elapsed().as_secs() * 1000 / 3600 + 1).expect("a few");
    let passed = denied.count(started, 200);
    assert!((1000..=1000 + refilled).contains(&passed), "{passed}");

    rig.apply("changed", &texts(50), &probes).await;
    let lowered = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(denied.count(lowered, 200), 0, "who has used up the higher limit has used up the lower one");
    by("/changed", "another").passes_with(50, 49).await;
    let seen = denied.end().await;
    assert!(seen.iter().all(|seen| matches!(seen.status, Some(200 | 429))), "each was answered");
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_limit_that_is_removed_ends_and_one_that_comes_back_remembers() {
    let with = [route("one", "removed"), policy("removed", &["HTTPRoute/removed"], &[&rule(3)])];
    let without = [route("one", "removed")];
    let probes = [Request::get("/removed")];
    let mut rig = rig().await;
    rig.apply("removed", &with, &probes).await;
    by("/removed", "one").is_limited_to(3).await;
    let load = Load::of(by("/removed", "one"));

    rig.apply("removed", &without, &[]).await;
    rig.until(&by("/removed", "one"), 200).await;
    by("/removed", "one").is_not_limited().await;
    rig.apply("removed", &with, &probes).await;
    let back = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(load.count(back, 200), 0, "the bucket is as it was left");
    let seen = load.end().await;
    assert!(seen.iter().all(|seen| matches!(seen.status, Some(200 | 429))), "each was answered");
}

/// A user in each of four domains who has used everything up: two listeners, another gateway, a shared rule. A
/// restarted Envoy Gateway sends some of the domains first.
async fn exhausted(name: &str) -> Vec<Load> {
    let [first, second, shared] = ["a", "b", "shared"].map(|part| format!("{name}-{part}"));
    let texts = [
        route("one", &first),
        policy(&first, &[&format!("HTTPRoute/{first}")], &[&rule(3)]),
        route("two", &second),
        policy(&second, &[&format!("HTTPRoute/{second}")], &[&rule(3)]),
        route("one", &shared),
        policy(&shared, &[&format!("HTTPRoute/{shared}")], &[&rule_with(3, ", shared: true")]),
    ];
    let [first, second, shared] = [first, second, shared].map(|name| format!("/{name}"));
    let places = [(&first, PORT), (&first, OTHER_PORT), (&second, SECOND_PORT), (&shared, PORT)];
    let probes = places.map(|(path, port)| Request::get(path).port(port));
    rig().await.apply(name, &texts, &probes).await;
    let mut loads = Vec::new();
    for (path, port) in places {
        let request = by(path, "exhausted").port(port);
        request.is_limited_to(3).await;
        loads.push(Load::of(request));
    }
    loads
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn nothing_passes_unlimited_while_envoy_gateway_restarts() {
    let loads = exhausted("restart").await;
    let mut rig = rig().await;
    for away in [Duration::ZERO, Duration::from_secs(3)] {
        rig.kill_gateway();
        tokio::time::sleep(away).await;
        rig.restart_gateway();
        tokio::time::sleep(SETTLED).await;
    }
    for load in loads {
        assert_all(&load.end().await, 429);
    }
    // The new one is listened to.
    let texts = [route("one", "afterwards"), policy("afterwards", &["HTTPRoute/afterwards"], &[&rule(3)])];
    rig.apply("afterwards", &texts, &[Request::get("/afterwards")]).await;
    by("/afterwards", "one").is_limited_to(3).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn nothing_passes_unlimited_while_certificates_rotate() {
    let loads = exhausted("rotation").await;
    let mut rig = rig().await;
    let before = served_certificate().await;
    rig.certificates.rotate();
    while served_certificate().await == before {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each of them opens new connections to the others, with the new certificates.
    rig.restart_gateway();
    let texts = [route("one", "rotated"), policy("rotated", &["HTTPRoute/rotated"], &[&rule(3)])];
    rig.apply("rotated", &texts, &[Request::get("/rotated")]).await;
    for load in loads {
        assert_all(&load.end().await, 429);
    }
    by("/rotated", "one").is_limited_to(3).await;

    rig.restart_envoys().await;
    rig.until(&by("/rotated", "one"), 429).await;
    by("/rotated", "another").is_limited_to(3).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_service_that_waits_for_its_rules_is_not_healthy_before_it_has_them() {
    let texts = [route("one", "waits"), policy("waits", &["HTTPRoute/waits"], &[&rule(3)])];
    let mut rig = rig().await;
    rig.apply("waits", &texts, &[Request::get("/waits")]).await;
    by("/waits", "one").is_limited_to(3).await;

    rig.restart_service(&["FORCE_START_WITHOUT_INITIAL_CONFIG=false"]).await;
    let (status, _) = by("/waits", "one").ask().await;
    assert_eq!(status, 429);
    rig.restart_service(&[]).await;
    rig.until(&by("/waits", "one"), 429).await;
}
