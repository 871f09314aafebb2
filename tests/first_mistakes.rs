//! Mistakes that people first make in Envoy's cluster, in a real Envoy: some work all the same, and the others are
//! warned of.

mod support;

use std::time::Duration;

use lab::{
    binaries::Part,
    envoy::{Config, Envoy},
    http,
    process::Signal,
    tollgate::{Serve, Tollgate},
};

const LIMITS: &str = "
domain: edge
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";
/// Long, so that a busy machine gives no fallback answers.
const GENEROUS: Duration = Duration::from_secs(5);
/// The number of times that something is looked for, and the pause between them.
const LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

const HTTP2: &str = "http2_protocol_options: { connection_keepalive: { interval: 5s, timeout: 1s } }";
const GRPC_HEALTH: &str = "grpc_health_check: { service_name: envoy.service.ratelimit.v3.RateLimitService }";
const ENDPOINTS: &str = "    load_assignment:\n      cluster_name: tollgate\n";

struct Stack {
    tollgate: Tollgate,
    node: Envoy,
    _upstream: Envoy,
}

impl Stack {
    /// A Tollgate, and one node that asks it by a cluster with these changes. `None` if there is no Envoy and that is
    /// allowed.
    async fn start(test: &str, edits: &[(&str, &str)]) -> Option<Stack> {
        if !lab::real::available(&[Part::Envoy]) {
            return None;
        }
        let limits = support::file(&format!("first_mistakes_{test}.yaml"), LIMITS);
        let serve = Serve::new(limits).args(&["--drain-wait", "60s"]);
        let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
        let upstream = Envoy::start(&Config::upstream().expect("it is there")).await.expect("Envoy starts");
        let config = Config::global_node("node", upstream.listen(), &[tollgate.grpc()])
            .and_then(|config| config.patience(GENEROUS))
            .and_then(|config| {
                edits.iter().try_fold(config, |config, (text, put)| config.replace(text, put))
            });
        let node = Envoy::start(&config.expect("an edit of what is there")).await.expect("Envoy starts");
        Some(Stack { tollgate, node, _upstream: upstream })
    }

    async fn statuses(&self, requests: usize) -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..requests {
            let answer = http::get(self.node.listen(), "/", &[("x-api-key", "k")]).await.expect("an answer");
            statuses.push(answer.status.as_u16());
        }
        statuses
    }

    /// Waits until the node counts this number of replicas as healthy.
    async fn until_healthy(&self, wanted: u64) {
        for _ in 0..LOOKS {
            let healthy = self.node.counter("cluster.tollgate.membership_healthy").await.expect("an answer");
            if healthy == wanted {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("never {wanted} healthy replicas; Tollgate said: {}", self.tollgate.log_text());
    }

    async fn until_told(&self, words: &str) {
        for _ in 0..LOOKS {
            if self.tollgate.log_text().contains(words) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{words:?} is not in: {}", self.tollgate.log_text());
    }
}

#[tokio::test]
async fn a_health_check_of_a_cluster_made_for_the_reference_finds_the_service_and_sees_it_leave() {
    let by_its_name = "grpc_health_check: { service_name: ratelimit }";
    let no_panic =
        format!("    common_lb_config: {{ healthy_panic_threshold: {{ value: 0 }} }}\n{ENDPOINTS}");
    let edits = [(GRPC_HEALTH, by_its_name), (ENDPOINTS, no_panic.as_str())];
    let Some(mut stack) = Stack::start("health", &edits).await else { return };
    stack.until_healthy(1).await;
    assert_eq!(stack.statuses(2).await, [200, 429]);
    stack.tollgate.signal(Signal::Terminate).expect("it runs");
    stack.until_healthy(0).await;
}

#[tokio::test]
async fn an_envoy_that_asks_over_http1_is_told_which_setting_is_missing() {
    let edits = [(HTTP2, "http_protocol_options: {}"), (GRPC_HEALTH, "tcp_health_check: {}")];
    let Some(stack) = Stack::start("http1", &edits).await else { return };
    stack.until_healthy(1).await;
    let before = stack.tollgate.log_text();
    assert!(!before.contains(" WARN "), "a probe that connects and goes is silent: {before}");
    assert_eq!(stack.statuses(2).await, [200, 200], "nothing is limited");
    stack.until_told("Envoy calls the gRPC port over HTTP/1.1").await;
    assert!(stack.tollgate.log_text().contains("http2_protocol_options"));
}

#[tokio::test]
async fn an_envoy_that_asks_over_tls_is_told_which_setting_is_too_much() {
    let tls = format!(
        "    transport_socket:\n      name: tls\n      typed_config:\n        \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n{ENDPOINTS}"
    );
    let Some(stack) = Stack::start("tls", &[(ENDPOINTS, tls.as_str())]).await else { return };
    stack.until_told("a client of the gRPC port speaks TLS").await;
    assert_eq!(stack.statuses(2).await, [200, 200], "nothing is limited");
    assert!(stack.tollgate.log_text().contains("transport_socket"));
}
