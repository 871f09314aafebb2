//! The page of metrics of a real server, after requests that are known.

mod support;

use std::{collections::BTreeSet, fs};

use lab::tollgate::{Serve, Tollgate};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const LIMITS: &str = "
domain: edge
tiers:
  free: [{ unit: day, requests_per_unit: 10 }]
  paid: [{ unit: day, requests_per_unit: 99 }]
members: { file: metrics-members.yaml, key: member, default: free }
descriptors:
- { key: user, rate_limit: { unit: day, requests_per_unit: 10 } }
- { key: burst, rate_limit: { unit: hour, requests_per_unit: 60, burst: 5 } }
- { key: member, tier: from_members }
- { key: shadow, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }
- key: net
  value: 10.1.0.0/16
  descriptors:
  - key: path
    descriptors:
    - { key: method, rate_limit: { unit: day, requests_per_unit: 10 } }
";

/// Metrics that only a store of another kind, TLS, rules by xDS, a decision log traces or leases bring along.
const ELSEWHERE: [&str; 7] = [
    "tollgate_spans_",
    "tollgate_decision_log_",
    "tollgate_lease_",
    "tollgate_tls_",
    "tollgate_xds_",
    "tollgate_store_",
    "tollgate_redis_",
];

struct Service {
    client: RateLimitServiceClient<Channel>,
    process: Tollgate,
}

impl Service {
    async fn start(test: &str, args: &[&str]) -> Service {
        support::file("metrics-members.yaml", "paid: [p]\n");
        let limits = support::file(&format!("metrics-{test}.yaml"), LIMITS);
        let process = Tollgate::start(&Serve::new(&limits).args(args)).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Service { client, process }
    }

    /// Asks for these hits.
    async fn ask(&mut self, entries: &[(&str, &str)], hits: u32) {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned().into(),
            value: (*value).to_owned().into(),
        };
        let entries = entries.iter().map(entry).collect();
        let descriptor = RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
        let domain = "edge".to_owned();
        let request = RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: hits };
        self.client.should_rate_limit(request).await.expect("an answer");
    }

    async fn page(&self) -> String {
        lab::http::get(self.process.admin(), "/metrics", &[]).await.expect("an answer").text()
    }
}

fn holds(page: &str, lines: &[&str]) {
    for line in lines {
        assert!(page.lines().any(|shown| shown == *line), "no {line} in {page}");
    }
}

