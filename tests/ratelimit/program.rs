//! Starts the program under the name of envoyproxy/ratelimit, and what it does with its name and environment.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use lab::{
    binaries,
    process::{Process, ProcessError, Signal},
};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

use crate::{
    pages::{get, http, port, wait},
    support,
};

pub(crate) const LIMITS: &str =
    "domain: edge\ndescriptors: [{ key: user, rate_limit: { unit: day, requests_per_unit: 2 } }]\n";

/// Ports that the kernel chooses, on loopback alone.
const ANY_PORTS: [(&str, &str); 6] = [
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("GRPC_HOST", "127.0.0.1"),
    ("GRPC_PORT", "0"),
    ("DEBUG_HOST", "127.0.0.1"),
    ("DEBUG_PORT", "0"),
];

pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// `/bin/ratelimit`, as the image has it: a link to the program.
fn ratelimit() -> &'static Path {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    LINK.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bin-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("can be made");
        let link = folder.join("ratelimit");
        let _ = fs::remove_file(&link);
        symlink(binaries::tollgate().expect("built"), &link).expect("can be made");
        link
    })
}

/// The command with these variables and no others.
fn command(program: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name != "PATH") {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").envs(variables.iter().copied());
    command
}

pub(crate) fn with_ports<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [variables, &ANY_PORTS].concat()
}

impl Program {
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Result<Program, ProcessError> {
        Program::start_as(&command(ratelimit(), &with_ports(variables))).await
    }

    async fn start_as(command: &Command) -> Result<Program, ProcessError> {
        lab::midnight::not_within(Duration::from_secs(30)).await;
        let mut process = Process::spawn("ratelimit", command)?;
        let (grpc, admin) = process.ready(async |log| log.lines().find_map(addresses)).await?;
        Ok(Program { process, grpc, admin })
    }

    pub(crate) async fn client(&self) -> RateLimitServiceClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        RateLimitServiceClient::new(channel.connect().await.expect("connects"))
    }

    /// The line that accounts for the variables.
    pub(crate) fn account(&self) -> String {
        let log = self.process.log_text();
        let line = log.lines().find(|line| line.contains("serving as envoyproxy/ratelimit"));
        line.unwrap_or_else(|| panic!("{log}")).to_owned()
    }
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, fields) = line.split_once("listening ")?;
    let field = |name| fields.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    Some((field("grpc=")?, field("admin=")?))
}

pub(crate) fn request() -> RateLimitRequest {
    let entry = Entry { key: "user".into(), value: "ann".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 }
}

pub(crate) async fn ask(client: &mut RateLimitServiceClient<Channel>) -> RateLimitResponse {
    client.should_rate_limit(request()).await.expect("an answer").into_inner()
}

/// A folder for one test, as RUNTIME_ROOT, with limits in `config`.
pub(crate) fn root(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("runtime-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("can be made");
        fs::write(path, text).expect("can be written");
    }
    root
}

fn output(program: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(program, variables);
    command.env_clear().envs(variables.iter().copied()).args(args).output().expect("runs")
}

#[tokio::test]
async fn either_name_reads_the_environment_and_ignores_arguments_with_a_warning() {
    let Some(redis) = support::redis().await else { return };
    let root = root("names", &[("config/limits.yaml", LIMITS)]);
    let (root, url) = (root.display().to_string(), redis.addr().to_string());
    let variables = [
        ("RUNTIME_ROOT", root.as_str()),
        ("REDIS_URL", &url),
        ("REDIS_SOCKET_TYPE", "tcp"),
        ("USE_STATSD", "false"),
        ("LOG_LEVEL", "DEBUG"),
        ("TOLLGATE_RUNTIMES", "1"),
        ("SOME_VARIABLE", "of somebody else"),
    ];
    let mut by_name = command(ratelimit(), &with_ports(&variables));
    by_name.arg("--quotaRateLimitServiceAddr=a");
    let tollgate = binaries::tollgate().expect("built");
    let mut by_subcommand = command(&tollgate, &with_ports(&variables));
    by_subcommand.args(["ratelimit", "--quotaRateLimitServiceAddr=a"]);
    for (asked, command) in [(0, by_name), (1, by_subcommand)] {
        let program = Program::start_as(&command).await.expect("starts");
        let admin = program.admin;
        wait(move || get(admin, "/healthcheck").0 == 200).await;
        let answer = ask(&mut program.client().await).await;
        assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::Ok, 1 - asked));
        let log = program.process.log_text();
        assert!(log.contains("these arguments are ignored") && log.contains("quotaRateLimit"), "{log}");
        assert!(log.contains("DEBUG") || log.contains("debug"), "LOG_LEVEL is honoured: {log}");
        let account = program.account();
        for named in ["RUNTIME_ROOT", "REDIS_URL", "REDIS_SOCKET_TYPE", "without_effect=\"USE_STATSD\""] {
            assert!(account.contains(named), "{named}: {account}");
        }
        assert!(!log.contains("SOME_VARIABLE") && !account.contains("TOLLGATE_RUNTIMES"), "{log}");
        let (status, body) = http(
            program.admin,
            "POST",
            "/json",
            r#"{"domain": "edge", "descriptors": [{"entries": [{"key": "nobody"}]}]}"#,
        );
        assert_eq!((status, body.contains("OK")), (200, true), "{body}");
        let rules = get(port(&log, "debug"), "/rlconfig");
        let line = "edge.user: unit=DAY requests_per_unit=2, shadow_mode: false, quota_mode: false\n";
        assert_eq!(rules, (200, line.to_owned()));
    }
}

