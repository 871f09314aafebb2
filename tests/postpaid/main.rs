//! `overdraft: auto`, over gRPC: rules that are charged after the response find that out from how they are asked, and
//! all others stay exactly pre-paid.

#[path = "../support/mod.rs"]
mod support;

mod ai_gateway;
mod budgets;
mod pre_paid;
mod told;

use std::time::Duration;

use lab::{
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
    rate_limit_descriptor::{Entry, RateLimitOverride},
    rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

/// A rule whose bucket shows whether the store answers.
const PROBE: &str = "- { key: probe, rate_limit: { unit: day, requests_per_unit: 1 } }\n";

/// Where the buckets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// In the process, which has no other beside it.
    InMemory,
    InRedis,
}

/// Processes with the same rules, and the same buckets.
struct Replicas {
    clients: Vec<RateLimitServiceClient<Channel>>,
    processes: Vec<Tollgate>,
    _redis: Option<Redis>,
}

/// None, with a message, if there is no Redis and that is allowed.
async fn replicas(test: &str, kept: Kept, number: usize, descriptors: &str) -> Option<Replicas> {
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let redis = match kept {
        Kept::InMemory => None,
        Kept::InRedis => Some(support::redis().await?),
    };
    let name = format!("postpaid-{test}-{kept:?}-{number}.yaml");
    let limits = support::file(&name, &format!("domain: edge\ndescriptors:\n{PROBE}{descriptors}"));
    let (mut clients, mut processes) = (Vec::new(), Vec::new());
    for _ in 0..number {
        // Long, so that a busy machine gives no fallback answers: these tests are about exactness.
        let mut serve = Serve::new(&limits).args(&["--store-deadline", "10s", "--drain-wait", "0s"]);
        if let Some(redis) = &redis {
            serve = serve.store(redis.url());
        }
        let process = Tollgate::start(&serve).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        clients.push(RateLimitServiceClient::new(channel.connect().await.expect("connects")));
        processes.push(process);
    }
    let mut replicas = Replicas { clients, processes, _redis: redis };
    for replica in 0..number {
        replicas.until_connected(replica).await;
    }
    Some(replicas)
}

fn descriptor(key: &str, value: &str, hits: Option<u64>) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    RateLimitDescriptor { entries: vec![entry], hits_addend: hits, ..RateLimitDescriptor::default() }
}

/// The same descriptor, with a limit per hour of its own.
fn with_limit(descriptor: RateLimitDescriptor, requests_per_unit: u32) -> RateLimitDescriptor {
    let limit = RateLimitOverride { requests_per_unit, unit: 3, unit_multiplier: None };
    RateLimitDescriptor { limit: Some(limit), ..descriptor }
}

impl Replicas {
    /// Gives no hits back until that works, which changes nothing and shows nothing.
    async fn until_connected(&mut self, replica: usize) {
        let nothing = RateLimitDescriptor { is_negative_hits: true, ..descriptor("probe", "", Some(0)) };
        let request =
            RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![nothing], hits_addend: 0 };
        for _ in 0..500 {
            if self.clients[replica].should_rate_limit(request.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no connection to Redis within 5 s");
    }

    async fn send(&mut self, replica: usize, descriptors: Vec<RateLimitDescriptor>) -> RateLimitResponse {
        let request = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 };
        self.clients[replica].should_rate_limit(request).await.expect("an answer").into_inner()
    }

    /// Asks for these hits of one bucket; none: the request states no number. Whether they are admitted.
    async fn ask(&mut self, replica: usize, key: &str, value: &str, hits: Option<u64>) -> bool {
        self.send(replica, vec![descriptor(key, value, hits)]).await.overall_code() == Code::Ok
    }

    async fn page(&self, replica: usize) -> String {
        http::get(self.processes[replica].admin(), "/metrics", &[]).await.expect("an answer").text()
    }

    async fn metric(&self, replica: usize, series: &str) -> Option<f64> {
        let page = self.page(replica).await;
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}
