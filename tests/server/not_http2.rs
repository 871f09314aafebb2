//! Clients of the gRPC port that do not speak HTTP/2: a warning names the setting that is wrong, and all are counted.

use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::{
    binary::{Tollgate, field},
    bytes::{assert_closed, send},
    harness,
};

/// What Envoy sends if its cluster does not ask for HTTP/2.
const DECISION: &[u8] =
    b"POST /envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit HTTP/1.1\r\nhost: x\r\n\r\n";
const PROBE: &[u8] = b"GET /healthcheck HTTP/1.1\r\nhost: x\r\n\r\n";
const TLS: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03];

fn counted(admin: SocketAddr) -> [u64; 3] {
    let page = harness::http(admin, "GET", "/metrics").1;
    ["http1", "tls", "other"].map(|kind| {
        let series = format!("tollgate_connections_not_http2_total{{kind=\"{kind}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).expect(kind)
    })
}

/// There are several runtimes, and all of them see such clients; the process warns once.
#[test]
fn clients_that_speak_http1_or_tls_are_warned_of_once_with_the_setting_and_all_are_counted() {
    let mut tollgate = Tollgate::start("not-http2", &["--runtimes", "3"]);
    let line = tollgate.line_with(" listening grpc=");
    let address = |name| field(&line, name).parse::<SocketAddr>().unwrap();
    let (grpc, admin) = (address("grpc"), address("admin"));
    assert_eq!(counted(admin), [0; 3], "there from the start");

    // The probe comes first, and must not hide the warning about Envoy.
    for (client, times) in [(PROBE, 4), (DECISION, 6), (TLS, 5), (b"QUIT\r\n", 3)] {
        let mut open: Vec<TcpStream> = (0..times).map(|_| send(grpc, client)).collect();
        open.iter_mut().for_each(assert_closed);
    }
    // Two ways in which a load balancer checks whether the port is open.
    for _ in 0..5 {
        drop(TcpStream::connect(grpc).unwrap());
        let mut silent = TcpStream::connect(grpc).unwrap();
        silent.shutdown(Shutdown::Write).unwrap();
        assert_closed(&mut silent);
    }
    // A connection is counted just after it was closed.
    for _ in 0..1_000 {
        if counted(admin) == [10, 5, 3] {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(counted(admin), [10, 5, 3]);

    tollgate.signal("TERM");
    let (_, log) = tollgate.end();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), 3, "{log}");
    for (words, setting) in [
        ("a client of the gRPC port speaks HTTP/1.1", "set http2_protocol_options on its cluster"),
        ("Envoy calls the gRPC port over HTTP/1.1", "http2_protocol_options: {}"),
        ("a client of the gRPC port speaks TLS", "remove the TLS transport_socket from its cluster"),
    ] {
        // Connections that came at the same time on other runtimes may be counted in the line.
        let told = |line: &&&str| line.contains(words) && line.contains(setting) && line.contains("times=");
        assert_eq!(warnings.iter().filter(told).count(), 1, "{words}: {log}");
    }
}
