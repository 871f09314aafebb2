//! Redis behind Sentinels: failovers, and what is said if the Sentinels do not know the master.

use std::time::Duration;

use lab::{binaries::Part, redis::Redis, tollgate::Tollgate};
use redis::{Connection, cmd};
use tollgate::{clock, pb::rate_limit_response::Code};

use crate::{WITHIN, ask, start, support, until_ready_says};

/// A master, its replica, and three Sentinels of which two must agree.
struct Watched {
    master: Redis,
    replica: Redis,
    sentinels: Vec<Redis>,
}

impl Watched {
    async fn start() -> Watched {
        let master = Redis::start().await.expect("Redis starts");
        let replica = replica_of(&master).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Redis::start_sentinel(master.addr(), 2).await.expect("a Sentinel starts"));
        }
        for sentinel in &sentinels {
            until("the Sentinels know each other and the replica", || {
                let known: Vec<String> = cmd("SENTINEL")
                    .arg("MASTER")
                    .arg("watched")
                    .query(&mut connection(sentinel))
                    .expect("fields");
                let field = |name: &str| known.iter().skip_while(|field| *field != name).nth(1).cloned();
                (field("num-other-sentinels"), field("num-slaves")) == (Some("2".into()), Some("1".into()))
            })
            .await;
        }
        Watched { master, replica, sentinels }
    }

    fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("redis+sentinel://{}/watched", places.join(","))
    }
}

/// A replica that has caught up.
pub(crate) async fn replica_of(master: &Redis) -> Redis {
    let (host, port) = (master.addr().ip().to_string(), master.addr().port().to_string());
    let follows = ["--replicaof", &host, &port, "--repl-diskless-sync-delay", "0"];
    let replica = Redis::start_with(&follows).await.expect("Redis starts");
    until("the replica follows", || info(&replica).contains("master_link_status:up")).await;
    replica
}

fn connection(redis: &Redis) -> Connection {
    support::connection(redis)
}

fn info(redis: &Redis) -> String {
    cmd("INFO").arg("replication").query(&mut connection(redis)).expect("tells")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = clock::monotonic();
    while !holds() {
        assert!(started.elapsed() < WITHIN, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The calls of the script that a Redis has run.
fn decisions(redis: &Redis) -> u64 {
    let info: String = cmd("INFO").arg("commandstats").query(&mut connection(redis)).expect("tells");
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}

async fn until_it_decides(tollgate: &Tollgate, redis: &Redis) {
    let started = clock::monotonic();
    let before = decisions(redis);
    while decisions(redis) == before {
        assert!(started.elapsed() < WITHIN, "the new master never decides: {}", tollgate.log_text());
        let _ = crate::try_to_ask(tollgate).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn after_a_failover_the_new_master_decides_and_knows_the_buckets() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let mut watched = Watched::start().await;
    let tollgate = start(&watched.url(), &[]).await;
    until_ready_says(&tollgate, 200, "OK").await;
    assert_eq!(ask(&tollgate).await, Code::Ok);
    assert_eq!(ask(&tollgate).await, Code::Ok);
    watched.master.kill();
    until_ready_says(&tollgate, 200, "degraded").await;
    until_ready_says(&tollgate, 200, "OK").await;
    assert_eq!(ask(&tollgate).await, Code::Ok, "{}", tollgate.log_text());
    assert_eq!(ask(&tollgate).await, Code::OverLimit, "it knows the two before the failover");
    assert!(tollgate.log_text().contains("the Sentinels name a new master"));
}

#[tokio::test]
async fn a_master_that_was_stopped_replaced_and_continued_decides_nothing_more() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let mut watched = Watched::start().await;
    let tollgate = start(&watched.url(), &["--denial-cache", "off"]).await;
    until_ready_says(&tollgate, 200, "OK").await;
    ask(&tollgate).await;
    watched.master.pause().expect("stops");
    until_it_decides(&tollgate, &watched.replica).await;
    until_ready_says(&tollgate, 200, "OK").await;
    watched.master.resume().expect("continues");
    let before = decisions(&watched.master);
    let started = clock::monotonic();
    while started.elapsed() < Duration::from_secs(2) {
        ask(&tollgate).await;
    }
    let after = decisions(&watched.master);
    assert_eq!(after, before, "the old master decided: {}", tollgate.log_text());
}

#[tokio::test]
async fn what_the_sentinels_do_not_know_or_do_not_say_is_named() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let master = Redis::start().await.expect("Redis starts");
    let mut sentinel = Redis::start_sentinel(master.addr(), 1).await.expect("a Sentinel starts");
    let url = format!("redis+sentinel://{}", sentinel.addr());
    let absent = start(&format!("{url}/nobody"), &[]).await;
    until_ready_says(&absent, 503, "it knows no master with the name nobody").await;
    let away = start("redis+sentinel://127.0.0.1:1/watched", &[]).await;
    until_ready_says(&away, 503, "Sentinel 127.0.0.1:1: connection refused").await;
    let no_sentinel = start(&format!("redis+sentinel://{}/watched", master.addr()), &[]).await;
    until_ready_says(&no_sentinel, 503, "this is no Sentinel").await;

    let page = include_str!("../../docs/redis.md");
    let rights = page.lines().rfind(|line| line.starts_with("ACL SETUSER tollgate ")).expect("the rule");
    let mut admin = connection(&sentinel);
    let () = cmd("ACL").arg(rights.split(' ').skip(1).collect::<Vec<_>>()).query(&mut admin).expect("a user");
    let allowed =
        start(&format!("{url}/watched?sentinel_user=tollgate&sentinel_password=password"), &[]).await;
    until_ready_says(&allowed, 200, "OK").await;
    let log: Vec<redis::Value> = cmd("ACL").arg("LOG").query(&mut admin).expect("a log");
    assert!(log.is_empty(), "{log:?}");
    sentinel.kill();
    until("it is told that no Sentinel answers", || {
        allowed.log_text().contains("no Sentinel names the master: open connections stay")
    })
    .await;
    assert_eq!(ask(&allowed).await, Code::Ok, "the connection to Redis stays");
    let sentinel = Redis::start_sentinel_with(master.addr(), 1, "requirepass s3cret").await.expect("starts");
    let url = format!("redis+sentinel://{}", sentinel.addr());
    let locked = start(&format!("{url}/watched"), &[]).await;
    until_ready_says(&locked, 503, "password").await;
    let file = support::file("store-ways-sentinel-password", "s3cret\n");
    let file = ["--store-sentinel-password-file", file.to_str().expect("text")];
    for (url, args) in
        [(format!("{url}/watched?sentinel_password=s3cret"), &[][..]), (format!("{url}/watched"), &file)]
    {
        let tollgate = start(&url, args).await;
        until_ready_says(&tollgate, 200, "OK").await;
        assert!(!tollgate.log_text().contains("s3cret"));
    }
}
