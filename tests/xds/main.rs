//! Rules from an xDS server that does what control planes do, and what they should not.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod broken;
mod half_sets;
mod large;
mod tls;

use std::time::Duration;

use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use support::ads::Ads;
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

/// A Tollgate whose rules come from a server.
struct Replica {
    process: Tollgate,
    client: RateLimitServiceClient<Channel>,
}

struct Asker(RateLimitServiceClient<Channel>);

impl Asker {
    async fn ask(&mut self, domain: &str, key: &str, value: &str) -> Code {
        let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
        let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let request =
            RateLimitRequest { domain: domain.to_owned(), descriptors: vec![descriptor], hits_addend: 1 };
        self.0.should_rate_limit(request).await.expect("an answer").into_inner().overall_code()
    }
}

impl Replica {
    async fn start(ads: &Ads, args: &[&str]) -> Replica {
        Replica::start_with(&ads.addr().to_string(), args).await
    }

    async fn start_with(server: &str, args: &[&str]) -> Replica {
        let serve = Serve::without_files().args(&["--xds-server", server, "--drain-wait", "0s"]).args(args);
        let process = Tollgate::start(&serve).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Replica { process, client }
    }

    async fn ask(&mut self, domain: &str, key: &str, value: &str) -> Code {
        Asker(self.client.clone()).ask(domain, key, value).await
    }

    /// Whether each value passes once, as in [`support::ads::once_a_day`].
    async fn limits(&mut self, domain: &str, value: &str) -> bool {
        self.ask(domain, "key", value).await;
        self.ask(domain, "key", value).await == Code::OverLimit
    }

    async fn figure(&self, series: &str) -> f64 {
        let page = http::get(self.process.admin(), "/metrics", &[]).await.expect("a page").text();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("no {series} in {page}"))
    }

    async fn until(&self, series: &str, value: f64) {
        for _ in 0..300 {
            if self.figure(series).await.total_cmp(&value).is_eq() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{series} is not {value}: {}", self.process.log_text());
    }

    async fn until_told(&self, words: &str) {
        for _ in 0..300 {
            if self.process.log_text().contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{words:?} is not in {}", self.process.log_text());
    }

    fn told(&self, words: &str) -> usize {
        self.process.log_text().lines().filter(|line| line.contains(words)).count()
    }
}
