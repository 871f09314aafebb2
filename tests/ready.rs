//! What `/ready` and both kinds of health say while Redis is there, away, or has never been there.

mod support;

use std::time::Duration;

use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use tollgate::clock::Clock;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const LIMITS: &str = "\
domain: edge
descriptors:
- { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 } }
";
const WITHIN: Duration = Duration::from_secs(20);

/// Status and body of that page.
async fn get(tollgate: &Tollgate, path: &str) -> (u16, String) {
    let answer = http::get(tollgate.admin(), path, &[]).await.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

/// Asks until `/ready` says what is wanted, and that is how long it took.
async fn until_ready_says(tollgate: &Tollgate, wanted: impl Fn(u16, &str) -> bool) -> Duration {
    let clock = Clock::start();
    let start_us = clock.now_us();
    loop {
        let (status, body) = get(tollgate, "/ready").await;
        let waited = Duration::from_micros(clock.now_us() - start_us);
        if wanted(status, &body) {
            return waited;
        }
        assert!(waited < WITHIN, "still {status} {body:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn assert_healthy(tollgate: &Tollgate) {
    assert_eq!(get(tollgate, "/healthcheck").await, (200, "OK".to_owned()));
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut health = HealthClient::new(channel.connect().await.expect("connects"));
    let answer = health.check(HealthCheckRequest::default()).await.expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn a_replica_is_ready_once_it_has_reached_redis_and_stays_so_through_an_outage() {
    let Some(mut redis) = support::redis().await else { return };
    redis.kill();
    let serve = Serve::new(support::file("ready.yaml", LIMITS)).store(redis.url()).args(&["--runtimes", "3"]);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    until_ready_says(&tollgate, |_, body| body.contains("cannot reach")).await;
    let (status, body) = get(&tollgate, "/ready").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.starts_with("no contact with the store yet: cannot reach redis://127.0.0.1"), "{body}");
    assert_healthy(&tollgate).await;

    redis.restart().await.expect("Redis starts");
    until_ready_says(&tollgate, |status, body| (status, body) == (200, "OK")).await;
    redis.kill();
    let noticed = until_ready_says(&tollgate, |_, body| body.starts_with("degraded: 0 of 3 ")).await;
    assert_eq!(get(&tollgate, "/ready").await.0, 200);
    assert_healthy(&tollgate).await;
    redis.restart().await.expect("Redis starts again");
    let healed = until_ready_says(&tollgate, |status, body| (status, body) == (200, "OK")).await;
    println!("the outage was told after {noticed:?}, its end after {healed:?}");
}
