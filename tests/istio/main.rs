//! The files in `deploy/istio/`, in force: a real istiod configures a plain Envoy from them.
//!
//! istiod is Go and takes five minutes to build, so these tests run by `make istio-test` alone.
#![allow(clippy::disallowed_methods, reason = "tests wait in real time")]

#[path = "../support/mod.rs"]
mod support;

mod istiod;
mod kubernetes;
mod mesh;
mod proxy;
mod validation;

use std::time::{Duration, Instant};

use lab::{http, process::Signal};
use tokio::task::JoinSet;

use mesh::{Mesh, Plan, recipe};
use proxy::Role;

/// Limited key by key, and by exact counts.
async fn is_limited(mesh: &Mesh) {
    for key in ["a", "b"] {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(mesh.proxy.get(&[("x-api-key", key)]).await);
        }
        let codes: Vec<u16> = statuses.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(codes, [200, 200, 200, 429, 429], "{key}: {}", mesh.proxy.log_text());
        assert_eq!(statuses[0].header("ratelimit-limit"), Some("3"));
        assert!(statuses[3].header("retry-after").is_some());
        assert_eq!(statuses[3].header("content-type"), Some("application/problem+json"));
    }
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(mesh.proxy.get(&[]).await.status.as_u16());
    }
    assert_eq!(codes, [200, 200, 429, 429], "without a key, by address");

    let listen = mesh.proxy.listen();
    let mut crowd = JoinSet::new();
    for _ in 0..60 {
        crowd.spawn(
            async move { http::get(listen, "/", &[("x-api-key", "crowd")]).await.expect("an answer") },
        );
    }
    let passed = crowd.join_all().await.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 3, "of 60 at once");
}

/// Everything passes, Tollgate was not asked, and no log has a line with one of the `words`. If a later istiod or Envoy says
/// something, the warnings in the recipes can say so.
async fn is_silently_unlimited(mesh: &Mesh, words: &[&str]) {
    for _ in 0..8 {
        let answer = mesh.proxy.get(&[("x-api-key", "a")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (200, None));
    }
    let metrics = http::get(mesh.tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    let asked = metrics.lines().filter(|line| line.starts_with("tollgate_requests_total{"));
    assert!(asked.clone().all(|line| line.ends_with(" 0")), "{:?}", asked.collect::<Vec<_>>());
    for (program, log) in [("istiod", mesh.istiod.log_text()), ("Envoy", mesh.proxy.log_text())] {
        let told = log.lines().find(|line| words.iter().any(|word| line.contains(word)));
        assert_eq!(told, None, "{program} says something");
    }
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn gateways_hold_the_limit_by_an_envoy_filter() {
    let plan = Plan::new("gateway", Role::Gateway).recipe(recipe("gateway.yaml")).patient();
    let Some(mesh) = plan.start().await else { return };
    is_limited(&mesh).await;
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn sidecars_hold_the_limit_by_an_envoy_filter() {
    let plan = Plan::new("sidecar", Role::Sidecar).recipe(recipe("sidecar.yaml")).patient();
    let Some(mesh) = plan.start().await else { return };
    is_limited(&mesh).await;
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn a_virtual_host_can_be_chosen_by_its_name() {
    for (name, role, file, host) in [
        ("gateway-host", Role::Gateway, "gateway.yaml", "*:PORT"),
        ("sidecar-host", Role::Sidecar, "sidecar.yaml", "inbound|http|PORT"),
    ] {
        let plan = Plan::new(name, role).recipe(recipe(file)).virtual_host(host).patient();
        let Some(mesh) = plan.start().await else { return };
        is_limited(&mesh).await;
    }
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn a_virtual_host_that_does_not_exist_limits_nothing_and_nothing_says_so() {
    for (name, role, file, host) in [
        ("gateway-wrong", Role::Gateway, "gateway.yaml", "*:8"),
        ("sidecar-wrong", Role::Sidecar, "sidecar.yaml", "inbound|http|8"),
    ] {
        let plan = Plan::new(name, role).recipe(recipe(file)).virtual_host(host);
        let Some(mesh) = plan.start().await else { return };
        is_silently_unlimited(&mesh, &[host, "tollgate-"]).await;
    }
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn a_sidecar_that_does_not_import_tollgate_limits_nothing_and_nothing_says_so() {
    let plan = Plan::new("sidecar-alone", Role::Sidecar).recipe(recipe("sidecar.yaml")).egress("./*");
    let Some(mesh) = plan.start().await else { return };
    is_silently_unlimited(&mesh, &["tollgate-", "ratelimit", "outbound|8081"]).await;
}

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn gateways_and_sidecars_hold_the_limit_by_ext_authz() {
    for (name, role, file) in [
        ("authz-gateway", Role::Gateway, "ext-authz-gateway.yaml"),
        ("authz-sidecar", Role::Sidecar, "ext-authz-sidecar.yaml"),
    ] {
        let plan = Plan::new(name, role).recipe(recipe(file)).provider(&[]).patient();
        let Some(mesh) = plan.start().await else { return };
        is_limited(&mesh).await;
    }
}

/// How long one request takes at most in these tests, if its proxy does not wait.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn a_tollgate_that_hangs_holds_requests_for_the_timeout_and_istios_is_600_s() {
    const TIMEOUT: &str = "      timeout: 0.2s\n";
    for (name, edits, expected) in [
        ("authz-patient", &[(TIMEOUT, "")][..], "\"timeout\": \"600s\""),
        ("authz-hasty", &[], "\"timeout\": \"0.200s\""),
    ] {
        let plan = Plan::new(name, Role::Gateway).recipe(recipe("ext-authz-gateway.yaml")).provider(edits);
        let Some(mut mesh) = plan.start().await else { return };
        let dump = mesh.proxy.config_dump().await;
        assert!(dump.contains(expected), "{expected} is not in {dump}");
        mesh.tollgate.signal(Signal::Stop).expect("it is there");
        let since = Instant::now();
        let answer = tokio::time::timeout(SOON, mesh.proxy.get(&[("x-api-key", "a")])).await;
        println!("{name}: {:?} after {:.2?}", answer.as_ref().map(|answer| answer.status), since.elapsed());
        match answer {
            Ok(answer) => assert_eq!((edits.len(), answer.status.as_u16()), (0, 200), "failOpen"),
            Err(_) => assert_eq!(edits.len(), 1, "no answer within {SOON:?}"),
        }
    }
}

/// The opposite of the silent mistake: Istio denies what it cannot ask about.
#[tokio::test]
#[ignore = "needs istiod: make istio-test"]
async fn a_provider_that_does_not_exist_denies_everything() {
    let policy = recipe("ext-authz-gateway.yaml")
        .replace("provider: { name: tollgate }", "provider: { name: tolgate }");
    let Some(mesh) = Plan::new("authz-wrong", Role::Gateway).recipe(policy).provider(&[]).start().await
    else {
        return;
    };
    assert_eq!(mesh.proxy.get(&[("x-api-key", "a")]).await.status.as_u16(), 403);
}
