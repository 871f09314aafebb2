//! `/ready` and both kinds of health checks while Redis is there, is away, or has never been there.

mod support;

use std::{net::SocketAddr, time::Duration};

use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use tokio::net::{TcpListener, TcpStream};
use tollgate::{
    clock::{self, Clock},
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
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

/// The status and body of a page.
async fn get(tollgate: &Tollgate, path: &str) -> (u16, String) {
    let answer = http::get(tollgate.admin(), path, &[]).await.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

/// Asks `/ready` until it answers as wanted. Returns how long that took.
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

/// Waits until the replicas have counted themselves. Returns how long that took.
async fn until_counted(tollgate: &Tollgate) -> Duration {
    let started = clock::monotonic();
    while !get(tollgate, "/metrics").await.1.contains("\ntollgate_replicas 1\n") {
        assert!(started.elapsed() < WITHIN, "the replicas are never counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

/// A proxy between Tollgate and Redis, which delays what is sent on every third connection.
async fn slow_for_some(redis: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                if number % 3 == 2 {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
                let mut redis = TcpStream::connect(redis).await.expect("Redis is there");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut redis).await;
            });
        }
    });
    addr
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

#[tokio::test]
async fn an_outage_is_told_once_for_the_process_and_not_once_for_each_runtime() {
    let Some(mut redis) = support::redis().await else { return };
    let serve = Serve::new(support::file("ready-told.yaml", LIMITS)).store(redis.url());
    let tollgate = Tollgate::start(&serve.args(&["--runtimes", "8"])).await.expect("Tollgate starts");
    let told = |words: &str| tollgate.log_text().lines().filter(|line| line.contains(words)).count();
    let until_told = async |words: &str, times: usize| {
        let started = clock::monotonic();
        while told(words) < times {
            assert!(started.elapsed() < WITHIN, "never {times} times {words:?}: {}", tollgate.log_text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until_ready_says(&tollgate, |status, body| (status, body) == (200, "OK")).await;
    for outage in 1..=2 {
        redis.kill();
        until_ready_says(&tollgate, |_, body| body.starts_with("degraded: 0 of 8 ")).await;
        redis.restart().await.expect("Redis starts again");
        until_told("connected to the store again", outage).await;
    }
    let all =
        ["lost the connection", "cannot reach", "connected to the store again", "connected to the store"];
    assert_eq!(all.map(told), [2, 2, 2, 3], "{}", tollgate.log_text());
}

#[tokio::test]
async fn once_it_is_ready_no_request_on_a_new_connection_is_without_the_store() {
    let Some(redis) = support::redis().await else { return };
    let limits = support::file("ready-all.yaml", LIMITS);
    let store = format!("redis://{}", slow_for_some(redis.addr()).await);
    let serve = Serve::new(limits).store(store).args(&["--runtimes", "6", "--store-deadline", "5s"]);
    for _ in 0..5 {
        let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
        until_ready_says(&tollgate, |status, _| status == 200).await;
        let mut answers = tokio::task::JoinSet::new();
        // Enough connections that each runtime gets some.
        for _ in 0..24 {
            let grpc = format!("http://{}", tollgate.grpc());
            answers.spawn(async move {
                let channel = Channel::from_shared(grpc).expect("an address");
                let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
                let entry = Entry { key: "api_key".into(), value: "alice".into() };
                let descriptor =
                    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
                let domain = "edge".to_owned();
                let request = RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: 1 };
                client.should_rate_limit(request).await.map(|_| ())
            });
        }
        for answer in answers.join_all().await {
            answer.expect("a decision");
        }
    }
}

#[tokio::test]
async fn replicas_are_counted_soon_after_the_first_connection() {
    let Some(mut redis) = support::redis().await else { return };
    let serve = Serve::new(support::file("ready-counted.yaml", LIMITS)).store(redis.url());
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let counted = until_counted(&tollgate).await;
    assert!(counted < Duration::from_millis(1_500), "only after {counted:?}");
    // The same if Redis starts later.
    redis.kill();
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    until_ready_says(&tollgate, |_, body| body.contains("cannot reach")).await;
    redis.restart().await.expect("Redis starts");
    until_ready_says(&tollgate, |status, body| (status, body) == (200, "OK")).await;
    let counted = until_counted(&tollgate).await;
    assert!(counted < Duration::from_millis(1_500), "only after {counted:?}");
}
