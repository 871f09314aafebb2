//! How the process ends by a signal, and what it still answers then.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    binary::{Tollgate, field},
    bytes::{call, greeting, read_until_answers, send},
    harness::SOON,
};

/// Frozen, so that what comes meanwhile waits in the kernel: more than tokio accepts before it looks elsewhere.
#[test]
fn connections_that_were_not_accepted_yet_when_sigterm_came_are_answered() {
    const CLIENTS: usize = 300;
    let mut tollgate = Tollgate::start("backlog", &[]);
    let line = tollgate.line_with(" listening grpc=");
    let grpc: SocketAddr = field(&line, "grpc").parse().unwrap();
    tollgate.signal("STOP");
    let clients: Vec<_> = (0..CLIENTS).map(|_| send(grpc, &[greeting(), call(1)].concat())).collect();
    tollgate.signal("TERM");
    tollgate.signal("CONT");
    for mut client in clients {
        read_until_answers(&mut client, 1);
    }
    assert_eq!(tollgate.end().0, Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    for wait in ["0s", "1h"] {
        second_signal(wait);
    }
}

fn second_signal(drain_wait: &str) {
    let flags = ["--drain-wait", drain_wait, "--drain-timeout", "1h"];
    let mut tollgate = Tollgate::start("second_signal", &flags);
    let line = tollgate.line_with(" listening grpc=");
    let grpc: SocketAddr = field(&line, "grpc").parse().unwrap();
    // An HTTP/2 client that never answers the ping of a graceful end.
    let mut deaf = TcpStream::connect(grpc).unwrap();
    deaf.write_all(&greeting()).unwrap();
    deaf.read_exact(&mut [0; 9]).unwrap();

    tollgate.signal("TERM");
    tollgate.line_with("SIGTERM");
    tollgate.signal("TERM");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopping at once") && rest.contains("connections=1"), "{rest}");
}

#[tokio::test]
async fn sigterm_ends_with_0_while_a_client_holds_a_health_watch_open() {
    let mut tollgate = Tollgate::start("watch", &["--drain-timeout", "300ms"]);
    let line = tollgate.line_with(" listening grpc=");
    let channel = Channel::from_shared(format!("http://{}", field(&line, "grpc"))).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    tollgate.signal("TERM");
    let ended = tokio::task::spawn_blocking(|| tollgate.end());
    let (code, rest) = tokio::time::timeout(SOON, ended).await.unwrap().unwrap();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("cut what was still open") && rest.contains("connections=1"), "{rest}");
}
