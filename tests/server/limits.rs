//! Bounds on what one client may take: connections, and the time that the server waits for it.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    time::Duration,
};

use tollgate::{
    pb::RateLimitRequest,
    server::{ConnectionLimits, Options},
};
use tonic::Code;

use crate::{
    bytes::{END_STREAM, HEADERS, call, frame, greeting, next_frame, read_until_answers, send},
    harness::{Running, options, until},
};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once_and_counted_and_the_others_served() {
    let server = Running::over(Options { max_connections: 2, ..options(2) });
    let one_call = [greeting(), call(1)].concat();
    let mut kept: Vec<_> = (0..2).map(|_| send(server.addresses.grpc, &one_call)).collect();
    for connection in &mut kept {
        read_until_answers(connection, 1);
    }
    let is_refused = || {
        let mut connection = TcpStream::connect(server.addresses.grpc).unwrap();
        connection.set_read_timeout(Some(MOMENT)).unwrap();
        match connection.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    };
    assert!(is_refused());
    let refused = "\ntollgate_connections_refused_total 1\n";
    let metrics = server.get("/metrics").1;
    assert!(metrics.contains(refused), "{metrics}");

    kept.pop();
    until(|| !is_refused()).await;
    let mut first = kept.pop().unwrap();
    std::io::Write::write_all(&mut first, &call(3)).unwrap();
    read_until_answers(&mut first, 1);
    drop(first);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_disappears_loses_its_connection() {
    let connections = ConnectionLimits {
        keepalive: Some(MOMENT),
        keepalive_timeout: MOMENT,
        ..ConnectionLimits::default()
    };
    let server = Running::over(Options { connections, ..options(1) });
    // The client disappears while idle, in the middle of a frame, and in the middle of a call.
    let half_a_frame = frame(HEADERS, END_STREAM, 1, &[0; 64])[..20].to_vec();
    let half_a_call = call(1)[..call(1).len() - 3].to_vec();
    for last_words in [vec![], half_a_frame, half_a_call] {
        let mut connection = send(server.addresses.grpc, &[greeting(), last_words].concat());
        let end = connection.read_to_end(&mut Vec::new());
        assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "it is kept: {end:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_has_nothing_to_ask_keeps_its_connection_by_answering_pings() {
    let connections = ConnectionLimits { keepalive: Some(MOMENT), ..ConnectionLimits::default() };
    let server = Running::over(Options { connections, ..options(1) });
    let mut connection = send(server.addresses.grpc, &greeting());
    // The first two frames are settings and their acknowledgement.
    for _ in 0..6 {
        next_frame(&mut connection).expect("the connection is kept");
    }
    std::io::Write::write_all(&mut connection, &call(1)).unwrap();
    read_until_answers(&mut connection, 1);
    drop(connection);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn headers_of_a_call_may_be_as_long_as_a_client_of_envoys_can_make_them() {
    let server = Running::start();
    let with = |bytes: usize| {
        let mut request = tonic::Request::new(RateLimitRequest::default());
        request.metadata_mut().insert("x", "x".repeat(bytes).parse().unwrap());
        request
    };
    server.client().await.should_rate_limit(with(60_000)).await.unwrap();
    let refused = server.client().await.should_rate_limit(with(80_000)).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
    server.client().await.should_rate_limit(with(10)).await.unwrap();
    server.stop().await.unwrap();
}
