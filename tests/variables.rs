//! The environment as deployments write it: variables left empty, switches in Go's spelling, and messages that name
//! the variable, not a flag that nobody typed.

mod support;

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    time::Duration,
};

use lab::{
    binaries,
    tollgate::{Serve, Tollgate},
};

const LIMITS: &str =
    "domain: e\ndescriptors:\n- { key: a, rate_limit: { unit: day, requests_per_unit: 1 } }\n";

/// A port that is in use: a start that gets as far as its ports has understood everything else, and ends there.
struct Taken(TcpListener);

impl Taken {
    fn new() -> Taken {
        Taken(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }
}

/// The exit status and stderr, with these variables and no others of Tollgate or of the reference.
fn serve(variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binaries::tollgate().expect("built"));
    command.env_clear().arg("serve").args(args).envs(variables.iter().copied());
    let output = command.output().expect("runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

/// All variables of `serve`, from its help.
fn all_variables() -> Vec<String> {
    let help = Command::new(binaries::tollgate().expect("built")).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.expect("runs").stdout).expect("UTF-8");
    let names = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_variable_that_is_set_and_empty_counts_as_not_set() {
    let limits = support::file("variables-empty.yaml", LIMITS).display().to_string();
    let (taken, all) = (Taken::new(), all_variables());
    assert!(all.len() > 20, "{all:?}");
    let address = taken.address().to_string();
    for name in all.iter().map(String::as_str).chain(["SHADOW_MODE", "QUOTA_MODE", "RUST_LOG"]) {
        for empty in ["", " "] {
            let args = ["--config", &limits, "--grpc-listen", &address, "--admin-listen", "127.0.0.1:0"];
            let (status, told) = serve(&[(name, empty)], &args);
            assert_eq!(status, Some(1), "{name}={empty:?}: {told}");
            assert!(told.starts_with("cannot listen on "), "{name}={empty:?}: {told}");
        }
    }
    let (status, told) = serve(&[("TOLLGATE_CONFIG", "")], &[]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("--config <"), "what is missing is named: {told}");
}

#[test]
fn help_shows_a_variable_that_is_empty() {
    let mut command = Command::new(binaries::tollgate().expect("built"));
    let help = command.args(["serve", "--help"]).env("TOLLGATE_REPLICAS", "").output().expect("runs");
    assert!(String::from_utf8_lossy(&help.stdout).contains("[env: TOLLGATE_REPLICAS="));
}

#[test]
fn switches_in_variables_are_spelled_as_in_go() {
    let limits = support::file("variables-switches.yaml", LIMITS).display().to_string();
    let taken = Taken::new();
    let address = taken.address().to_string();
    // TOLLGATE_MEMO is what the denial cache was called before.
    for name in [
        "TOLLGATE_SHADOW_MODE",
        "TOLLGATE_DENIAL_CACHE",
        "TOLLGATE_MEMO",
        "SHADOW_MODE",
        "TOLLGATE_DYNAMIC_METADATA",
    ] {
        for value in ["1", "TRUE", "t", "0", "False", "on", "off"] {
            let (status, told) = serve(&[(name, value)], &["--config", &limits, "--grpc-listen", &address]);
            assert!(status == Some(1) && told.starts_with("cannot listen on "), "{name}={value}: {told}");
        }
        let (status, told) = serve(&[(name, "maybe")], &["--config", &limits]);
        assert_eq!(status, Some(2), "{name}: {told}");
        assert!(
            told.contains(name) && told.contains("\n") && told.contains("a switch is on or off"),
            "{told}"
        );
    }
}

#[test]
fn lists_in_variables_may_have_blanks_around_their_items() {
    let first = support::file("variables-first.yaml", LIMITS).display().to_string();
    let second = support::file("variables-second.yaml", &LIMITS.replace("e\n", "f\n")).display().to_string();
    let taken = Taken::new();
    let variables = [
        ("TOLLGATE_CONFIG", format!(" {first} ,\n{second}\n")),
        ("TOLLGATE_HEADERS", "retry-after, ratelimit".to_owned()),
        ("TOLLGATE_LOG_LEVEL", "warn, tollgate=info".to_owned()),
        ("TOLLGATE_LOG_FORMAT", "JSON".to_owned()),
        ("TOLLGATE_GRPC_LISTEN", taken.address().to_string()),
    ];
    let (status, told) = serve(&variables.each_ref().map(|(name, value)| (*name, value.as_str())), &[]);
    assert!(status == Some(1) && told.starts_with("cannot listen on "), "{told}");
}

#[test]
fn a_message_names_the_variable_that_the_value_came_from() {
    let limits = support::file("variables-named.yaml", LIMITS).display().to_string();
    for (flag, variable, value, status) in [
        ("--store", "TOLLGATE_STORE", "radish://h", 1),
        ("--store-password-file", "TOLLGATE_STORE_PASSWORD_FILE", "/nowhere", 2),
        ("--store-deadline", "TOLLGATE_STORE_DEADLINE", "10", 2),
        ("--on-store-failure", "TOLLGATE_ON_STORE_FAILURE", "shrug", 2),
        ("--replicas", "TOLLGATE_REPLICAS", "0", 2),
        ("--headers", "TOLLGATE_HEADERS", "none,ratelimit", 2),
        ("--headers", "TOLLGATE_HEADERS", "ratelimit,ratelimit", 2),
        ("--headers", "TOLLGATE_HEADERS", "ratelimit,", 2),
        ("--grpc-listen", "TOLLGATE_GRPC_LISTEN", ":8081", 2),
        ("--max-connections", "TOLLGATE_MAX_CONNECTIONS", "many", 2),
        ("--log-level", "TOLLGATE_LOG_LEVEL", "loud", 2),
    ] {
        let typed = serve(&[], &["--config", &limits, flag, value]);
        assert_eq!(typed.0, Some(status), "{}", typed.1);
        assert!(typed.1.contains(flag) && !typed.1.contains(variable), "{}", typed.1);
        let set = serve(&[(variable, value)], &["--config", &limits]);
        assert_eq!(set.0, Some(status), "{}", set.1);
        let first = set.1.lines().next().unwrap_or_default();
        assert!(first.contains(variable), "{first}");
    }
    // A flag takes precedence over its variable, and the message is about the flag.
    let both = serve(&[("TOLLGATE_REPLICAS", "3")], &["--config", &limits, "--replicas=0"]);
    assert!(both.1.contains("--replicas") && !both.1.contains("TOLLGATE_REPLICAS"), "{}", both.1);
}

#[test]
fn what_the_image_sets_gives_way_to_whatever_its_user_sets() {
    let limits = support::file("variables-image.yaml", LIMITS).display().to_string();
    let (image, users) = (Taken::new(), Taken::new());
    let (image_address, users_address) = (image.address().to_string(), users.address().to_string());
    let of_image = [
        ("TOLLGATE_IMAGE_CONFIG", limits.as_str()),
        ("TOLLGATE_IMAGE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_IMAGE_GRPC_LISTEN", &image_address),
    ];
    let told = |variables: &[(&str, &str)], args: &[&str]| serve(&[&of_image, variables].concat(), args).1;
    let at = |address: &str| format!("cannot listen on {address} (gRPC)");
    assert!(told(&[], &[]).contains(&at(&image_address)));
    assert!(told(&[("TOLLGATE_GRPC_LISTEN", &users_address)], &[]).contains(&at(&users_address)));
    assert!(told(&[("TOLLGATE_GRPC_LISTEN", "")], &[]).contains(&at(&image_address)));
    assert!(told(&[], &["--grpc-listen", &users_address]).contains(&at(&users_address)));
    assert!(told(&[("TOLLGATE_CONFIG", "/nowhere")], &[]).contains("/nowhere"));
    // Rules come from a server instead of the image's file.
    assert!(told(&[("TOLLGATE_XDS_SERVER", "127.0.0.1:1")], &[]).contains(&at(&image_address)));
    assert!(told(&[], &["--xds-server=127.0.0.1:1"]).contains(&at(&image_address)));
    // Under the name of envoyproxy/ratelimit none of them counts.
    let mut ratelimit = Command::new(binaries::tollgate().expect("built"));
    ratelimit.env_clear().arg("ratelimit").envs(of_image).env("REDIS_URL", "127.0.0.1:1");
    ratelimit.envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("RUNTIME_ROOT", "/nowhere")]);
    let output = ratelimit.output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/config"), "{output:?}");
    ratelimit.envs([("CONFIG_TYPE", "GRPC_XDS_SOTW"), ("GRPC_HOST", "127.0.0.1")]);
    ratelimit.envs([("GRPC_PORT", users.address().port().to_string()), ("DEBUG_PORT", "0".to_owned())]);
    let output = ratelimit.output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&at(&users_address)), "{output:?}");
}

