//! `tollgate prove` against real Envoy nodes: it catches the limiter that counts per node, and clears Tollgate.

mod support;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use lab::{
    binaries::{self, Part},
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use tollgate_core::limit::{Limit, Unit};

fn prove(target: SocketAddr, more: &[&str]) -> (i32, String) {
    let limit = ["--limit", "10/s", "--duration", "3s"];
    prove_url(&format!("http://{target}/"), &[&limit, more].concat())
}

fn prove_url(url: &str, more: &[&str]) -> (i32, String) {
    prove_with("x-api-key: k", url, more)
}

fn prove_with(header: &str, url: &str, more: &[&str]) -> (i32, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["prove", "--target", url, "--header", header, "--concurrency", "16"])
        .args(more)
        .output()
        .expect("tollgate was built for this test");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().expect("it ends by itself"), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_that_counts_per_node_is_caught() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let ten = Limit::new(10, Unit::Second, None).expect("sound");
    let topology = Topology::start(&Variant::Naive(ten)).await.expect("Envoy starts");
    let (status, said) = prove(topology.addr(), &[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("too much: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tollgate_behind_three_nodes_is_cleared() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let Some(redis) = support::redis().await else { return };
    let (tollgate, topology) = stack(&redis, &binaries::checkout().join("examples/demo.yaml")).await;
    let metrics = format!("http://{}/metrics", tollgate.admin());
    let (status, said) = prove(topology.addr(), &["--metrics", &metrics]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("holds: "), "{said}");
    assert!(said.contains("denials (by `route.api_key`)"), "{said}");

    // With a misspelt header another limit applies, that of the client's address. The report names it.
    let url = format!("http://{}/", topology.addr());
    let (_, said) = prove_with("x-api-kye: k", &url, &["--limit", "10/s", "--duration", "1s"]);
    assert!(said.contains("denied by       route.remote_address, "), "{said}");
}

/// The limit refills a token every ten seconds, so that a client can come two seconds before `ratelimit-reset`. It
/// takes 70 s to fill, so that the bursts after pauses are left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_behind_envoy_that_comes_two_seconds_early_is_denied_and_one_on_time_passes() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let Some(redis) = support::redis().await else { return };
    let limits = "\
domain: edge
descriptors:
- key: route
  value: login
  descriptors:
  - { key: api_key, rate_limit: { unit: minute, requests_per_unit: 6, burst: 7 } }
";
    let (_tollgate, topology) = stack(&redis, &support::file("prove_login.yaml", limits)).await;
    let url = format!("http://{}/login", topology.addr());
    let limit = ["--limit", "6/m", "--burst", "7", "--duration", "1s", "--format", "json"];
    let (status, said) = prove_url(&url, &limit);
    assert_eq!(status, 0, "{said}");

    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let left_out = report["left_out"].as_array().expect("a list");
    assert!(left_out.len() == 4 && !said.contains("alone, too early"), "{said}");
    let alone = report["phases"].as_array().and_then(|phases| phases.last()).expect("phases");
    assert_eq!(alone["name"], "alone");
    let lasted_us = alone["to_us"].as_u64().expect("µs") - alone["from_us"].as_u64().expect("µs");
    assert!(lasted_us >= 8_000_000, "nobody waited: {alone}");
    assert_eq!(alone["counts"]["admitted"], 1, "only who was on time: {alone}");
}

/// A limit per day counts in windows on both sides by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_quota_behind_envoy_holds_in_its_window() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let Some(redis) = support::redis().await else { return };
    let limits = "\
domain: edge
descriptors:
- key: route
  value: login
  descriptors:
  - { key: api_key, rate_limit: { unit: day, requests_per_unit: 50 } }
";
    let (_tollgate, topology) = stack(&redis, &support::file("prove_quota.yaml", limits)).await;
    let url = format!("http://{}/login", topology.addr());
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let (status, said) = prove_url(&url, &["--limit", "50/d", "--duration", "1s"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("in no window were more than 50 admitted (50 in all)"), "{said}");
}

async fn stack(redis: &Redis, limits: &Path) -> (Tollgate, Topology) {
    let serve = Serve::new(limits).store(redis.url());
    let tollgate = Tollgate::start(&serve.args(&["--store-deadline", "5s"])).await.expect("Tollgate starts");
    let global = Global::new([tollgate.grpc()]).timeout(Duration::from_secs(5));
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    (tollgate, topology)
}
