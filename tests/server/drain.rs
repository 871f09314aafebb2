//! The end of a server: it accepts nothing new, loses no call, and nothing holds it up.

use std::{
    net::TcpStream,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use tollgate::{
    admin::Admin,
    lifecycle::Phase,
    metrics::Metrics,
    pb::{RateLimitRequest, authorization_server, rate_limit_service_server::SERVICE_NAME},
    server::{Options, ServerError},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{self, Gated, LONG, Running, SOON, until};

/// The names in gRPC health: the server, its service, and the name of envoyproxy/ratelimit.
const HEALTH_NAMES: [&str; 4] = ["", SERVICE_NAME, authorization_server::SERVICE_NAME, "ratelimit"];

#[tokio::test]
async fn a_server_that_is_to_stop_says_so_at_once_and_still_serves_new_clients() {
    let server = Running::start();
    let mut old = HealthClient::new(server.channel().await);
    server.lifecycle.advance_to(Phase::Leaving);
    until(|| server.get("/healthcheck").0 == 500).await;
    assert_eq!(server.get("/ready").0, 503);

    let mut new = HealthClient::new(server.channel().await);
    for health in [&mut old, &mut new] {
        for service in HEALTH_NAMES {
            let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::NotServing);
        }
    }
    server.client().await.should_rate_limit(RateLimitRequest::default()).await.unwrap();
    assert_eq!(server.lifecycle.phase(), Phase::Leaving);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_has_waited_long_enough_drains_by_itself() {
    let server = Running::over(Options { drain_wait: Duration::from_millis(50), ..harness::options(1) });
    server.lifecycle.advance_to(Phase::Leaving);
    until(|| server.has_ended()).await;
}

#[tokio::test]
async fn a_call_in_flight_is_answered_while_draining() {
    let server = Running::start();
    server.close_gate();
    let mut client = server.client().await;
    let call =
        tokio::spawn(async move { client.should_rate_limit(RateLimitRequest::default()).await.map(|_| ()) });
    server.until_arrived(1).await;

    server.lifecycle.advance_to(Phase::Draining);
    until(|| TcpStream::connect(server.addresses.grpc).is_err()).await;
    assert_eq!(server.get("/healthcheck").0, 500);
    assert!(!call.is_finished() && !server.has_ended());

    server.open_gate();
    call.await.unwrap().unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Running::start();
    let mut client = server.client().await;
    client.should_rate_limit(RateLimitRequest::default()).await.unwrap();
    let silent = TcpStream::connect(server.addresses.grpc).unwrap();
    tokio::time::timeout(SOON, server.stop()).await.unwrap().unwrap();
    drop((client, silent));
}

#[tokio::test]
async fn a_health_watch_sees_not_serving_and_is_cut_at_the_drain_timeout() {
    let server = Running::with(2, Duration::from_millis(200));
    let mut health = HealthClient::new(server.channel().await);
    let mut watches = Vec::new();
    for service in HEALTH_NAMES {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(
            health.check(request.clone()).await.unwrap().into_inner().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
        let mut watch = health.watch(request).await.unwrap().into_inner();
        let first = watch.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving, "{service:?}");
        watches.push(watch);
    }

    let stopped = tokio::spawn(tokio::time::timeout(SOON, server.stop()));
    for watch in &mut watches {
        let second = watch.message().await.unwrap().unwrap();
        assert_eq!(second.status(), ServingStatus::NotServing);
    }
    stopped.await.unwrap().unwrap().unwrap();
    for watch in &mut watches {
        assert!(!matches!(watch.message().await, Ok(Some(_))));
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_the_drain_timeout_when_told_so() {
    let server = Running::start();
    server.close_gate();
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.should_rate_limit(RateLimitRequest::default()).await });
    server.until_arrived(1).await;
    server.lifecycle.advance_to(Phase::Draining);
    until(|| TcpStream::connect(server.addresses.grpc).is_err()).await;

    server.lifecycle.advance_to(Phase::Ended);
    tokio::time::timeout(SOON, server.stop()).await.unwrap().unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_service_that_has_not_done_what_it_does_last_does_not_hold_up_the_end() {
    let server = Running::with(2, Duration::from_millis(100));
    server.stage.never_finishes.store(true, Ordering::SeqCst);
    tokio::time::timeout(SOON, server.stop()).await.unwrap().unwrap();
}

#[test]
fn a_runtime_that_is_stuck_does_not_hold_up_the_end() {
    let server = harness::bind(2, LONG);
    let lifecycle = server.lifecycle();
    let admin = Admin::new(server.lifecycle(), Arc::new(Metrics::new()));
    let (release, stuck) = mpsc::channel::<()>();
    let stuck = Arc::new(Mutex::new(stuck));
    let (begun, begins) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        let outcome = server.run(admin, move || {
            let (stuck, begun) = (Arc::clone(&stuck), begun.clone());
            tokio::spawn(async move {
                begun.send(()).unwrap();
                // One runtime waits here with the lock held, the other for the lock.
                let _ = stuck.lock().unwrap().recv();
            });
            Gated::idle()
        });
        ended.send(outcome).unwrap();
    });
    for _ in 0..2 {
        begins.recv_timeout(SOON).unwrap();
    }
    lifecycle.advance_to(Phase::Ended);
    let outcome = end.recv_timeout(SOON).unwrap();
    assert!(matches!(outcome, Err(ServerError::RuntimesStuck { count: 2 })), "{outcome:?}");
    drop(release);
    thread.join().unwrap();
}
