//! The two ports of a server that works.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tollgate::{
    admin::Admin,
    lifecycle::Phase,
    metrics::Metrics,
    pb::{RateLimitRequest, rate_limit_service_server::SERVICE_NAME},
    server::{Options, Server, ServerError},
};
use tonic::{Code, client::Grpc, codegen::tokio_stream};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::{self, ANY_PORT, Gated, LONG, Running, SOON};

#[tokio::test]
async fn health_is_serving_for_the_server_and_both_names_of_the_service_and_for_no_other() {
    let server = Running::start();
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", SERVICE_NAME, "ratelimit"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "other".to_owned() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let server = Running::start();
    let expected = [SERVICE_NAME, "grpc.health.v1.Health"];

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            SERVICE_NAME.to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let file =
        matches!(answer, v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_));
    assert!(file, "{answer:?}");
    drop((client, answers));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_of_no_service_is_unimplemented() {
    let server = Running::start();
    let mut grpc = Grpc::new(server.channel().await);
    for path in ["/envoy.service.ratelimit.v3.RateLimitService/Other", "/nothing/Here", "/"] {
        grpc.ready().await.unwrap();
        let codec = tonic_codec();
        let request = tonic::Request::new(RateLimitRequest::default());
        let answer = grpc.unary::<_, RateLimitRequest, _>(request, path.parse().unwrap(), codec).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
}

fn tonic_codec() -> tollgate::protocol::rls::codec::RlsCodec<RateLimitRequest, RateLimitRequest> {
    Default::default()
}

#[tokio::test]
async fn connections_are_dealt_evenly_over_the_runtimes() {
    let server = Running::with(3, LONG);
    let mut clients = Vec::new();
    let mut dealt = HashMap::new();
    for _ in 0..12 {
        let mut client = server.client().await;
        let answer = client.should_rate_limit(RateLimitRequest::default()).await.unwrap().into_inner();
        *dealt.entry(answer.raw_body[0]).or_insert(0) += 1;
        clients.push(client);
    }
    assert_eq!(dealt, HashMap::from([(0, 4), (1, 4), (2, 4)]));
}

#[tokio::test]
async fn a_runtime_whose_connections_have_closed_gets_the_next_ones() {
    let server = Running::with(2, LONG);
    let mut kept = Vec::new();
    for _ in 0..6 {
        let mut client = server.client().await;
        let answer = client.should_rate_limit(RateLimitRequest::default()).await.unwrap().into_inner();
        kept.push((answer.raw_body[0], client));
    }
    let on = |kept: &[(u8, _)], wanted| kept.iter().filter(|(runtime, _)| *runtime == wanted).count();
    assert_eq!((on(&kept, 0), on(&kept, 1)), (3, 3));
    kept.retain(|(runtime, _)| *runtime == 1);

    // The server may learn a little later that three are closed, and deal one more to the wrong runtime. The next
    // ones even that out.
    while kept.len() < 20 {
        let mut client = server.client().await;
        let answer = client.should_rate_limit(RateLimitRequest::default()).await.unwrap().into_inner();
        kept.push((answer.raw_body[0], client));
    }
    assert_eq!((on(&kept, 0), on(&kept, 1)), (10, 10));
}

#[tokio::test]
async fn the_admin_port_answers_its_routes_and_refuses_the_rest() {
    let server = Running::start();
    assert_eq!(server.get("/healthcheck"), (200, "OK".to_owned()));
    assert_eq!(server.get("/ready"), (200, "OK".to_owned()));
    assert_eq!(server.get("/elsewhere").0, 404);
    assert_eq!(harness::http(server.addresses.admin, "POST", "/metrics").0[9..12], *"405");

    let (status, routes) = server.get("/");
    assert_eq!(status, 200);
    assert!(
        routes.contains("GET /healthcheck")
            && routes.contains("GET /ready")
            && routes.contains("GET /metrics"),
        "{routes}"
    );
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_text() {
    let server = Running::start();
    let (head, body) = harness::http(server.addresses.admin, "GET", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let samples: Vec<_> = body.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.iter().any(|line| line.starts_with("tollgate_build_info{")), "{body}");
    for line in samples {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("tollgate_") || series.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn while_a_page_of_metrics_is_made_health_is_told_and_connections_are_accepted() {
    let server = Running::start();
    let ((begun, begins), (finish, finishes)) = (mpsc::channel(), mpsc::channel::<()>());
    let finishes = Mutex::new(finishes);
    server.metrics.show("tollgate_slow", "Takes its time.", move || {
        begun.send(()).unwrap();
        i64::from(finishes.lock().unwrap().recv_timeout(SOON).is_ok())
    });
    let admin = server.addresses.admin;
    let scraper = thread::spawn(move || harness::http(admin, "GET", "/metrics").1);
    begins.recv_timeout(LONG).unwrap();
    assert_eq!(server.get("/healthcheck"), (200, "OK".to_owned()));
    let answer = server.client().await.should_rate_limit(RateLimitRequest::default()).await;
    assert!(answer.is_ok() && !scraper.is_finished(), "they had to wait for the page");
    finish.send(()).unwrap();
    let page = scraper.join().unwrap();
    assert!(page.contains("\ntollgate_slow 1\n"), "{page}");
}

#[test]
fn a_port_in_use_is_named_with_what_it_was_for() {
    let taken = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap();
    let options = |grpc_listen, admin_listen| Options { grpc_listen, admin_listen, ..harness::options(1) };
    let error = Server::bind(options(address, ANY_PORT)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address} (gRPC)"));
    let error = Server::bind(options(ANY_PORT, address)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address} (admin)"));
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "address already in use");
}

#[test]
fn when_start_returns_each_runtime_has_its_service() {
    let (server, made) = (harness::bind(16, LONG), Arc::new(AtomicUsize::new(0)));
    let (lifecycle, counted) = (server.lifecycle(), Arc::clone(&made));
    let started = server.start(&Arc::new(Metrics::new()), move || {
        thread::yield_now();
        counted.fetch_add(1, Ordering::SeqCst);
        Gated::idle()
    });
    assert_eq!(made.load(Ordering::SeqCst), 16);
    lifecycle.advance_to(Phase::Ended);
    assert!(started.is_ok());
}

#[test]
fn a_runtime_that_panics_ends_the_server_with_an_error() {
    let server = harness::bind(2, LONG);
    let admin = Admin::new(server.lifecycle(), Arc::new(Metrics::new()));
    let outcome = server.run(admin, || -> Gated {
        if std::thread::current().name() == Some("runtime-1") {
            panic!("this panic is part of the test");
        }
        Gated::idle()
    });
    assert!(matches!(outcome, Err(ServerError::RuntimePanicked { index: 1 })), "{outcome:?}");
}
