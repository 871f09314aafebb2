//! Clients that try to exhaust the memory or time of a real process. Each test prints what it measured.

use std::{
    convert::Infallible,
    io::{ErrorKind, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    binary::{Tollgate, field},
    bytes::{
        END_HEADERS, HEADERS, PATH, RST_STREAM, SETTINGS, call, call_with, frame, greeting,
        read_until_answers, request_headers, send, streams,
    },
    harness::{LONG, SOON},
};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::task::JoinSet;
use tollgate::{
    clock::Clock,
    pb::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor},
};
use tonic::codegen::tokio_stream::{self, StreamExt as _};

const MIB: u64 = 1 << 20;
const RUNTIMES: u64 = 2;
/// Longer than anything on its way takes to arrive.
const QUIET: Duration = Duration::from_millis(300);

struct Victim {
    tollgate: Tollgate,
    grpc: SocketAddr,
    resident: u64,
}

impl Victim {
    fn start(test: &str) -> Victim {
        let mut tollgate = Tollgate::start(test, &["--runtimes", "2", "--drain-timeout", "100ms"]);
        let grpc = field(&tollgate.line_with(" listening grpc="), "grpc").parse().unwrap();
        let mut victim = Victim { tollgate, grpc, resident: 0 };
        // From here on, everything that is allocated once has been.
        victim.serves();
        victim.resident = victim.tollgate.resident();
        victim
    }

    /// The time that another client waits for a connection and an answer.
    fn serves(&self) -> Duration {
        let clock = Clock::start();
        let start_us = clock.now_us();
        let mut connection = send(self.grpc, &[greeting(), call(1)].concat());
        read_until_answers(&mut connection, 1);
        Duration::from_micros(clock.now_us() - start_us)
    }

    fn grown(&self) -> u64 {
        self.tollgate.resident().saturating_sub(self.resident)
    }

    /// Fails if the process holds more than `most` bytes or if another client has to wait. Prints both.
    fn assert_unharmed(self, what: &str, most: u64) {
        let grown = self.grown();
        let waited = (0..10).map(|_| self.serves()).max().unwrap();
        println!(
            "{what}: {} kB more, of {} kB allowed; others waited {waited:?} at most",
            grown >> 10,
            most >> 10
        );
        assert!(grown < most, "{what}: {grown} bytes more, of {most} allowed");
        assert!(waited < SOON, "{what}: others waited {waited:?}");
        self.tollgate.signal("TERM");
        assert_eq!(self.tollgate.end().0, Some(0));
    }
}

