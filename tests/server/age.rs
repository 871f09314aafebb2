//! Connections that are too old: their clients are told to leave, and no call in flight is lost.

use std::{net::TcpStream, time::Duration};

use tollgate::server::{ConnectionLimits, Options};

use crate::{
    bytes::{GOAWAY, call, greeting, next_frame, send},
    harness::{LONG, Running, options},
};

const AGE: Duration = Duration::from_millis(50);

fn server_with(max_age: Duration, max_age_grace: Duration) -> Running {
    let connections =
        ConnectionLimits { max_age: Some(max_age), max_age_grace, ..ConnectionLimits::default() };
    Running::over(Options { connections, ..options(1) })
}

async fn with_a_call_in_flight(server: &Running) -> TcpStream {
    server.close_gate();
    let connection = send(server.addresses.grpc, &[greeting(), call(1)].concat());
    server.until_arrived(1).await;
    connection
}

fn read_until_goaway(connection: &mut TcpStream) {
    while next_frame(connection).expect("not closed without a word").kind != GOAWAY {}
}

#[tokio::test]
async fn a_call_in_flight_on_a_connection_that_is_too_old_is_answered_before_it_ends() {
    let server = server_with(AGE, LONG);
    let mut connection = with_a_call_in_flight(&server).await;
    read_until_goaway(&mut connection);
    server.open_gate();
    let mut answers = 0;
    while let Some(frame) = next_frame(&mut connection) {
        answers += usize::from(frame.ends_answer());
    }
    assert_eq!(answers, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_that_takes_longer_than_the_grace_is_cut() {
    let server = server_with(AGE, AGE);
    let mut connection = with_a_call_in_flight(&server).await;
    read_until_goaway(&mut connection);
    while let Some(frame) = next_frame(&mut connection) {
        assert!(!frame.ends_answer());
    }
    server.open_gate();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_client_is_silent_ends_by_its_age_too() {
    let server = server_with(AGE, AGE);
    let mut connection = send(server.addresses.grpc, &greeting());
    let said = |connection: &mut TcpStream| std::io::Read::read(connection, &mut [0; 1024]).unwrap();
    while said(&mut connection) > 0 {}
    server.stop().await.unwrap();
}
