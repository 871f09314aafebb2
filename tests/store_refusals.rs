//! A Redis that refuses calls that Tollgate needs, or is of the wrong kind: one log line, `/ready` and the metrics
//! name the cause, and Tollgate recovers by itself.

mod support;

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use lab::{
    binaries::Part,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use redis::{Connection, cmd};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

/// Limits that send everything to Redis: buckets of each kind, and the epoch.
const LIMITS: &str = "\
domain: edge
descriptors:
- { key: bucket, rate_limit: { unit: day, requests_per_unit: 2, algorithm: token_bucket } }
- { key: window, rate_limit: { unit: year, requests_per_unit: 2, algorithm: fixed_window } }
- { key: log, rate_limit: { unit: day, requests_per_unit: 2, algorithm: sliding_window_log } }
- { key: empty, rate_limit: { unit: day, requests_per_unit: 2, algorithm: token_bucket, after_store_loss: empty } }
";
const WITHIN: Duration = Duration::from_secs(20);

/// The keys and rights that Tollgate's user needs according to docs/redis.md.
fn documented() -> Vec<&'static str> {
    let page = include_str!("../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER tollgate ")).expect("the rule");
    line.split(' ').filter(|word| word.starts_with(['~', '+'])).collect()
}

fn set_user(rights: &[&str], admin: &mut Connection) {
    let rule = ["SETUSER", "tollgate", "reset", "on", ">s3cret"];
    let () = cmd("ACL").arg(&rule).arg(rights).query(admin).expect("a user");
}

fn reconnect(admin: &mut Connection) {
    let _: u32 = cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(admin).expect("kills");
}

fn configure(name: &str, value: &str, admin: &mut Connection) {
    let () = cmd("CONFIG").arg(&["SET", name, value]).query(admin).expect("can be set");
}

fn pings_refused(admin: &mut Connection) -> u64 {
    let info: String = cmd("INFO").arg("commandstats").query(admin).expect("tells");
    let of_ping = info.lines().find(|line| line.starts_with("cmdstat_ping:")).unwrap_or_default();
    let refused = of_ping.split(',').find_map(|field| field.strip_prefix("rejected_calls="));
    refused.and_then(|count| count.parse().ok()).unwrap_or(0)
}

async fn start(store: &str) -> Tollgate {
    // Written once, since another test may read it at the same time.
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let limits = FILE.get_or_init(|| support::file("store-refusals.yaml", LIMITS));
    let serve = Serve::new(limits).store(store);
    // Every take must reach Redis.
    let serve = serve.args(&["--runtimes", "3", "--store-deadline", "5s", "--denial-cache", "off"]);
    Tollgate::start(&serve).await.expect("Tollgate starts")
}

fn as_user(redis: &Redis) -> String {
    format!("redis://tollgate:s3cret@{}", redis.addr())
}

