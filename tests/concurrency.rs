//! Many tasks ask several processes for one key: exactly the burst is admitted.

mod support;

use lab::tollgate::{Serve, Tollgate};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const PROCESSES: usize = 3;
const TASKS: usize = 24;
const TAKES: usize = 150;
const BURST: usize = 777;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_takes_from_three_processes_admit_exactly_the_burst() {
    let Some(redis) = support::redis().await else { return };
    let limits = support::file(
        "concurrency.yaml",
        &format!(
            "domain: edge\ndescriptors:\n- key: user\n  \
             rate_limit: {{ unit: year, algorithm: token_bucket, requests_per_unit: {BURST} }}\n"
        ),
    );
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        // Long, so that a busy machine gives no fallback answers: this test is about exactness.
        let serve = Serve::new(&limits).store(redis.url()).args(&["--store-deadline", "10s"]);
        processes.push(Tollgate::start(&serve).await.expect("starts"));
    }
    let mut tasks = Vec::new();
    for process in &processes {
        for _ in 0..TASKS {
            let address = format!("http://{}", process.grpc());
            tasks.push(tokio::spawn(takes(address)));
        }
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.expect("no panic");
    }
    assert_eq!(PROCESSES * TASKS * TAKES, 10_800);
    assert_eq!(admitted, BURST);
}

/// The number of this task's takes that were admitted.
async fn takes(address: String) -> usize {
    let channel = Channel::from_shared(address).expect("an address").connect().await.expect("connects");
    let mut client = RateLimitServiceClient::new(channel);
    let entry = Entry { key: "user".into(), value: "one".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    let mut admitted = 0;
    for _ in 0..TAKES {
        let answer = loop {
            match client.should_rate_limit(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                // A replica that has just started has no connection to Redis yet. Nothing was charged.
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Err(status) => panic!("{status}"),
            }
        };
        admitted += usize::from(answer.overall_code() == Code::Ok);
    }
    admitted
}
