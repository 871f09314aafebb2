//! `tollgate peek`, `reset` and `grant`: on a real Redis, by running replicas, and by their command lines.

mod command;
mod replicas;
#[path = "../support/mod.rs"]
mod support;
mod token;

use std::{path::PathBuf, process::Command, time::Duration};

use lab::{
    binaries, http,
    tollgate::{Serve, Tollgate},
};
use serde_json::Value;
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
    rate_limit_response::Code as Overall, rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// In no log, whatever an operator does.
const VALUE: &str = "canary-ann";

const LIMITS: &str = "
domain: edge
descriptors:
- key: user
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 5 }
- key: team
  rate_limits:
  - { name: rate, unit: hour, requests_per_unit: 6, burst: 4 }
  - { name: quota, unit: day, requests_per_unit: 5 }
  - { name: log, unit: hour, requests_per_unit: 3, algorithm: sliding_window_log }
- key: fast
  rate_limit: { unit: second, requests_per_unit: 50, burst: 20 }
- key: careful
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 5, after_store_loss: empty }
- key: free
  rate_limit: { unlimited: true }
";

fn limits(test: &str) -> PathBuf {
    support::file(&format!("hands-{test}.yaml"), LIMITS)
}

fn token_file(test: &str) -> String {
    support::file(&format!("hands-{test}-token"), &format!("{TOKEN}\n")).display().to_string()
}

/// A replica whose admin port accepts the token.
async fn replica(test: &str, store: &str) -> Tollgate {
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let token = token_file(test);
    // Loaded machines must not make the store late.
    let args =
        ["--admin-token-file", &token, "--runtimes", "2", "--store-deadline", "5s", "--drain-wait", "0s"];
    let replica = Tollgate::start(&Serve::new(limits(test)).store(store).args(&args)).await.expect("starts");
    while http::get(replica.admin(), "/ready", &[]).await.expect("an answer").text() != "OK" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replica
}

async fn client(replica: &Tollgate) -> RateLimitServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", replica.grpc())).expect("an address");
    RateLimitServiceClient::new(channel.connect().await.expect("connects"))
}

/// Whether it admits one hit of this descriptor.
async fn admits(client: &mut RateLimitServiceClient<Channel>, key: &str, value: &str) -> bool {
    let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    let descriptors = vec![RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }];
    let request = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 };
    let response = client.should_rate_limit(request).await.expect("an answer").into_inner();
    response.overall_code() == Overall::Ok
}

/// The exit status, stdout and stderr.
fn tollgate(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binaries::tollgate().expect("built"));
    let output = command.env_clear().args(args).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The report of an act that succeeds.
#[track_caller]
fn act(args: &[&str]) -> Value {
    let (status, told, error) = tollgate(&[args, &["--format", "json"]].concat());
    assert_eq!((status, error.as_str()), (Some(0), ""), "{args:?}");
    serde_json::from_str(&told).expect("JSON")
}

/// What was left before, and what is left now, for each bucket.
fn levels(report: &Value) -> Vec<(f64, f64)> {
    let buckets = report["buckets"].as_array().expect("a list");
    let number = |value: &Value| value.as_f64().expect("a number");
    buckets.iter().map(|bucket| (number(&bucket["level_before"]), number(&bucket["level"]))).collect()
}
