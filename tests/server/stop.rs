//! How a signal ends the process, and what the process still answers then.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    binary::{CONFIG, FREE_PORTS, Tollgate, command, field},
    bytes::{call, greeting, read_until_answers, send},
    harness::SOON,
};

/// The process is frozen, so that connections wait in the kernel: more of them than tokio accepts in one go.
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

/// Longer than the second within which another signal counts as the first.
const LATER: Duration = Duration::from_millis(1_100);

/// A process with a client that would keep it draining for an hour: it speaks HTTP/2 and never answers the ping of a
/// graceful end.
fn draining(test: &str, drain_wait: &str) -> (Tollgate, TcpStream) {
    let flags = ["--drain-wait", drain_wait, "--drain-timeout", "1h"];
    let mut tollgate = Tollgate::start(test, &flags);
    let line = tollgate.line_with(" listening grpc=");
    let grpc: SocketAddr = field(&line, "grpc").parse().unwrap();
    let mut deaf = TcpStream::connect(grpc).unwrap();
    deaf.write_all(&greeting()).unwrap();
    deaf.read_exact(&mut [0; 9]).unwrap();
    (tollgate, deaf)
}

#[test]
fn a_second_signal_ends_at_once_unless_it_comes_within_a_second_of_the_first() {
    for (drain_wait, signals) in [("0s", ["TERM", "TERM"]), ("1h", ["HUP", "INT"]), ("1h", ["TERM", "HUP"])] {
        let (mut tollgate, _deaf) = draining("second_signal", drain_wait);
        tollgate.signal(signals[0]);
        tollgate.line_with(&format!("\"SIG{}\"", signals[0]));
        // `timeout` does the same: it signals the process, and then its group.
        tollgate.signal(signals[0]);
        tollgate.line_with("counts as the first signal");
        thread::sleep(LATER);
        tollgate.signal(signals[1]);
        let (code, rest) = tollgate.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.contains("stopping at once") && rest.contains("connections=1"), "{rest}");
        assert!(rest.contains(&format!("SIG{}", signals[1])), "{rest}");
    }
}

#[test]
fn a_hangup_drains_as_sigterm_does_and_does_nothing_under_nohup() {
    let mut tollgate = Tollgate::start("hangup", &[]);
    tollgate.line_with(" listening grpc=");
    tollgate.signal("HUP");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopping: health checks fail") && rest.contains("SIGHUP"), "{rest}");

    let inner = command("nohup", CONFIG, &FREE_PORTS);
    let mut ignoring = Command::new("/bin/sh");
    ignoring.args(["-c", r#"trap '' HUP; exec "$0" "$@""#]).arg(inner.get_program()).args(inner.get_args());
    ignoring.env_clear().env("TOLLGATE_DRAIN_WAIT", "0s").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut tollgate = Tollgate::over(ignoring);
    tollgate.line_with(" listening grpc=");
    tollgate.signal("HUP");
    tollgate.signal("TERM");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("SIGTERM") && !rest.contains("SIGHUP"), "{rest}");
}

#[tokio::test]
async fn sigterm_ends_with_0_while_a_client_holds_a_health_watch_open() {
    let mut tollgate = Tollgate::start("watch", &["--drain-timeout", "300ms", "--runtimes", "3"]);
    let line = tollgate.line_with(" listening grpc=");
    let mut watches = Vec::new();
    for _ in 0..3 {
        let channel = Channel::from_shared(format!("http://{}", field(&line, "grpc"))).unwrap();
        let mut health = HealthClient::new(channel.connect().await.unwrap());
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        watches.push(watch);
    }

    tollgate.signal("TERM");
    let ended = tokio::task::spawn_blocking(|| tollgate.end());
    let (code, rest) = tokio::time::timeout(SOON, ended).await.unwrap().unwrap();
    assert_eq!(code, Some(0), "{rest}");
    let told: Vec<&str> =
        rest.lines().filter(|line| line.contains("cut the connections that were still open")).collect();
    assert!(told.len() == 1 && told[0].contains("connections=3"), "once for all runtimes: {rest}");
}
