//! Calls of gRPC methods that Tollgate does not have: a warning names each, and all are counted.

use std::net::SocketAddr;

use crate::{
    binary::{Tollgate, field},
    bytes::{END_HEADERS, END_STREAM, HEADERS, call, frame, greeting, headers_for, read_until_answers, send},
    harness,
};

/// The APIs before v3; a method that the service does not have; and one of gRPC health.
const UNKNOWN: [&str; 4] = [
    "/envoy.service.ratelimit.v2.RateLimitService/ShouldRateLimit",
    "/envoy.service.auth.v2.Authorization/Check",
    "/envoy.service.ratelimit.v3.RateLimitService/Ask",
    "/grpc.health.v1.Health/Ask",
];
const TIMES: u32 = 3;

fn counted(admin: SocketAddr) -> usize {
    let page = harness::http(admin, "GET", "/metrics").1;
    let value = page.lines().find_map(|line| line.strip_prefix("tollgate_unknown_methods_total "));
    value.expect("it is there from the start").parse().unwrap()
}

#[test]
fn calls_of_unknown_methods_are_warned_of_once_each_and_all_are_counted() {
    let mut tollgate = Tollgate::start("unknown-methods", &["--runtimes", "1"]);
    let line = tollgate.line_with(" listening grpc=");
    let address = |name| field(&line, name).parse::<SocketAddr>().unwrap();
    let (grpc, admin) = (address("grpc"), address("admin"));
    assert_eq!(counted(admin), 0);

    let mut bytes = [greeting(), call(1)].concat();
    let paths = UNKNOWN.iter().flat_map(|path| std::iter::repeat_n(path, TIMES as usize));
    for (stream, path) in (3..).step_by(2).zip(paths) {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers_for(path)));
    }
    let mut connection = send(grpc, &bytes);
    let calls = UNKNOWN.len() * TIMES as usize;
    read_until_answers(&mut connection, 1 + calls);
    assert_eq!(counted(admin), calls);

    drop(connection);
    tollgate.signal("TERM");
    let (_, log) = tollgate.end();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("unknown gRPC method")).collect();
    assert_eq!(warnings.len(), UNKNOWN.len(), "{log}");
    for path in UNKNOWN {
        let told = |line: &&str| line.contains(&format!("path=\"{path}\" times=1"));
        assert!(warnings.iter().any(told), "{path}: {log}");
    }
}
