//! The gRPC port under load that the defaults of hyper and h2 would refuse, and under bytes that are not gRPC.

use std::{
    net::{Shutdown, TcpStream},
    sync::atomic::Ordering,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tollgate::pb::RateLimitRequest;
use tonic::Code;

use crate::{
    bytes::{
        END_HEADERS, HEADERS, PATH, PREFACE, RST_STREAM, assert_closed, call, frame, greeting,
        read_until_answers, request_headers, streams,
    },
    harness::Running,
};

fn send(server: &Running, bytes: &[u8]) -> TcpStream {
    crate::bytes::send(server.addresses.grpc, bytes)
}

#[tokio::test]
async fn a_thousand_calls_are_in_flight_at_once_on_one_connection() {
    let server = Running::start();
    server.close_gate();
    let client = server.client().await;
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.should_rate_limit(RateLimitRequest::default()).await.is_ok() })
        })
        .collect();
    server.until_arrived(1_000).await;
    server.open_gate();
    for call in calls {
        assert!(call.await.unwrap());
    }
}

#[tokio::test]
async fn a_thousand_long_calls_at_once_do_not_cost_the_connection() {
    let server = Running::start();
    let client = server.client().await;
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let mut client = client.clone();
            let request = RateLimitRequest { domain: "x".repeat(60_000), ..Default::default() };
            tokio::spawn(async move { client.should_rate_limit(request).await.map(|_| ()) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_request_over_four_mebibytes_is_out_of_range() {
    let server = Running::start();
    let request = RateLimitRequest { domain: "x".repeat(4 << 20), ..Default::default() };
    let refused = server.client().await.should_rate_limit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(server.stage.arrived.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn four_thousand_small_requests_may_arrive_in_one_go() {
    let server = Running::start();
    let mut bytes = greeting();
    for stream in streams(4_000) {
        bytes.extend(call(stream));
    }
    let mut connection = send(&server, &bytes);
    read_until_answers(&mut connection, 4_000);
}

#[tokio::test]
async fn calls_that_time_out_together_do_not_cost_the_connection() {
    let server = Running::start();
    let mut bytes = greeting();
    for stream in streams(1_000) {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &request_headers()));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(call(2_001));
    let mut connection = send(&server, &bytes);
    read_until_answers(&mut connection, 1);
}

#[tokio::test]
async fn a_body_that_is_not_framed_as_grpc_is_the_clients_fault() {
    let server = Running::start();
    let stream = tokio::net::TcpStream::connect(server.addresses.grpc).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    // No message at all, a flag that does not exist, fewer bytes than the length says, and bytes that are not protobuf.
    for body in [&b""[..], &[9, 0, 0, 0, 0], &[0, 0, 0, 0, 7, 1], &[0, 0, 0, 0, 1, 0xff]] {
        let request = http::Request::post(format!("http://test{PATH}"))
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from_static(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "3", "{body:?}");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
    }
    assert_eq!(server.stage.arrived.load(Ordering::SeqCst), 0);
    drop(sender);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_http2_end_their_connection_and_nothing_else() {
    let server = Running::start();
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"QUIT\r\n",
        &[0xff; 4_096],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    for garbage in garbage {
        let mut connection = send(&server, garbage);
        assert_closed(&mut connection);
    }
    let mut connection = send(&server, &[PREFACE, &[0xff; 4_096]].concat());
    assert_closed(&mut connection);

    // Half a preface and then the end, and nothing at all.
    for start in [&PREFACE[..10], &[]] {
        let mut connection = send(&server, start);
        connection.shutdown(Shutdown::Write).unwrap();
        assert_closed(&mut connection);
    }
    server.client().await.should_rate_limit(RateLimitRequest::default()).await.unwrap();
    server.stop().await.unwrap();
}
