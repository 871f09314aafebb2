//! `tollgate prove` against real Envoy nodes: it catches the limiter that counts per node, and clears Tollgate.

mod support;

use std::{
    net::SocketAddr,
    process::{Command, Output},
    time::Duration,
};

use lab::{
    binaries::{self, Part},
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use tollgate::limit::{Limit, Unit};

fn prove(target: SocketAddr, more: &[&str]) -> (i32, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["prove", "--target", &format!("http://{target}/"), "--header", "x-api-key: k"])
        .args(["--limit", "10/s", "--duration", "3s", "--concurrency", "16"])
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
    let serve = Serve::new(binaries::checkout().join("examples/demo.yaml")).store(redis.url());
    let tollgate = Tollgate::start(&serve.args(&["--store-deadline", "5s"])).await.expect("Tollgate starts");
    let global = Global::new([tollgate.grpc()]).timeout(Duration::from_secs(5));
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    let metrics = format!("http://{}/metrics", tollgate.admin());
    let (status, said) = prove(topology.addr(), &["--metrics", &metrics]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("holds: "), "{said}");
}
