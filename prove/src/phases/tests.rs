use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};

use super::{Course, Plan, come_early, obey, until_mid_second};
use crate::{
    contract::Told,
    link::{Protocol, request},
    load::{Load, Schedule},
    timeline::Timeline,
    worker::{Common, Spot},
};
use tollgate_core::limit::{Limit, Unit};

/// Answers in the order of the script: none is 200, some is a 429 with that `ratelimit-reset`.
async fn scripted(script: Vec<Option<u64>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(Mutex::new(script.into_iter()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            let service = service_fn(move |_| {
                let answer = script.lock().unwrap().next().expect("no more requests than answers");
                async move { Ok::<_, http::Error>(response(answer)) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn response(reset_s: Option<u64>) -> Response<Full<Bytes>> {
    let response = Response::builder().header("ratelimit-limit", 10).header("ratelimit-remaining", 0);
    let response = match reset_s {
        None => response.status(200).header("ratelimit-reset", 1),
        Some(reset_s) => response
            .status(429)
            .header("ratelimit-reset", reset_s)
            .header("retry-after", reset_s)
            .header("content-type", "application/problem+json"),
    };
    response.body(Full::from(r#"{"status":429}"#)).unwrap()
}

async fn load(address: SocketAddr) -> Load {
    let target = format!("http://{address}/").parse().unwrap();
    let request: Request<_> = request(&target, &[], Protocol::Http1).unwrap();
    let spots = vec![Spot { address, request }];
    let common = Common { spots, protocol: Protocol::Http1, burst: 10, timeline: Timeline::start() };
    Load::open(common, 1, watch::channel(false).1).await
}

/// The rules that are broken by a client that was told `reset_s`, then gets `answers`.
async fn rules_when_early(reset_s: u64, answers: Vec<Option<u64>>) -> (Option<Told>, Vec<&'static str>) {
    let mut load = load(scripted(answers).await).await;
    // A second of real time: tokio's clock, paused, would skip the wait for the answer's bytes as well.
    let told = Told { retry_after_s: reset_s, reset_s };
    let told = come_early(&mut load, told, &mut Course::default()).await;
    (told, load.into_record().broken.into_keys().collect())
}

#[tokio::test]
async fn whoever_comes_two_seconds_early_is_denied() {
    let (told, broken) = rules_when_early(3, vec![Some(2)]).await;
    assert_eq!(told, Some(Told { retry_after_s: 2, reset_s: 2 }));
    assert_eq!(broken, Vec::<&str>::new());
}

#[tokio::test]
async fn being_admitted_two_seconds_early_breaks_the_contract() {
    let (told, broken) = rules_when_early(3, vec![None, None, Some(9)]).await;
    assert_eq!(told, Some(Told { retry_after_s: 9, reset_s: 9 }));
    assert_eq!(broken, ["a client two seconds before ratelimit-reset is denied"]);
}

#[tokio::test]
async fn whoever_obeys_retry_after_passes() {
    for (answer, expected) in [(None, vec![]), (Some(1), vec!["a client that obeys retry-after passes"])] {
        let mut load = load(scripted(vec![answer]).await).await;
        obey(&mut load, Told { retry_after_s: 1, reset_s: 1 }, &mut Course::default()).await;
        let broken: Vec<_> = load.into_record().broken.into_keys().collect();
        assert_eq!(broken, expected);
    }
}

#[tokio::test]
async fn a_wait_over_thirty_seconds_is_left_out_and_told() {
    let mut load = load(scripted(vec![]).await).await;
    let mut course = Course::default();
    let told = Told { retry_after_s: 3600, reset_s: 3600 };
    assert_eq!(come_early(&mut load, told, &mut course).await, Some(told));
    obey(&mut load, told, &mut course).await;
    assert_eq!(
        course.left_out,
        ["alone, too early: ratelimit-reset was 3600 s", "alone, on time: retry-after was 3600 s"]
    );
}

#[test]
fn a_burst_is_large_enough_to_be_denied_and_no_larger_than_can_be_sent() {
    let count = |burst| {
        let limit = Limit::new(burst, Unit::Second, None).unwrap();
        let plan = Plan { limit, duration: Duration::from_secs(1), rate: None, concurrency: 64 };
        match plan.burst() {
            Schedule::Count(count) => (count, plan.knocks()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(count(1), (65, 0));
    assert_eq!(count(5), (69, 2));
    assert_eq!(count(1000), (2000, 4));
    assert_eq!(count(4_000_000), (200_000, 4));
}

#[test]
fn the_first_burst_comes_late_in_a_second_whenever_the_run_begins() {
    let began_us = 1_700_000_000_000_000;
    for into_second_us in [0, 1, 599_999, 600_000, 600_001, 999_999] {
        let now_us = began_us + into_second_us;
        let wait = until_mid_second(now_us);
        assert!(wait < Duration::from_secs(1), "{into_second_us}: {wait:?}");
        assert_eq!((u128::from(now_us) + wait.as_micros()) % 1_000_000, 600_000, "{into_second_us}");
    }
}
