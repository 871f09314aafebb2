//! The binary as a script or an orchestrator sees it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    binary::{CONFIG, FREE_PORTS, Tollgate, command, field, run},
    harness::{self, ANY_PORT},
};

#[test]
fn the_bound_ports_are_in_the_start_line_and_sigterm_ends_with_0() {
    let mut tollgate = Tollgate::start("start_line", &[]);
    let line = tollgate.line_with(" listening grpc=");
    let admin: SocketAddr = field(&line, "admin").parse().unwrap();
    let grpc: SocketAddr = field(&line, "grpc").parse().unwrap();
    let fields = format!(" listening grpc={grpc} admin={admin} store=memory rules=1 domains=1");
    assert!(line.ends_with(&fields), "{line}");
    tollgate.line_with("in this process's memory");
    assert_eq!(harness::http(admin, "GET", "/healthcheck").1, "OK");

    tollgate.signal("TERM");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopping") && rest.contains("SIGTERM"), "{rest}");
}

#[test]
fn the_health_check_needs_no_arguments_where_the_service_runs_and_fails_once_it_is_gone() {
    let check = |port: u16| {
        let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let check =
            check.env_clear().env("TOLLGATE_ADMIN_LISTEN", format!("0.0.0.0:{port}")).arg("healthcheck");
        let output = check.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let mut tollgate = Tollgate::start("health_check", &[]);
    let admin: SocketAddr = field(&tollgate.line_with(" listening grpc="), "admin").parse().unwrap();
    assert_eq!(check(admin.port()), (Some(0), String::new()));

    tollgate.signal("TERM");
    tollgate.end();
    let (code, stderr) = check(admin.port());
    assert_eq!(code, Some(1));
    let expected = format!("unhealthy: cannot connect to 127.0.0.1:{}: ", admin.port());
    assert!(stderr.starts_with(&expected) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_configuration_without_a_rule_is_served_with_a_warning() {
    let command = command("no_rules", "domain: edge\ndescriptors: []\n", &FREE_PORTS);
    let mut tollgate = Tollgate::over(command);
    assert!(tollgate.line_with(" listening grpc=").ends_with(" rules=0 domains=1"));
    tollgate.signal("TERM");
    let (code, rest) = tollgate.end();
    assert!(code == Some(0) && rest.contains(" WARN ") && rest.contains("no limit was loaded"), "{rest}");
}

/// A process that says that it listens must be ready. Otherwise scripts would wait for a process that ends.
#[test]
fn a_process_that_cannot_start_its_runtimes_does_not_say_that_it_listens() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("few_files.yaml");
    fs::write(&file, CONFIG).unwrap();
    let serve = r#"ulimit -n 24 && exec "$0" serve --runtimes 1000 --grpc-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --config "$1""#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", serve, env!("CARGO_BIN_EXE_tollgate")]).arg(file).env_clear();
    let output = shell.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr, "cannot start a runtime: too many open files\n");
}

#[test]
fn every_flag_may_stand_in_the_environment_and_a_list_has_commas() {
    let second = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("environment_b.yaml");
    fs::write(&second, CONFIG.replace("domain: edge", "domain: internal")).unwrap();
    let first = second.with_file_name("environment_a.yaml");
    fs::write(&first, CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env_clear().arg("serve").stdout(Stdio::null()).stderr(Stdio::piped()).envs([
        ("TOLLGATE_CONFIG", format!("{},{}", first.display(), second.display()).as_str()),
        ("TOLLGATE_STORE", "memory"),
        ("TOLLGATE_GRPC_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_HEADERS", "retry-after,ratelimit"),
        ("TOLLGATE_LOG_FORMAT", "json"),
        ("TOLLGATE_DRAIN_WAIT", "45ms"),
        ("TOLLGATE_DRAIN_TIMEOUT", "123ms"),
    ]);
    let mut tollgate = Tollgate::over(command);
    let line: serde_json::Value = serde_json::from_str(&tollgate.line_with("\"listening\"")).unwrap();
    let admin: SocketAddr = line["admin"].as_str().unwrap().parse().unwrap();
    let counts = |domain| harness::http(admin, "GET", "/metrics").1.contains(&format!("domain=\"{domain}\""));
    // A limit is shown once a runtime has taken up its rules, which may be a moment after the start line.
    let counted = (0..1_000).any(|_| ["edge", "internal"].into_iter().all(counts));
    assert!(counted, "a domain is missing from /metrics");
    tollgate.signal("TERM");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("\"drain_wait\":\"45ms\""), "{rest}");
    assert!(rest.contains("\"drain_timeout\":\"123ms\""), "{rest}");
}

#[test]
fn json_logs_carry_the_same_fields_and_no_password() {
    let flags =
        ["--log-format", "json", "--store", "redis://user:s3cret@127.0.0.1:1", "--log-level", "debug"];
    let mut tollgate = Tollgate::start("json", &flags);
    let line = tollgate.line_with("\"listening\"");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "listening");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["store"], "redis://127.0.0.1:1");
    assert!(line["grpc"].as_str().unwrap().parse::<SocketAddr>().is_ok(), "{line}");

    tollgate.signal("INT");
    let (code, rest) = tollgate.end();
    assert_eq!(code, Some(0));
    assert!(!rest.contains("s3cret"), "{rest}");
}