/// Writes until everything is written, nothing more is taken for a moment, or the server closes. Returns how much was
/// taken.
fn pour(connection: &mut TcpStream, bytes: &[u8]) -> usize {
    connection.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut taken = 0;
    while taken < bytes.len() {
        match connection.write(&bytes[taken..]) {
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    taken
}

#[test]
fn a_thousand_clients_that_say_nothing_or_half_a_frame_cost_little() {
    const EACH: u64 = 48 << 10;
    let victim = Victim::start("silent");
    let half_a_frame = [greeting(), vec![0, 0x40, 0, HEADERS, 0, 0, 0, 0, 1], vec![0; 8_000]].concat();
    let connections: Vec<_> =
        (0..1_000).map(|n| send(victim.grpc, if n % 2 == 0 { &[] } else { &half_a_frame })).collect();
    // This one is behind all of them in the queue of connections.
    victim.serves();
    victim.assert_unharmed("1,000 silent connections", 1_000 * EACH);
    drop(connections);
}

#[test]
fn floods_of_resets_hold_neither_memory_nor_others_up() {
    const SECONDS: u64 = 2;
    let victim = Victim::start("resets");
    let pairs: Vec<u8> = streams(100_000)
        .flat_map(|stream| {
            let headers = frame(HEADERS, END_HEADERS, stream, &request_headers());
            [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    let clock = Clock::start();
    let end_us = clock.now_us() + SECONDS * 1_000_000;
    let (mut floods, mut taken, mut most_waited) = (0, 0, Duration::ZERO);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sum = (0, 0);
            while clock.now_us() < end_us {
                let mut connection = send(victim.grpc, &greeting());
                sum = (sum.0 + 1, sum.1 + pour(&mut connection, &pairs));
            }
            sum
        });
        while clock.now_us() < end_us {
            most_waited = most_waited.max(victim.serves());
        }
        (floods, taken) = flood.join().unwrap();
    });
    println!("{floods} floods, {taken} bytes taken; meanwhile others waited {most_waited:?} at most");
    assert!(most_waited < SOON);
    victim.assert_unharmed("floods of resets", 32 * MIB);
}

/// A connection that takes almost no memory at this end.
fn deaf(grpc: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(grpc).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

fn one_descriptor() -> RateLimitDescriptor {
    let entry = rate_limit_descriptor::Entry { key: "api_key".into(), value: "k".into() };
    RateLimitDescriptor { entries: vec![entry], ..Default::default() }
}

#[test]
fn clients_that_never_read_hold_a_bounded_amount_each() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 24 * MIB;
    // The answer is a message, which needs a window. An error would not.
    let message = RateLimitRequest {
        domain: "elsewhere".repeat(100),
        descriptors: vec![one_descriptor()],
        hits_addend: 1,
    }
    .encode_to_vec();
    let calls: Vec<u8> = streams(20_000).flat_map(|stream| call_with(stream, &message)).collect();
    // With a window of no bytes, answers must wait; with the usual window, the socket fills up.
    for (what, settings) in [("never read", vec![]), ("open no window", vec![0, 4, 0, 0, 0, 0])] {
        let victim = Victim::start("never_read");
        let start = [&greeting()[..24], &frame(SETTINGS, 0, 0, &settings)].concat();
        let mut taken = 0;
        let connections: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut connection = deaf(victim.grpc);
                connection.write_all(&start).unwrap();
                taken += pour(&mut connection, &calls);
                connection
            })
            .collect();
        println!("{taken} bytes of calls taken");
        victim.assert_unharmed(&format!("{CLIENTS} clients that {what}"), CLIENTS * EACH);
        drop(connections);
    }
}

/// Sends a quarter of each of this number of requests, and returns when some were refused and the others wait.
async fn leave_unfinished(grpc: SocketAddr, requests: usize) -> impl Sized {
    let stream = tokio::net::TcpStream::connect(grpc).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { connection.await.map(|()| None).unwrap_or(None) });
    let quarter = Bytes::from([&[0, 0, 2, 0, 0][..], &[0; (32 << 10) - 5]].concat());
    for _ in 0..requests {
        let start = tokio_stream::once(Ok::<_, Infallible>(Frame::data(quarter.clone())));
        let body = StreamBody::new(start.chain(tokio_stream::pending()));
        let request =
            http::Request::post(format!("http://test{PATH}")).header("content-type", "application/grpc");
        let request = request.body(body).unwrap();
        let mut sender = sender.clone();
        tasks.spawn(async move {
            sender.ready().await.ok()?;
            let answer = sender.send_request(request).await.ok()?;
            Some(answer.headers()["grpc-status"].to_str().unwrap().to_owned())
        });
    }
    let first =
        tokio::time::timeout(LONG, tasks.join_next()).await.expect("all were taken").unwrap().unwrap();
    assert_eq!(first.as_deref(), Some("8"), "RESOURCE_EXHAUSTED");
    // Everything is sent, until nothing more is answered.
    while let Ok(Some(_)) = tokio::time::timeout(QUIET, tasks.join_next()).await {}
    tasks
}

#[tokio::test]
async fn requests_that_never_end_hold_a_bounded_amount_in_all() {
    // src/server/bounded_body.rs allows each runtime this much, and the buffers around it take twice that. Four times
    // as much is sent.
    const HELD: u64 = RUNTIMES * 64 * MIB;
    let victim = Victim::start("unfinished");
    let mut connections = Vec::new();
    for _ in 0..2 * RUNTIMES {
        connections.push(leave_unfinished(victim.grpc, 4_000).await);
    }
    assert!(victim.grown() > HELD / 2, "{}: nothing was held", victim.grown());
    victim.assert_unharmed("unfinished requests", 3 * HELD);
    drop(connections);
}