async fn ready(tollgate: &Tollgate) -> (u16, String) {
    let answer = http::get(tollgate.admin(), "/ready", &[]).await.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

async fn until_ready_says(tollgate: &Tollgate, status: u16, words: &[&str]) {
    let started = clock::monotonic();
    loop {
        let (is, said) = ready(tollgate).await;
        if is == status && words.iter().all(|word| said.contains(word)) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "/ready never says {status} {words:?}: {is} {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn refusals(tollgate: &Tollgate, code: &str) -> u64 {
    let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    let series = format!("tollgate_store_refusals_total{{code=\"{code}\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&series)).expect("every code is there");
    count.parse().expect("a count")
}

/// How often the log contains this text.
fn times(tollgate: &Tollgate, words: &[&str]) -> usize {
    let log = tollgate.log_text();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

// === requests ===

struct Client(RateLimitServiceClient<Channel>);

impl Client {
    async fn new(tollgate: &Tollgate) -> Client {
        let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
        Client(RateLimitServiceClient::new(channel.connect().await.expect("connects")))
    }

    async fn ask(
        &mut self,
        key: &str,
        hits: u64,
        gives_back: bool,
    ) -> Result<RateLimitResponse, tonic::Status> {
        let entry = Entry { key: key.to_owned().into(), value: "alice".into() };
        let descriptor = RateLimitDescriptor {
            entries: vec![entry],
            hits_addend: Some(hits),
            is_negative_hits: gives_back,
            ..RateLimitDescriptor::default()
        };
        let request =
            RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
        self.0.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    /// Redis decides for each kind of bucket: two takes pass, the third does not, and give-backs restore everything.
    async fn uses_every_command(&mut self) {
        for key in ["bucket", "window", "log"] {
            for code in [Code::Ok, Code::Ok, Code::OverLimit] {
                let answer = self.ask(key, 1, false).await.expect("a decision");
                assert_eq!((answer.overall_code(), answer.dynamic_metadata), (code, None), "{key}");
            }
            self.ask(key, 2, true).await.expect("a decision");
        }
        let answer = self.ask("empty", 1, false).await.expect("a decision");
        assert_eq!((answer.overall_code(), answer.dynamic_metadata), (Code::OverLimit, None));
    }
}

// === rights ===

#[tokio::test]
async fn a_user_with_just_the_documented_rights_is_enough() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    set_user(&documented(), &mut admin);
    let tollgate = start(&as_user(&redis)).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    let mut client = Client::new(&tollgate).await;
    client.uses_every_command().await;
    // The whole script is sent again.
    let () = cmd("SCRIPT").arg("FLUSH").query(&mut admin).expect("flushes");
    client.uses_every_command().await;
    let started = clock::monotonic();
    while !http::get(tollgate.admin(), "/metrics", &[])
        .await
        .expect("answers")
        .text()
        .contains("tollgate_replicas 1\n")
    {
        assert!(started.elapsed() < WITHIN, "the replicas are never counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(times(&tollgate, &[" WARN "]), 0, "{}", tollgate.log_text());
    let denied: Vec<Vec<(String, String)>> = cmd("ACL").arg("LOG").query(&mut admin).unwrap_or_default();
    let denied: Vec<String> =
        denied.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    // The client library sends its name, and works without that right.
    let mut objects = denied.iter().filter_map(|entry| entry.strip_prefix("object="));
    assert!(objects.all(|object| ["client", "client|setinfo"].contains(&object)), "{denied:?}");
}

#[tokio::test]
async fn each_right_that_is_taken_away_is_named_at_once_and_heals_when_it_is_given_again() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let all = documented();
    set_user(&all, &mut admin);
    let tollgate = start(&as_user(&redis)).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    for right in all.iter().filter(|right| !["+ping", "+info"].contains(right)) {
        let fewer: Vec<&str> = all.iter().copied().filter(|other| other != right).collect();
        set_user(&fewer, &mut admin);
        reconnect(&mut admin);
        let rule = format!("add {right} to the user's ACL rule");
        until_ready_says(&tollgate, 200, &["degraded: ", "cannot be used: NOPERM", &rule]).await;
        set_user(&all, &mut admin);
        until_ready_says(&tollgate, 200, &["OK"]).await;
    }
    assert!(refusals(&tollgate, "NOPERM").await >= 13);
    // Logged at most once an hour for the process, not for each of its runtimes.
    assert_eq!(times(&tollgate, &[" WARN ", "the store refuses", "NOPERM", "ACL rule"]), 1);
    assert_eq!(times(&tollgate, &[" INFO ", "grants again"]), 1);
    Client::new(&tollgate).await.uses_every_command().await;
}

#[tokio::test]
async fn without_a_right_since_the_start_it_is_not_ready_and_says_which_one() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let all = documented();
    // A right that is used only when a bucket's expiry stays the same, after other buckets were written.
    set_user(&all.iter().copied().filter(|right| *right != "+setrange").collect::<Vec<_>>(), &mut admin);
    let tollgate = start(&as_user(&redis)).await;
    until_ready_says(&tollgate, 503, &["cannot be used: NOPERM", "may not run setrange", "add +setrange "])
        .await;
    assert_eq!(times(&tollgate, &[" WARN ", "NOPERM", "+setrange"]), 1);
    assert_eq!(times(&tollgate, &["connected to the store"]), 0);
    set_user(&all, &mut admin);
    until_ready_says(&tollgate, 200, &["OK"]).await;
}

#[tokio::test]
async fn a_right_that_tollgate_works_without_is_only_logged() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let all = documented();
    let fewer: Vec<&str> = all.into_iter().filter(|right| !["+ping", "+info"].contains(right)).collect();
    set_user(&fewer, &mut admin);
    let tollgate = start(&as_user(&redis)).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    assert_eq!(times(&tollgate, &[" WARN ", "refuses PING", "add +ping "]), 1, "{}", tollgate.log_text());
    assert_eq!(times(&tollgate, &[" WARN ", "refuses INFO", "add +info "]), 1);
    // A refusal is an answer: the connections are kept although each PING was refused, some more than once.
    let started = clock::monotonic();
    while pings_refused(&mut admin) < 8 {
        assert!(started.elapsed() < WITHIN, "nobody pings");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(times(&tollgate, &["lost the connection"]), 0);
}

#[tokio::test]
async fn a_right_that_a_standing_connection_loses_is_named_and_comes_back_without_another_connection() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let all = documented();
    set_user(&all, &mut admin);
    let tollgate = start(&as_user(&redis)).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    let () = cmd("ACL").arg(&["SETUSER", "tollgate", "-set"]).query(&mut admin).expect("takes it away");
    let mut client = Client::new(&tollgate).await;
    assert_eq!(client.ask("bucket", 1, false).await.expect_err("refused").code(), tonic::Code::Unavailable);
    until_ready_says(&tollgate, 200, &["degraded: the store refuses", "NOPERM", "add +set to"]).await;
    let () = cmd("ACL").arg(&["SETUSER", "tollgate", "+set"]).query(&mut admin).expect("gives it back");
    until_ready_says(&tollgate, 200, &["OK"]).await;
    client.ask("bucket", 1, false).await.expect("a decision");
    assert_eq!(times(&tollgate, &["lost the connection"]), 0);
}

#[tokio::test]
async fn a_refused_login_is_explained_and_a_renamed_command_is_named() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    set_user(&documented(), &mut admin);
    let wrong = start(&as_user(&redis).replace("s3cret", "canary")).await;
    until_ready_says(&wrong, 503, &["cannot be used: WRONGPASS: authentication failed"]).await;
    let elsewhere = start(&format!("{}/2", as_user(&redis))).await;
    until_ready_says(&elsewhere, 503, &["cannot be used: NOPERM", "add +select "]).await;
    configure("requirepass", "another", &mut admin);
    let none = start(&redis.url()).await;
    until_ready_says(&none, 503, &["cannot be used: NOAUTH", "--store-password-file"]).await;
    for tollgate in [&wrong, &none] {
        assert!(!tollgate.log_text().contains("canary"));
    }
    let renamed = Redis::start_with(&["--rename-command", "EVALSHA", ""]).await.expect("Redis starts");
    let tollgate = start(&renamed.url()).await;
    until_ready_says(&tollgate, 503, &["cannot be used: unknown_command", "evalsha"]).await;
    let renamed = Redis::start_with(&["--rename-command", "ZADD", ""]).await.expect("Redis starts");
    let tollgate = start(&renamed.url()).await;
    until_ready_says(&tollgate, 503, &["cannot be used: unknown_command", "zadd"]).await;
}

// === kinds ===

#[tokio::test]
async fn a_server_of_the_wrong_kind_is_named() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let nodes = format!("nodes-{}.conf", std::process::id());
    let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", &nodes];
    let cluster = Redis::start_with(&cluster).await.expect("a node starts");
    let master = Redis::start().await.expect("Redis starts");
    let sentinel = Redis::start_sentinel(master.addr(), 1).await.expect("a Sentinel starts");
    let replica = Redis::start().await.expect("Redis starts");
    let mut of_replica = support::connection(&replica);
    let () =
        cmd("REPLICAOF").arg("127.0.0.1").arg(master.addr().port()).query(&mut of_replica).expect("follows");
    // Also a replica that accepts writes, which its master would never see.
    configure("replica-read-only", "no", &mut of_replica);
    for (redis, code, words) in [
        (&cluster, "cluster", "this is a node of a Redis Cluster"),
        (&sentinel, "sentinel", "this is a Sentinel"),
        (&replica, "replica", "this is a replica"),
    ] {
        // Which answers HELLO in another form.
        let newer = start(&format!("{}/0?protocol=resp3", redis.url())).await;
        until_ready_says(&newer, 503, &[&redis.url(), "cannot be used: ", code, words]).await;
        let tollgate = start(&redis.url()).await;
        until_ready_says(&tollgate, 503, &[&redis.url(), "cannot be used: ", code, words]).await;
        assert_eq!(times(&tollgate, &[" WARN ", "the store refuses", words]), 1, "{}", tollgate.log_text());
        assert!(refusals(&tollgate, code).await > 0);
        assert_eq!(times(&tollgate, &["connected to the store"]), 0);
    }
}

#[tokio::test]
async fn where_hello_is_forbidden_the_probe_names_the_kind() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let forbidden = ["--rename-command", "HELLO", ""];
    let plain = Redis::start_with(&forbidden).await.expect("Redis starts");
    let tollgate = start(&plain.url()).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    let nodes = format!("nodes-{}-silent.conf", std::process::id());
    let cluster = [&forbidden[..], &["--cluster-enabled", "yes", "--cluster-config-file", &nodes]].concat();
    let cluster = Redis::start_with(&cluster).await.expect("a node starts");
    let mut admin = support::connection(&cluster);
    for all_slots in [false, true] {
        if all_slots {
            let slots: Vec<u16> = (0..16_384).collect();
            let () = cmd("CLUSTER").arg("ADDSLOTS").arg(slots).query(&mut admin).expect("has all slots");
        }
        let tollgate = start(&cluster.url()).await;
        until_ready_says(&tollgate, 503, &["cannot be used: C", "this is a node of a Redis Cluster"]).await;
    }
    let mut admin = support::connection(&plain);
    let () = cmd("REPLICAOF").arg("127.0.0.1").arg(1).query(&mut admin).expect("is demoted");
    let tollgate = start(&plain.url()).await;
    until_ready_says(&tollgate, 503, &["cannot be used: READONLY", "this is a replica"]).await;
}

