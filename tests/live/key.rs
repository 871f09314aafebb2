//! One key over time.

use serde_json::Value;

use crate::{
    LIMITS, Service,
    stream::{Stream, row},
    support,
};

const PATH: &str = "/live?domain=edge&entries=api_key%3Dabc";

async fn shows_the_level_and_what_was_admitted(service: &mut Service) {
    service.ask_times("api_key", "abc", 2).await;
    let mut stream = Stream::open(service.process.admin(), PATH).await;
    let first = stream.until(|message| message["key"]["limits"][0]["level"] == 8).await;
    let limit = &first["key"]["limits"][0];
    assert_eq!((&limit["burst"], &limit["admitted"], &limit["fits"]), (&10.into(), &0.into(), &true.into()));
    assert!(limit["full_ms"].as_u64().is_some_and(|ms| (700_000..=720_000).contains(&ms)), "{limit:#}");
    // From the second after somebody has asked, each hit counts.
    stream.message().await.expect("a message");
    service.ask_times("api_key", "abc", 9).await;
    service.ask_times("api_key", "other", 3).await;
    let last = stream.until(|message| message["key"]["limits"][0]["admitted"] == 8).await;
    let limit = &last["key"]["limits"][0];
    assert_eq!((&limit["level"], &limit["fits"]), (&0.into(), &false.into()), "{limit:#}");
    assert!(limit["next_ms"].as_u64().is_some_and(|ms| (1..=360_000).contains(&ms)), "{limit:#}");
    let worst = &limit["worst"];
    assert_eq!(worst["admitted"].as_f64(), Some(8.0), "{worst}");
    assert!(worst["allowed"].as_f64().is_some_and(|allowed| (10.0..11.0).contains(&allowed)), "{worst}");
    assert_eq!(limit["points"].as_array().map(Vec::len), Some(1), "the newest one");
    assert!(last["key"]["explain"].as_str().is_some_and(|text| text.contains("api_key")));
}

#[tokio::test]
async fn a_key_shows_its_level_and_what_was_admitted() {
    shows_the_level_and_what_was_admitted(&mut Service::plain("key", &[]).await).await;
}

#[tokio::test]
async fn a_key_in_redis_shows_its_level_and_what_was_admitted() {
    let Some(redis) = support::redis().await else { return };
    let file = support::file("live-key-redis.yaml", LIMITS);
    let mut service = Service::start(&file, Some(redis.url()), &[]).await;
    service.until("/ready", "OK").await;
    shows_the_level_and_what_was_admitted(&mut service).await;
}

#[tokio::test]
async fn a_key_under_lease_shows_all_that_was_admitted() {
    let Some(redis) = support::redis().await else { return };
    let limit = "unit: year, algorithm: token_bucket, requests_per_unit: 1000000, lease: 10s";
    let limits = format!("domain: edge\ndescriptors:\n- {{ key: api_key, rate_limit: {{ {limit} }} }}\n");
    let file = support::file("live-key-lease.yaml", &limits);
    // Every hit is near the limit.
    let args = ["--runtimes", "1", "--near-limit-ratio", "0"];
    let mut service = Service::start(&file, Some(redis.url()), &args).await;
    service.until("/ready", "OK").await;
    let mut stream = Stream::open(service.process.admin(), PATH).await;
    stream.until(|message| !message["key"]["limits"][0]["level"].is_null()).await;
    stream.message().await.expect("a message");
    service.ask_times("api_key", "abc", 300).await;
    let (mut from_leases, mut near) = (0, 0);
    stream
        .until(|message| {
            from_leases += message["limiter"]["answers"]["lease"].as_u64().expect("a count");
            near += row(message, "api_key")["near"].as_u64().unwrap_or_default();
            message["key"]["limits"][0]["admitted"] == 300 && near == 300
        })
        .await;
    assert!(from_leases > 0, "no lease was granted");
}

#[tokio::test]
async fn a_key_without_a_limit_says_why() {
    let service = Service::plain("no-key", &[]).await;
    let admin = service.process.admin();
    let mut stream = Stream::open(admin, "/live?domain=nowhere&entries=a%3Db").await;
    let told = stream.until(|message| !message["key"]["explain"].is_null()).await;
    assert_eq!(told["key"]["limits"], Value::Array(Vec::new()));
    for bad in ["/live?entries=abc", &format!("/live?entries=a%3D{}", "x".repeat(60_000))] {
        assert!(service.page(bad).await.contains("entries"), "{}", &bad[..20]);
    }
    let mut streams = Vec::new();
    for number in 0..7 {
        streams.push(Stream::open(admin, &format!("/live?entries=api_key%3D{number}")).await);
    }
    let ninth = Stream::open(admin, "/live?entries=api_key%3Dninth").await;
    assert!(ninth.head.starts_with("HTTP/1.1 503"), "{}", ninth.head);
}