#[test]
fn a_configuration_that_cannot_be_read_ends_with_1_and_its_file() {
    let (code, stderr) = run("missing", CONFIG, &["--config", "/nonexistent/limits.yaml"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.starts_with("/nonexistent/limits.yaml"), "{stderr}");
}

#[test]
fn a_port_in_use_is_one_clear_line_and_ends_with_1() {
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = run("port", CONFIG, &["--admin-listen", "127.0.0.1:0", "--grpc-listen", &address]);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr, format!("cannot listen on {address} (gRPC): address already in use\n"));
}

#[test]
fn a_wrong_store_address_is_refused_without_repeating_its_password() {
    let (code, stderr) = run("store", CONFIG, &["--store", "radish://user:s3cret@10.0.0.7"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.starts_with("--store") && !stderr.contains("s3cret"), "{stderr}");
}

#[test]
fn a_part_of_a_store_s_address_that_would_be_dropped_ends_the_start_and_says_what_to_write_instead() {
    for (store, said) in [
        (
            "redis://cache?ssl=true",
            "--store: `?ssl` would be ignored, and the connection would be plain text",
        ),
        ("redis://cache?db=2", "--store: write the database after the host: redis://host:6379/2"),
        ("redis://cache/0#x", "--store: `#` and everything after it would be ignored"),
        (
            "redis://:s3c/ret@cache",
            "--store: a user or a password with @ / ? or # in it must be percent-encoded",
        ),
        ("redis:6379", "--store: did you mean redis://redis:6379?"),
        ("redis://a:6379,b:6379", "--store: name one Redis; a list of Sentinels is redis+sentinel://"),
    ] {
        let (code, stderr) = run("store-parts", CONFIG, &["--store", store]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.starts_with(said), "{stderr}");
    }
}

#[test]
fn help_explains_the_flags_and_hides_the_password_in_the_environment() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let help = help.args(["serve", "--help"]).env("TOLLGATE_STORE", "redis://:s3cret@host").output().unwrap();
    let stdout = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout.contains("--config <PATH>") && stdout.contains("TOLLGATE_STORE"), "{stdout}");
    assert!(!stdout.contains("s3cret"), "{stdout}");
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let (code, stderr) = run("usage", CONFIG, &["--jitter", "much"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--jitter"), "{stderr}");
    for (flags, said) in [
        (["--headers", "ratelimit,ratelimit"], "--headers names ratelimit twice\n"),
        (["--headers", "none,ratelimit"], "--headers: none cannot be combined with other groups\n"),
        (
            ["--log-level", "loud"],
            "--log-level says \"loud\", which is not a log level; write off, error, warn, info, debug or trace\n",
        ),
    ] {
        let (code, stderr) = run("usage", CONFIG, &flags);
        assert_eq!((code, stderr.as_str()), (Some(2), said), "{flags:?}");
    }
}

#[test]
fn no_log_level_hides_where_the_process_listens() {
    for level in ["warn", "off", "h2=trace"] {
        let mut tollgate = Tollgate::start("quiet", &["--log-level", level]);
        tollgate.line_with(" listening grpc=");
        tollgate.signal("TERM");
        assert_eq!(tollgate.end(), (Some(0), String::new()), "{level}");
    }
}

#[test]
fn several_replicas_that_each_keep_their_own_buckets_are_warned_of() {
    for (flags, is_warned) in [(&["--replicas", "3"][..], true), (&["--replicas", "1"], false)] {
        let mut tollgate = Tollgate::start("replicas", flags);
        tollgate.line_with(" listening grpc=");
        tollgate.signal("TERM");
        let (_, rest) = tollgate.end();
        assert_eq!(
            rest.contains(
                "each of 3 replicas keeps buckets in its own memory, so each admits the whole limit"
            ),
            is_warned,
            "{rest}"
        );
    }
}
