//! The naive variant through the real load balancer: what three nodes make of one limit.

use std::collections::BTreeMap;

use lab::{
    binaries::Part,
    http::{self, Answer},
    real,
    topology::{Topology, Variant},
};
use tokio::{net::TcpSocket, task::JoinSet};
use tollgate_core::limit::{Limit, Unit};

/// 10 at once, and nothing comes back while a test runs.
fn ten_per_day() -> Variant {
    Variant::Naive(Limit::new(10, Unit::Day, None).unwrap())
}

async fn at_once(
    topology: &Topology,
    count: usize,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
) -> Vec<Answer> {
    let addr = topology.addr();
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let headers = headers.to_vec();
        requests.spawn(async move { http::get(addr, path, &headers).await.unwrap() });
    }
    requests.join_all().await
}

fn admitted(answers: &[Answer]) -> usize {
    for answer in answers {
        assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test]
async fn three_nodes_that_count_for_themselves_admit_three_times_the_limit() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    let answers = at_once(&topology, 60, "/", &[("x-api-key", "k")]).await;
    assert_eq!(admitted(&answers), 30);

    let mut by_node = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        *by_node.entry(answer.header("x-edge-node").unwrap()).or_insert(0) += 1;
    }
    assert_eq!(by_node, BTreeMap::from([("node1", 10), ("node2", 10), ("node3", 10)]));
    assert_eq!(topology.counter("naive.http_local_rate_limit.rate_limited").await.unwrap(), 30);
}

#[tokio::test]
async fn every_key_and_every_route_has_its_own_bucket() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    for (path, key) in [("/", "a"), ("/", "b"), ("/login", "a"), ("/login/x", "b")] {
        assert_eq!(admitted(&at_once(&topology, 36, path, &[("x-api-key", key)]).await), 30, "{path} {key}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_past_the_limit_of_its_route() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    assert_eq!(admitted(&at_once(&topology, 36, "/login", &[("x-api-key", "k")]).await), 30);
    for path in ["//login", "/x/../login", "/login?q", "/login/"] {
        assert_eq!(admitted(&at_once(&topology, 3, path, &[("x-api-key", "k")]).await), 0, "{path}");
    }
}

#[tokio::test]
async fn no_key_an_empty_key_and_a_made_up_address_share_the_bucket_of_the_client_address() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    assert_eq!(admitted(&at_once(&topology, 36, "/", &[]).await), 30);
    assert_eq!(admitted(&at_once(&topology, 3, "/", &[("x-api-key", "")]).await), 0);
    for name in ["x-forwarded-for", "x-envoy-external-address", "x-real-ip"] {
        assert_eq!(admitted(&at_once(&topology, 3, "/", &[(name, "192.0.2.1")]).await), 0, "{name}");
    }
    assert_eq!(admitted(&at_once(&topology, 3, "/", &[("x-api-key", "k")]).await), 3);
}

#[tokio::test]
async fn each_client_address_has_its_own_bucket_behind_the_load_balancer() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    assert_eq!(admitted(&at_once(&topology, 36, "/", &[]).await), 30);
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = elsewhere.connect(topology.addr()).await.unwrap();
    assert_eq!(http::get_over(stream, "/", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn more_keys_than_envoy_remembers_by_default_do_not_reset_a_bucket() {
    if !real::available(&[Part::Envoy]) {
        return;
    }
    let topology = Topology::start(&ten_per_day()).await.unwrap();
    assert_eq!(admitted(&at_once(&topology, 36, "/", &[("x-api-key", "k")]).await), 30);
    for key in 0..60 {
        let key = format!("other-{key}");
        assert_eq!(http::get(topology.addr(), "/", &[("x-api-key", &key)]).await.unwrap().status, 200);
    }
    assert_eq!(admitted(&at_once(&topology, 3, "/", &[("x-api-key", "k")]).await), 0);
}
