//! Envoy AI Gateway's QuotaPolicy: its rules by xDS, and its filters in a real Envoy.

use std::time::Duration;

use lab::{
    binaries::Part,
    envoy::{Config, Envoy},
    http::{self, Answer},
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use tollgate::pb::rules::{RateLimitConfig, RateLimitDescriptor, RateLimitUnit};

use super::support::{
    self,
    ads::{self, Ads, AdsStream},
};

/// What the model answers: that it took as many tokens as the request asks for.
const ANSWER: &str = "direct_response: { status: 200, body: { inline_string: \"ok\\n\" } }";
const WITH_TOKENS: &str = "
                response_headers_to_add: [ { header: { key: x-tokens, value: \"%REQ(x-tokens)%\" } } ]";
const NODE: &str = "envoy-ai-gateway-ratelimit";
const BACKEND: &str = "default/openai";

struct Gateway {
    envoy: Envoy,
    tollgate: Tollgate,
    _upstream: Envoy,
    _redis: Redis,
    _control: (Ads, AdsStream),
}

/// A quota: what AI Gateway puts at the end of each path.
fn quota(key: &str, value: &str, unit: RateLimitUnit, tokens: u32) -> RateLimitDescriptor {
    RateLimitDescriptor { quota_mode: true, ..ads::leaf(key, value, unit, tokens) }
}

/// One model with a quota, one with a quota for each user and another for all, and a quota for all other models.
fn policy() -> RateLimitConfig {
    let models = vec![
        quota("model_name_override", "plain", RateLimitUnit::Hour, 100),
        quota("model_name_override", "fast", RateLimitUnit::Minute, 60),
        ads::parent(
            "model_name_override",
            "ruled",
            vec![
                quota("rule-0-x-user-id-match-0", "", RateLimitUnit::Hour, 100),
                quota("rule-1-match--1", "rule-1-match--1", RateLimitUnit::Hour, 250),
            ],
        ),
        quota("model_name_override", "", RateLimitUnit::Hour, 100),
    ];
    ads::config("ai-gateway-quota", vec![ads::parent("backend_name", BACKEND, models)])
}

/// None, with a message, if there is no Envoy or no Redis and that is allowed.
async fn gateway() -> Option<Gateway> {
    if !lab::real::available(&[Part::Envoy, Part::Redis]) {
        return None;
    }
    let redis = support::redis().await?;
    let mut ads = Ads::start().await;
    let server = ads.addr().to_string();
    // Long, so that a busy machine gives no fallback answers.
    let args = ["--xds-server", &server, "--xds-node-id", NODE, "--store-deadline", "5s", "--jitter", "0"];
    let serve = Serve::without_files().store(redis.url()).args(&args);
    let (tollgate, stream) = tokio::join!(Tollgate::start(&serve), async {
        let mut stream = ads.stream().await;
        assert_eq!(stream.request().await.node.expect("a node").id, NODE);
        stream.send_good("1", &[policy()]).await;
        stream
    });
    let tollgate = tollgate.expect("starts");
    let model = Config::upstream().expect("a file").replace(ANSWER, &format!("{ANSWER}{WITH_TOKENS}"));
    let upstream = Envoy::start(&model.expect("it stands there once")).await.expect("Envoy starts");
    let text = include_str!("ai_gateway.yaml")
        .replace("TOLLGATE", &tollgate.grpc().port().to_string())
        .replace("MODEL", &upstream.listen().port().to_string());
    let config = Config::upstream().expect("a file");
    let config = config.clone().replace(config.text(), &text).expect("the whole text");
    let envoy = Envoy::start(&config).await.expect("Envoy starts");
    let gateway = Gateway { envoy, tollgate, _upstream: upstream, _redis: redis, _control: (ads, stream) };
    Some(gateway)
}

impl Gateway {
    async fn metric(&self, series: &str) -> f64 {
        let page = http::get(self.tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }

    async fn settled(&self) -> f64 {
        self.metric("tollgate_requests_total{door=\"rls\",outcome=\"settled\"} ").await
    }

    /// One request, whose response takes so many tokens. Returns when they are charged.
    async fn ask(&self, model: &str, user: &str, tokens: &str) -> Answer {
        let before = self.settled().await;
        let headers = [("x-backend", BACKEND), ("x-model", model), ("x-user-id", user), ("x-tokens", tokens)];
        let answer = http::get(self.envoy.listen(), "/v1/chat/completions", &headers).await;
        let answer = answer.expect("an answer");
        if answer.status == 200 {
            for _ in 0..500 {
                if self.settled().await > before {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{model}, {user}: the tokens were not charged: {}", self.tollgate.log_text());
        }
        assert_eq!(answer.status, 429);
        answer
    }

    async fn passes(&self, model: &str, user: &str, tokens: &str) -> bool {
        self.ask(model, user, tokens).await.status == 200
    }

    async fn assert_nothing_failed_open(&self) {
        let opened = self.envoy.counter("cluster.model.ratelimit.failure_mode_allowed").await;
        assert_eq!(opened.expect("Envoy answers"), 0);
    }
}

#[tokio::test]
async fn a_quota_closes_with_the_tokens_that_do_not_fit_and_opens_when_they_are_back() {
    let Some(gateway) = gateway().await else { return };
    for _ in 0..3 {
        assert!(gateway.passes("plain", "a", "40").await, "1 and 40, of 100");
    }
    for _ in 0..3 {
        assert!(!gateway.passes("plain", "b", "40").await, "it owes 23");
    }
    // A minute brings 60. After 1 and 63 it owes 4, and 5 seconds later there is one.
    assert!(gateway.passes("fast", "a", "63").await);
    let denied = gateway.ask("fast", "a", "63").await;
    let wait: u64 = denied.header("retry-after").and_then(|wait| wait.parse().ok()).expect("it is told");
    assert!((1..=5).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert!(gateway.passes("fast", "a", "1").await);
    gateway.assert_nothing_failed_open().await;
}

#[tokio::test]
async fn a_request_is_denied_only_if_all_quotas_of_its_rules_are_used_up() {
    let Some(gateway) = gateway().await else { return };
    // 100 tokens for each user, and 250 for all: the user's closes first, then that of all.
    for _ in 0..3 {
        assert!(gateway.passes("ruled", "a", "99").await);
    }
    assert!(!gateway.passes("ruled", "a", "99").await, "both owe");
    assert!(gateway.passes("ruled", "b", "99").await, "the quota of another user is there");
    assert!(!gateway.passes("ruled", "b", "99").await);
    gateway.assert_nothing_failed_open().await;
}

#[tokio::test]
async fn all_other_models_have_the_quota_of_the_service() {
    let Some(gateway) = gateway().await else { return };
    assert!(gateway.passes("one", "a", "99").await);
    assert!(!gateway.passes("one", "a", "1").await);
    assert!(gateway.passes("another", "a", "99").await, "each has it for itself");
    let gauge = "tollgate_rule_post_paid{domain=\"ai-gateway-quota\",\
                 rule=\"backend_name_default/openai.model_name_override\"} ";
    assert_eq!(gateway.metric(gauge).await.total_cmp(&1.0), std::cmp::Ordering::Equal);
    gateway.assert_nothing_failed_open().await;
}
