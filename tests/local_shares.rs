//! Three replicas with default settings lose their Redis: each decides with its share.

mod support;

use std::time::Duration;

use lab::{
    binaries::Part,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use tokio::time::{sleep, timeout};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

const LIMITS: &str = "
domain: edge
descriptors:
- key: user
  rate_limit: { unit: second, requests_per_unit: 30, burst: 90 }
";

struct Replica {
    process: Tollgate,
    client: RateLimitServiceClient<Channel>,
}

impl Replica {
    async fn start(redis: &Redis) -> Replica {
        let limits = support::file("local_shares.yaml", LIMITS);
        let process = Tollgate::start(&Serve::new(&limits).store(redis.url())).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Replica { process, client }
    }

    async fn metrics(&self) -> String {
        http::get(self.process.admin(), "/metrics", &[]).await.expect("answers").text()
    }

    async fn passes(&mut self, user: &str) -> bool {
        let answer = self.client.should_rate_limit(request(user)).await.expect("an answer, by local buckets");
        answer.into_inner().overall_code() == Code::Ok
    }
}

#[tokio::test]
async fn without_redis_three_replicas_admit_no_more_than_the_limit_together() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start().await.expect("Redis starts");
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(&redis).await);
    }
    for replica in &replicas {
        let counted = async {
            while !replica.metrics().await.contains("tollgate_replicas 3") {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(15), counted).await.expect("each counts three");
    }
    redis.kill();
    // A request under way when Redis dies gets no answer, so this waits until all three know that it is gone.
    for replica in &mut replicas {
        while !replica.metrics().await.contains("source=\"local\"") {
            let _ = replica.client.should_rate_limit(request("warm-up")).await;
        }
    }

    let started = clock::monotonic();
    let mut admitted = [0; 3];
    // The first is loaded far above its share, the others below.
    for round in 0..300 {
        for (index, replica) in replicas.iter_mut().enumerate() {
            if index == 0 || round % 10 == 0 {
                admitted[index] += u32::from(replica.passes("alice").await);
            }
        }
    }
    let took_s = started.elapsed().as_secs_f64();
    let share = 30.0 + 10.0 * took_s + 1.0;
    println!("admitted {admitted:?} in {took_s:.2} s; a share is {share:.1}");
    assert!(admitted.iter().all(|admitted| f64::from(*admitted) <= share), "{admitted:?}");
    assert!(admitted[0] >= 30, "a replica admits its share: {admitted:?}");
    let metrics = replicas[0].metrics().await;
    assert!(metrics.contains(r#"source="local",verdict="deny""#), "{metrics}");
}

fn request(user: &str) -> RateLimitRequest {
    let entry = Entry { key: "user".into(), value: user.to_owned().into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 }
}
