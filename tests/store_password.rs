//! The store's password in a file, which is rotated while Tollgate runs.

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use lab::{
    binaries, http,
    tollgate::{Serve, Tollgate},
};
use redis::{Connection, cmd};
use support::exposed::Exposed;
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

const LIMITS: &str = "\
domain: edge
descriptors:
- { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 } }
";
const FIRST: &str = "canary-first";
const SECOND: &str = "canary-second";
const WITHIN: Duration = Duration::from_secs(20);

/// Sets the only password of Tollgate's user, and ends the connections that logged in with another one.
fn rotate(password: &str, admin: &mut Connection) {
    let user = ["SETUSER", "tollgate", "on", "resetpass", &format!(">{password}"), "~*", "+@all"];
    let () = cmd("ACL").arg(&user).query(admin).expect("a user");
    let _: u32 = cmd("CLIENT").arg(&["KILL", "USER", "tollgate"]).query(admin).expect("kills");
}

async fn until_ready_says(wanted: &str, tollgate: &Tollgate, exposed: &mut Exposed) {
    let started = clock::monotonic();
    loop {
        let page = http::get(tollgate.admin(), "/ready", &[]).await.expect("an answer").text();
        exposed.note("/ready", page.clone());
        if page.contains(wanted) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "/ready never says {wanted}: {page}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What is left of one key's limit in Redis after one request.
async fn remaining(tollgate: &Tollgate) -> u32 {
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    let entry = Entry { key: "api_key".into(), value: "alice".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 1 };
    let answer = client.should_rate_limit(request).await.expect("an answer").into_inner();
    assert_eq!(answer.dynamic_metadata, None, "a fallback answer");
    answer.statuses[0].limit_remaining
}

#[tokio::test]
async fn a_password_that_is_rotated_needs_no_restart_and_shows_nowhere() {
    let Some(redis) = support::redis().await else { return };
    let (mut admin, mut exposed) = (support::connection(&redis), Exposed::default());
    let file = support::file("store-password-rotated", &format!("{FIRST}\n"));
    rotate(FIRST, &mut admin);
    let serve = Serve::new(support::file("store-password.yaml", LIMITS))
        .store(format!("redis://tollgate@{}", redis.addr()))
        .args(&["--store-password-file", file.to_str().expect("text"), "--store-deadline", "5s"])
        .args(&["--log-level", "trace", "--drain-wait", "0s", "--runtimes", "2"]);
    let mut tollgate = Tollgate::start(&serve).await.expect("starts");
    until_ready_says("OK", &tollgate, &mut exposed).await;
    assert_eq!(remaining(&tollgate).await, 9);

    rotate(SECOND, &mut admin);
    until_ready_says("authentication failed", &tollgate, &mut exposed).await;
    fs::remove_file(&file).expect("is there");
    let gone = format!("cannot read the store's password from {}: no such file", file.display());
    until_ready_says(&gone, &tollgate, &mut exposed).await;
    fs::write(&file, format!("{SECOND}\n")).expect("can be written");
    until_ready_says("OK", &tollgate, &mut exposed).await;
    assert_eq!(remaining(&tollgate).await, 8, "the same bucket in Redis");

    tollgate.terminate(WITHIN).await.expect("ends");
    let log = tollgate.log_text();
    assert!(log.contains(" TRACE ") && log.contains("lost the connection to the store"), "{log}");
    exposed.note("the log", log);
    exposed.assert_free_of(&[FIRST, SECOND]);
}

// === errors at the start ===

fn serve(store: &str, password_file: &Path) -> Output {
    let limits = support::file("store-password-start.yaml", LIMITS);
    let mut serve = Command::new(binaries::tollgate().expect("built"));
    serve.env_clear().arg("serve").arg("--config").arg(limits).args(["--store", store]);
    // An address that does not belong to this machine, so that a start which gets that far ends as well.
    serve.args(["--grpc-listen", "192.0.2.1:1"]);
    serve.env("TOLLGATE_STORE_PASSWORD_FILE", password_file).output().expect("runs")
}

#[track_caller]
fn assert_ends(output: &Output, status: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(status), said));
}

#[test]
fn a_file_that_cannot_be_read_ends_the_start_with_its_name_and_the_reason() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let missing = folder.join("store-password-missing");
    let of = |path: &Path, reason| {
        let path = path.display();
        format!("TOLLGATE_STORE_PASSWORD_FILE: cannot read the store's password from {path}: {reason}\n")
    };
    let store = "redis://tollgate@127.0.0.1:1";
    assert_ends(&serve(store, &missing), 1, &of(&missing, "no such file or directory"));
    assert_ends(&serve(store, folder), 1, &of(folder, "is a directory"));
    let empty = support::file("store-password-empty", "\n");
    assert_ends(&serve(store, &empty), 1, &of(&empty, "the file is empty"));
}

#[test]
fn a_file_beside_a_password_in_the_url_or_a_store_in_memory_is_misuse() {
    let file = support::file("store-password-beside", FIRST);
    let said = "TOLLGATE_STORE_PASSWORD_FILE: the store's URL contains a password, and a password file is given too; leave one of them out\n";
    assert_ends(&serve("redis://tollgate:s3cret@127.0.0.1:1", &file), 2, said);
    assert_ends(
        &serve("memory", &file),
        2,
        "TOLLGATE_STORE_PASSWORD_FILE: the memory store takes no password; leave out the password file, or give a redis:// address\n",
    );
}
