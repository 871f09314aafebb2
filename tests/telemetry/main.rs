//! What a running Tollgate tells of single decisions: the decision log, and traces.

mod batches;
mod collector;
mod decision_log;
mod exemplars;
#[path = "../support/mod.rs"]
mod support;
mod traces;

use std::time::Duration;

use lab::tollgate::{Serve, Tollgate};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const LIMITS: &str = "
domain: edge
descriptors:
- { key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1000000 } }
- { key: once, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";

/// What clients send, and nobody may read unless it is asked for.
const VALUE: &str = "canary-key";

struct Service {
    client: RateLimitServiceClient<Channel>,
    process: Tollgate,
}

impl Service {
    async fn start(test: &str, change: impl FnOnce(Serve) -> Serve) -> Service {
        let limits = support::file(&format!("telemetry-{test}.yaml"), LIMITS);
        let serve = Serve::new(&limits).args(&["--drain-wait", "0s", "--runtimes", "1"]);
        let process = Tollgate::start(&change(serve)).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Service { client, process }
    }

    /// Asks once, with these headers.
    async fn ask(&mut self, key: &str, headers: &[(&'static str, &str)]) -> RateLimitResponse {
        let entry = Entry { key: key.to_owned().into(), value: VALUE.into() };
        let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let domain = "edge".to_owned();
        let mut call =
            tonic::Request::new(RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: 0 });
        for (name, value) in headers {
            call.metadata_mut().insert(*name, value.parse().expect("ASCII"));
        }
        self.client.should_rate_limit(call).await.expect("an answer").into_inner()
    }

    async fn page(&self) -> String {
        lab::http::get(self.process.admin(), "/metrics", &[]).await.expect("an answer").text()
    }

    /// The value of this series.
    async fn counted(&self, series: &str) -> u64 {
        let page = self.page().await;
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).trim().parse().expect("a number")
    }

    async fn until_counted(&self, series: &str, at_least: u64) {
        for _ in 0..200 {
            if self.counted(series).await >= at_least {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{series} is {} and not {at_least}: {}", self.counted(series).await, self.process.log_text());
    }

    /// Waits for the store.
    async fn until_ready(&self) {
        for _ in 0..400 {
            let ready = lab::http::get(self.process.admin(), "/ready", &[]).await.expect("an answer");
            if ready.text() == "OK" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not ready: {}", self.process.log_text());
    }

    async fn until_logged(&self, text: &str) {
        for _ in 0..200 {
            if self.process.log_text().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {text:?} in {}", self.process.log_text());
    }
}