#[test]
fn an_environment_that_cannot_be_honoured_ends_the_start_with_status_2() {
    let wrong = [
        ("REDIS_URL", "a:1,b:2"),
        ("CACHE_KEY_PREFIX", "x"),
        ("GRPC_PORT", "many"),
        ("SHADOW_MODE", "maybe"),
    ];
    let ended = output(ratelimit(), &[], &wrong);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    for (name, _) in wrong {
        let lines = told.lines().map(|line| line.trim_start_matches("error: "));
        assert_eq!(lines.filter(|line| line.starts_with(name)).count(), 1, "{name}: {told}");
    }
    // A value that only `serve` refuses is told by its variable, too.
    let ended = output(ratelimit(), &[], &[("REDIS_URL", "redis://h:1?ssl=true")]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("\nREDIS_URL: `?ssl` would be ignored"), "{told}");
    // Help and version are what people ask for first.
    let help = output(ratelimit(), &["--help"], &[]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("serve"));
    let help = output(&binaries::tollgate().expect("built"), &["ratelimit", "--help"], &[]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("docs/ratelimit.md"));
}

#[test]
fn a_folder_without_rules_ends_the_start_and_is_named() {
    let root = root("none", &[("other/limits.yaml", LIMITS)]).display().to_string();
    let ended = output(ratelimit(), &[], &[("RUNTIME_ROOT", &root), ("REDIS_URL", "127.0.0.1:1")]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("{root}/config")), "{told}");
}

#[tokio::test]
async fn a_stop_fails_health_checks_at_once_and_serves_for_ten_more_seconds() {
    let Some(redis) = support::redis().await else { return };
    let root = root("stop", &[("config/limits.yaml", LIMITS)]).display().to_string();
    let url = redis.url();
    let started = clock::monotonic();
    let variables = [("RUNTIME_ROOT", root.as_str()), ("REDIS_URL", &url)];
    let mut program = Program::start(&variables).await.expect("starts");
    // The first answer that an Envoy could get; it may come before Redis is reached.
    program.client().await.should_rate_limit(request()).await.ok();
    println!("exec to first answer: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let admin = program.admin;
    wait(move || get(admin, "/healthcheck") == (200, "OK".to_owned())).await;

    let stopped = clock::monotonic();
    program.process.signal(Signal::Terminate).expect("runs");
    wait(move || get(admin, "/healthcheck").0 == 500).await;
    // New connections are served until shortly before the end.
    while stopped.elapsed() < Duration::from_secs(9) {
        ask(&mut program.client().await).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for _ in 0..500 {
        if program.process.ended().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(program.process.ended().is_some_and(|status| status.success()));
    assert!(stopped.elapsed() >= Duration::from_secs(10), "{:?}", stopped.elapsed());
}

/// Ends when it is dropped.
struct Nobody(Child);

impl Drop for Nobody {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Kubernetes gives it: no rights, and no file that it could write.
#[tokio::test]
async fn it_runs_as_nobody_and_writes_no_file() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("SKIPPED: it takes root and setpriv to run as uid 65534");
        return;
    }
    // A copy that everybody can read.
    let folder = env::temp_dir().join(format!("tollgate-nobody-{}", std::process::id()));
    fs::create_dir_all(folder.join("config")).expect("can be made");
    fs::copy(binaries::tollgate().expect("built"), folder.join("ratelimit")).expect("copied");
    fs::write(folder.join("config/limits.yaml"), LIMITS).expect("written");
    // The first byte that is written to a file ends the process.
    let launcher = format!(
        "ulimit -f 0; exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
         --bounding-set=-all {}/ratelimit",
        folder.display()
    );
    let root = folder.display().to_string();
    let variables = [("RUNTIME_ROOT", root.as_str()), ("TOLLGATE_STORE", "memory")];
    let mut shell = command(Path::new("/bin/sh"), &with_ports(&variables));
    let mut nobody = Nobody(shell.args(["-c", &launcher]).stderr(Stdio::piped()).spawn().expect("runs"));
    let mut log = BufReader::new(nobody.0.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let (grpc, _) = log.find_map(|line| addresses(&line)).expect("it starts");
    let status = fs::read_to_string(format!("/proc/{}/status", nobody.0.id())).expect("it runs");
    assert!(
        status.contains("Uid:\t65534\t65534") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );
    let channel = Channel::from_shared(format!("http://{grpc}")).expect("an address").connect().await;
    let answer = ask(&mut RateLimitServiceClient::new(channel.expect("connects"))).await;
    assert_eq!(answer.statuses[0].limit_remaining, 1);
    fs::remove_dir_all(&folder).expect("removed");
}
