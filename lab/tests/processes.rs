//! Nothing that was started is left running, however its owner ends.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    panic,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lab::{
    binaries::Part,
    process::{Process, ProcessError},
    real,
    redis::Redis,
};

const SOON: Duration = Duration::from_secs(5);

/// Runs until it is killed, whatever polite signal it gets.
fn stubborn() -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' INT TERM HUP; while :; do sleep 1; done"]);
    command
}

/// Whether a process is there; one that has ended but that nobody waited for is not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "PID (name) STATE …", and a name may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn assert_gone_soon(pids: &[u32]) {
    let deadline = Instant::now() + SOON;
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(Instant::now() < deadline, "still running: {pids:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_dropped_process_is_gone_at_once() {
    let process = Process::spawn("stubborn", &stubborn()).unwrap();
    let pid = process.pid();
    assert!(runs(pid));
    drop(process);
    assert!(!runs(pid));
}

#[test]
fn a_panic_leaves_no_process_behind() {
    let mut pid = 0;
    let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let process = Process::spawn("stubborn", &stubborn()).unwrap();
        pid = process.pid();
        panic!("as a failing test would");
    }));
    assert!(caught.is_err());
    assert!(!runs(pid));
}

/// `lab up`, and the processes that it said it has started.
fn lab_up() -> (Child, Vec<u32>) {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()
        .expect("lab was built for this test");
    let out = BufReader::new(lab.stdout.take().unwrap());
    let said = out.lines().map(Result::unwrap).find_map(|line| {
        Some(line.strip_prefix("processes")?.split_whitespace().map(|pid| pid.parse().unwrap()).collect())
    });
    (lab, said.expect("lab up lists its processes"))
}

fn send(signal: &str, pid: u32) {
    let command = format!("kill -s {signal} {pid}");
    assert!(Command::new("/bin/sh").args(["-c", &command]).status().unwrap().success());
}

#[test]
fn sigkill_of_the_owner_leaves_no_process_behind() {
    if !real::available(&[Part::Envoy, Part::Redis]) {
        return;
    }
    let (mut lab, pids) = lab_up();
    assert_eq!(pids.iter().filter(|pid| runs(**pid)).count(), 17);
    // One that is frozen cannot act on anything but SIGKILL.
    send("STOP", pids[0]);
    send("KILL", lab.id());
    lab.wait().unwrap();
    assert_gone_soon(&pids);
}

#[test]
fn ctrl_c_and_sigterm_leave_no_process_behind() {
    if !real::available(&[Part::Envoy, Part::Redis]) {
        return;
    }
    for signal in ["INT", "TERM"] {
        let (mut lab, pids) = lab_up();
        send(signal, lab.id());
        lab.wait().unwrap();
        assert_gone_soon(&pids);
    }
}

#[tokio::test]
async fn a_process_that_ends_while_starting_is_an_error_with_the_end_of_its_log() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo the reason; exit 3"]);
    let mut process = Process::spawn("short", &command).unwrap();
    let error = process.ready(async |_| None::<()>).await.unwrap_err();
    assert!(matches!(error, ProcessError::Ended { .. }));
    let text = error.to_string();
    assert!(text.contains("exit status: 3") && text.contains("the reason"), "{text}");
}

#[tokio::test]
async fn several_redis_run_side_by_side_and_none_on_the_usual_port() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let (a, b, c) = tokio::try_join!(Redis::start(), Redis::start(), Redis::start()).unwrap();
    let ports: HashSet<u16> = [&a, &b, &c].map(|redis| redis.addr().port()).into();
    assert_eq!(ports.len(), 3);
    assert!(!ports.contains(&6379));
}

#[tokio::test]
async fn a_killed_redis_refuses_connections_until_it_is_started_again_on_its_port() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start().await.unwrap();
    let addr = redis.addr();
    TcpStream::connect(addr).unwrap();
    redis.kill();
    assert!(TcpStream::connect(addr).is_err());
    redis.restart().await.unwrap();
    TcpStream::connect(addr).unwrap();
    assert_eq!(redis.addr(), addr);
}