#[tokio::test]
async fn requests_for_which_memory_has_no_room_are_counted_and_told_once() {
    let args = ["--memory-buckets", "0", "--on-store-failure", "allow"];
    let mut service = Service::start("full", &args).await;
    for user in ["a", "b", "c"] {
        service.ask(&[("user", user)], 1).await;
    }
    let page = service.page().await;
    holds(&page, &[r#"tollgate_store_errors_total{kind="full"} 3"#, "tollgate_memory_buckets 0"]);
    let log = service.process.log_text();
    assert_eq!(log.matches("the memory store is full").count(), 1, "{log}");
}

#[tokio::test]
async fn known_requests_are_told_as_envoyproxy_ratelimit_tells_them() {
    lab::midnight::not_within(std::time::Duration::from_secs(30)).await;
    let mut service = Service::start("reference", &["--reference-metrics"]).await;
    for hits in [5, 4, 1, 1] {
        service.ask(&[("user", "secret-value")], hits).await;
    }
    service.ask(&[("shadow", "x")], 1).await;
    service.ask(&[("shadow", "x")], 3).await;
    service.ask(&[("net", "10.1.0.0/16"), ("path", "/"), ("method", "GET")], 2).await;
    service.client.should_rate_limit(RateLimitRequest::default()).await.expect_err("it is invalid");
    let page = service.page().await;
    // These are the names and labels that dashboards of envoyproxy/ratelimit query.
    holds(
        &page,
        &[
            "# TYPE ratelimit_service_rate_limit_total_hits counter",
            r#"ratelimit_service_rate_limit_total_hits{domain="edge",key1="user"} 11"#,
            r#"ratelimit_service_rate_limit_within_limit{domain="edge",key1="user"} 10"#,
            r#"ratelimit_service_rate_limit_near_limit{domain="edge",key1="user"} 2"#,
            r#"ratelimit_service_rate_limit_over_limit{domain="edge",key1="user"} 1"#,
            r#"ratelimit_service_rate_limit_shadow_mode{domain="edge",key1="shadow"} 3"#,
            r#"ratelimit_service_rate_limit_over_limit{domain="edge",key1="shadow"} 3"#,
            r#"ratelimit_service_rate_limit_total_hits{domain="edge",key1="net_10_1_0_0/16",key2="path"} 2"#,
            r#"ratelimit_service_should_rate_limit_error{err_type="redis_error"} 0"#,
            r#"ratelimit_service_should_rate_limit_error{err_type="service_error"} 1"#,
            r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"} 8"#,
            "ratelimit_service_config_load_success 1",
            "ratelimit_service_config_load_error 0",
            r#"ratelimit_service_response_time_seconds_count{grpc_method="ShouldRateLimit"} 7"#,
            "tollgate_reference_rules_left_out 0",
            r#"tollgate_near_limit_total{domain="edge",rule="user"} 2"#,
            r#"tollgate_request_duration_seconds_count{door="rls"} 7"#,
        ],
    );
    assert!(!page.contains("secret-value"), "{page}");
}

#[tokio::test]
async fn the_numbers_of_each_limit_are_told_and_the_border_is_where_the_flag_says() {
    let mut service = Service::start("limits", &["--near-limit-ratio", "0.5"]).await;
    service.ask(&[("user", "u")], 6).await;
    let page = service.page().await;
    let day = r#"algorithm="fixed_window",domain="edge",rule="#;
    holds(
        &page,
        &[
            &format!(r#"tollgate_limit{{{day}"user",window="day"}} 10"#),
            &format!(r#"tollgate_burst{{{day}"user",window="day"}} 10"#),
            &format!(r#"tollgate_limit{{{day}"member",tier="free",window="day"}} 10"#),
            &format!(r#"tollgate_limit{{{day}"member",tier="paid",window="day"}} 99"#),
            r#"tollgate_limit{algorithm="token_bucket",domain="edge",rule="burst",window="hour"} 60"#,
            r#"tollgate_burst{algorithm="token_bucket",domain="edge",rule="burst",window="hour"} 5"#,
            r#"tollgate_near_limit_total{domain="edge",rule="user"} 1"#,
        ],
    );
    assert!(!page.contains("ratelimit_service"), "they were not asked for");
}

#[tokio::test]
async fn every_metric_is_in_the_manual_and_the_manual_names_no_other() {
    let mut service = Service::start("manual", &["--reference-metrics"]).await;
    service.ask(&[("user", "u")], 1).await;
    let page = service.page().await;
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let shown: BTreeSet<&str> = shown.filter(|name| !name.starts_with("process_")).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate.md");
    let manual = fs::read_to_string(path).expect("the manual can be read");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let names = rows.flat_map(|(names, _)| names.split(", ")).map(|name| name.trim_matches('`'));
    let told: BTreeSet<&str> = names
        .filter(|name| name.starts_with("tollgate_") || name.starts_with("ratelimit_service_"))
        .collect();
    let untold: Vec<_> = shown.difference(&told).collect();
    assert!(untold.is_empty(), "docs/operate.md lacks {untold:?}");
    let is_elsewhere = |name: &&&str| ELSEWHERE.iter().any(|start| name.starts_with(start));
    let unknown: Vec<_> = told.difference(&shown).filter(|name| !is_elsewhere(name)).collect();
    assert!(unknown.is_empty(), "docs/operate.md has {unknown:?}, which the page does not");
}