// === refusals that may pass ===

#[tokio::test]
async fn a_full_redis_prevents_no_connection_and_is_reported_until_there_is_room() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let tollgate = start(&redis.url()).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    let mut client = Client::new(&tollgate).await;
    configure("maxmemory", "1", &mut admin);
    assert_eq!(client.ask("bucket", 1, false).await.expect_err("refused").code(), tonic::Code::Unavailable);
    until_ready_says(&tollgate, 200, &["degraded: the store refuses", "OOM: ", "maxmemory", "noeviction"])
        .await;
    reconnect(&mut admin);
    let started = clock::monotonic();
    // It is logged once that all runtimes are connected again.
    while times(&tollgate, &["connected to the store again"]) < 1 {
        assert!(started.elapsed() < WITHIN, "a full Redis is not connected to: {}", tollgate.log_text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until_ready_says(&tollgate, 200, &["degraded: the store refuses", "OOM: "]).await;
    // A process that starts now was never ready.
    let late = start(&redis.url()).await;
    until_ready_says(&late, 503, &["OOM: "]).await;
    configure("maxmemory", "0", &mut admin);
    for tollgate in [&tollgate, &late] {
        until_ready_says(tollgate, 200, &["OK"]).await;
        assert_eq!(times(tollgate, &[" WARN ", "the store refuses", "OOM"]), 1);
    }
    client.ask("bucket", 1, false).await.expect("a decision");
}

#[tokio::test]
async fn missing_replicas_are_reported_and_no_connection_is_replaced_for_them() {
    let Some(redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let tollgate = start(&redis.url()).await;
    until_ready_says(&tollgate, 200, &["OK"]).await;
    configure("min-replicas-to-write", "1", &mut admin);
    let mut client = Client::new(&tollgate).await;
    if client.ask("bucket", 1, false).await.is_ok() {
        println!("this Redis, which is older than 7, does not hold scripts to min-replicas-to-write");
        return;
    }
    until_ready_says(
        &tollgate,
        200,
        &["degraded: the store refuses", "NOREPLICAS: ", "min-replicas-to-write"],
    )
    .await;
    configure("min-replicas-to-write", "0", &mut admin);
    until_ready_says(&tollgate, 200, &["OK"]).await;
    assert_eq!(times(&tollgate, &["lost the connection"]), 0);
}