#[test]
fn a_health_check_reads_the_variable_as_the_service_does() {
    let healthcheck = |value: &str| {
        let mut command = Command::new(binaries::tollgate().expect("built"));
        let output = command.arg("healthcheck").env_clear().env("TOLLGATE_ADMIN_LISTEN", value).output();
        String::from_utf8(output.expect("runs").stderr).expect("UTF-8")
    };
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let told = healthcheck(&format!("localhost:{}", nobody.port()));
    assert!(told.starts_with(&format!("unhealthy: cannot connect to {nobody}")), "{told}");
    let told = healthcheck("8080");
    assert!(told.contains("TOLLGATE_ADMIN_LISTEN") && told.contains("127.0.0.1:8080"), "{told}");
}

/// Everything that a Tollgate logs from its start to its end.
async fn log(test: &str, change: impl Fn(Serve) -> Serve) -> String {
    let limits = support::file(&format!("variables-{test}.yaml"), LIMITS);
    let serve = Serve::new(&limits).args(&["--drain-wait", "0s", "--runtimes", "1"]);
    let mut tollgate = Tollgate::start(&change(serve)).await.expect("starts");
    tollgate.terminate(Duration::from_secs(10)).await.expect("ends");
    tollgate.log_text()
}

#[tokio::test]
async fn variables_of_the_reference_that_name_its_store_are_warned_of() {
    let set = |serve: Serve| {
        serve.variable("REDIS_URL", "redis:6379").variable("REDIS_AUTH", "s3cret").variable("REDIS_TYPE", "")
    };
    let told = log("reference", set).await;
    let line = told.lines().find(|line| line.contains("no --store was given")).expect("it says so");
    assert!(line.contains("WARN") && line.contains("REDIS_URL, REDIS_AUTH."), "{line}");
    assert!(!told.contains("s3cret") && !line.contains("REDIS_TYPE"), "{told}");

    let memory = log("memory", |serve| set(serve).store("memory")).await;
    assert!(!memory.contains("REDIS_URL"), "memory was asked for: {memory}");
    let plain = log("plain", |serve| serve).await;
    assert!(plain.contains("no --store was given") && !plain.contains("WARN"), "{plain}");
}

#[tokio::test]
async fn a_mode_that_lets_requests_pass_says_what_has_turned_it_on() {
    let shadow = log("shadow", |serve| serve.variable("SHADOW_MODE", "1")).await;
    assert!(shadow.contains("shadow mode is on") && shadow.contains("by=SHADOW_MODE"), "{shadow}");
    let quota = log("quota", |serve| serve.variable("TOLLGATE_QUOTA_MODE", "on")).await;
    assert!(quota.contains("quota mode is on") && quota.contains("by=TOLLGATE_QUOTA_MODE"), "{quota}");
    // A flag takes precedence over the variable of the reference.
    let off = log("off", |serve| serve.variable("SHADOW_MODE", "true").args(&["--shadow-mode=off"])).await;
    assert!(!off.contains("shadow mode"), "{off}");
}
