//! `/live` and `/events` of a real server, over the wire.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod figures;
mod key;
mod readers;
mod replicas;
mod stream;

use std::{path::Path, time::Duration};

use lab::tollgate::{Serve, Tollgate};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

/// Longer than a loaded machine needs for anything here.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

pub(crate) const LIMITS: &str = "
domain: edge
descriptors:
- { key: api_key, rate_limit: { unit: hour, requests_per_unit: 10 } }
- { key: shadow, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
- { key: idle, rate_limit: { unit: second, requests_per_unit: 5, burst: 50 } }
";

pub(crate) struct Service {
    client: RateLimitServiceClient<Channel>,
    pub(crate) process: Tollgate,
}

impl Service {
    pub(crate) async fn start(limits: &Path, store: Option<String>, args: &[&str]) -> Service {
        let serve = Serve::new(limits).args(&["--drain-wait", "0s", "--store-deadline", "5s"]).args(args);
        let serve = match store {
            Some(store) => serve.store(store),
            None => serve,
        };
        let process = Tollgate::start(&serve).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Service { client, process }
    }

    /// On the memory store, with [`LIMITS`].
    pub(crate) async fn plain(name: &str, args: &[&str]) -> Service {
        Service::start(&support::file(&format!("live-{name}.yaml"), LIMITS), None, args).await
    }

    pub(crate) async fn ask(&mut self, key: &str, value: &str) -> Code {
        let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
        let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let request =
            RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
        self.client.should_rate_limit(request).await.expect("an answer").into_inner().overall_code()
    }

    pub(crate) async fn ask_times(&mut self, key: &str, value: &str, times: usize) {
        for _ in 0..times {
            self.ask(key, value).await;
        }
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        lab::http::get(self.process.admin(), path, &[]).await.expect("an answer").text()
    }

    pub(crate) async fn until(&self, path: &str, wanted: &str) -> String {
        let started = clock::monotonic();
        loop {
            let page = self.page(path).await;
            if page.contains(wanted) {
                return page;
            }
            assert!(started.elapsed() < WITHIN, "{path} never says {wanted}: {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
