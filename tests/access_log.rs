//! Envoy's access log shows which rule decided, and from which source: `envoy/global/access_log.yaml`, in a real node.

mod support;

use std::time::Duration;

use lab::{
    binaries::{self, Part},
    envoy::Envoy,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use serde_json::Value;

const LIMITS: &str = "
domain: edge
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1, on_store_failure: deny } }
";

/// The log of one node, once it has this number of entries.
async fn entries(node: &Envoy, count: usize) -> Vec<Value> {
    for _ in 0..300 {
        let log = node.log_text();
        let entries: Vec<Value> = log
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if entries.len() >= count {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {count} entries in: {}", node.log_text())
}

#[tokio::test]
async fn a_denial_is_logged_with_its_rule_its_wait_and_who_decided() {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return;
    }
    let snippet = std::fs::read_to_string(binaries::checkout().join("envoy/global/access_log.yaml"))
        .expect("it is there");
    let snippet: String = snippet
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("          {line}\n"))
        .collect();
    let mut redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(support::file("access_log.yaml", LIMITS)).store(redis.url());
    let serve = serve.args(&["--store-deadline", "5s", "--dynamic-metadata"]);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let filters = "          http_filters:\n";
    let global = Global::new([tollgate.grpc()])
        .timeout(Duration::from_secs(5))
        .edit(filters, &format!("{snippet}{filters}"));
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    let node = &topology.nodes[0];
    let get = async || {
        let key = [("x-api-key", "who-i-am")];
        http::get(node.listen(), "/", &key).await.expect("an answer").status.as_u16()
    };
    assert_eq!([get().await, get().await], [200, 429]);
    redis.kill();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(get().await, 429);

    let log = entries(node, 3).await;
    let told = |at: usize, name: &str| log[at][name].clone();
    assert_eq!((told(0, "source"), told(0, "remaining")), (Value::from("store"), Value::from(0)));
    assert_eq!((told(1, "status"), told(1, "flags")), (Value::from(429), Value::from("RL")));
    let source = told(1, "source");
    assert!(source == "store" || source == "cache", "{source}");
    assert_eq!(told(1, "rule"), "route.api_key");
    let wait_s = told(1, "wait_seconds").as_f64().expect("seconds");
    assert!((86_300.0..=86_400.0).contains(&wait_s), "{wait_s}");
    assert_eq!(told(2, "source"), "deny", "a fallback answer says so");
    assert!(!node.log_text().contains("who-i-am"), "{}", node.log_text());
}
