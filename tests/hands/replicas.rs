//! What replicas admit after an act, through one of them or behind their backs.

use std::time::{Duration, Instant};

use lab::{http, tollgate::Tollgate};
use redis::cmd;
use tollgate::clock::monotonic;
use tonic::transport::Channel;

use super::{
    RateLimitServiceClient, TOKEN, VALUE, act, admits, client, levels, limits, replica, support, token_file,
};

type Client = RateLimitServiceClient<Channel>;

/// Empties the key's bucket, and lets this replica learn that it is empty.
async fn empty(client: &mut Client, key: &str) -> u32 {
    let mut admitted = 0;
    while admits(client, key, VALUE).await {
        admitted += 1;
    }
    assert!(!admits(client, key, VALUE).await, "it is denied from memory now");
    admitted
}

/// How long it takes until this replica admits the key, which it does at last.
async fn until_admitted(client: &mut Client, key: &str, since: Instant) -> Duration {
    loop {
        if admits(client, key, VALUE).await {
            return since.elapsed();
        }
        assert!(since.elapsed() < Duration::from_secs(10), "it never admits the key");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn metric(replica: &Tollgate, series: &str) -> Option<f64> {
    let page = http::get(replica.admin(), "/metrics", &[]).await.expect("an answer").text();
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn after_a_reset_through_one_replica_it_admits_at_once_and_the_other_within_a_second() {
    let Some(redis) = support::redis().await else { return };
    let (one, other) = (replica("reset", &redis.url()).await, replica("reset", &redis.url()).await);
    let (mut a, mut b) = (client(&one).await, client(&other).await);
    assert_eq!(empty(&mut a, "user").await + empty(&mut b, "user").await, 5);

    let (admin, token) = (format!("http://{}", one.admin()), token_file("reset"));
    let by_admin = ["--admin", &admin, "--admin-token-file", &token];
    let key = format!("user={VALUE}");
    let report = act(&[&["reset", "--yes", &key], &by_admin[..]].concat());
    let reset = monotonic();
    let [(before, after)] = levels(&report)[..] else { panic!("{report}") };
    assert!((0.0..0.1).contains(&before) && after == 5.0, "{report}");
    assert!(admits(&mut a, "user", VALUE).await, "the replica that did it knows it at once");
    let noticed = until_admitted(&mut b, "user", reset).await;
    assert!(noticed < Duration::from_millis(1_500), "the other noticed it after {noticed:?}");
    assert_eq!(empty(&mut a, "user").await + empty(&mut b, "user").await, 3, "one burst for a reset");

    let report = act(&[&["grant", "--hits", "2", "--domain", "edge", &key], &by_admin[..]].concat());
    let granted = monotonic();
    let [(before, after)] = levels(&report)[..] else { panic!("{report}") };
    assert!((after - before - 2.0).abs() < 0.000_5, "{report}");
    until_admitted(&mut b, "user", granted).await;
    assert_eq!(empty(&mut a, "user").await + empty(&mut b, "user").await, 1, "two hits for a grant of two");

    let bucket = report["buckets"][0]["bucket"].as_str().expect("a key").to_owned();
    let log = one.log_text();
    let audit: Vec<&str> = log.lines().filter(|line| line.contains("tollgate::audit")).collect();
    let [reset, grant] = audit[..] else { panic!("{audit:#?}") };
    assert!(reset.contains("act=\"reset\"") && grant.contains("act=\"grant\""), "{audit:#?}");
    for line in audit {
        assert!(line.contains("peer=127.0.0.1:") && line.contains(&bucket), "{line}");
        assert!(line.contains("limit=\"user\"") && line.contains("before=0"), "{line}");
    }
    assert!(reset.ends_with("after=5"), "{reset}");
    assert!(!log.contains(VALUE) && !log.contains(TOKEN), "{log}");
    let done = async |act| {
        metric(&one, &format!("tollgate_admin_acts_total{{act=\"{act}\",result=\"done\"}}")).await
    };
    assert_eq!(
        [done("reset").await, done("grant").await, done("peek").await],
        [Some(1.0), Some(1.0), Some(0.0)]
    );
}

#[tokio::test]
async fn replicas_notice_within_a_second_what_was_done_in_redis() {
    let Some(redis) = support::redis().await else { return };
    let replica = replica("behind", &redis.url()).await;
    let mut client = client(&replica).await;
    assert_eq!(empty(&mut client, "user").await, 5);
    let (config, url, key) = (limits("behind").display().to_string(), redis.url(), format!("user={VALUE}"));
    for (args, more) in
        [(&["reset", "--yes"][..], 5), (&["grant", "--hits", "3"], 3), (&["grant", "--hits", "99"], 5)]
    {
        act(&[args, &["--config", &config, "--store", &url, &key]].concat());
        let noticed = until_admitted(&mut client, "user", monotonic()).await;
        assert!(noticed < Duration::from_millis(1_500), "{args:?} was noticed after {noticed:?}");
        assert_eq!(1 + empty(&mut client, "user").await, more, "{args:?}");
    }
}

#[tokio::test]
async fn however_many_acts_there_are_what_is_admitted_stays_within_the_promise() {
    let Some(redis) = support::redis().await else { return };
    let (one, other) = (replica("promise", &redis.url()).await, replica("promise", &redis.url()).await);
    let (config, url) = (limits("promise").display().to_string(), redis.url());
    let key = format!("fast={VALUE}");
    let (burst, per_second, resets, grants, granted) = (20.0, 50.0, 4, 4, 7);
    let began = monotonic();
    let until = began + Duration::from_secs(3);
    let mut hammers = Vec::new();
    for replica in [&one, &other, &one, &other] {
        let mut client = client(replica).await;
        hammers.push(tokio::spawn(async move {
            let mut admitted = 0_u32;
            while monotonic() < until {
                admitted += u32::from(admits(&mut client, "fast", VALUE).await);
            }
            admitted
        }));
    }
    let acts = tokio::task::spawn_blocking(move || {
        let place = ["--config", &config, "--store", &url, &key];
        let granted = granted.to_string();
        for _ in 0..resets.max(grants) {
            std::thread::sleep(Duration::from_millis(200));
            act(&[&["reset", "--yes"], &place[..]].concat());
            std::thread::sleep(Duration::from_millis(200));
            act(&[&["grant", "--hits", &granted], &place[..]].concat());
        }
    });
    acts.await.expect("the acts are done");
    let mut admitted = 0;
    for hammer in hammers {
        admitted += hammer.await.expect("it ends");
    }
    let seconds = began.elapsed().as_secs_f64();
    let without = burst + per_second * seconds;
    let most = without + f64::from(resets) * burst + f64::from(grants * granted);
    let admitted = f64::from(admitted);
    assert!(admitted <= most, "{admitted} of at most {most}");
    // Replicas may deny from memory for a part of a second after each act, while the bucket is full.
    assert!(
        admitted > per_second * (seconds - 0.1) + burst,
        "{admitted}, as if nothing had been given back: {without}"
    );
}

#[tokio::test]
async fn each_algorithm_is_filled_and_one_limit_of_several_can_be_named() {
    let Some(redis) = support::redis().await else { return };
    let replica = replica("algorithms", &redis.url()).await;
    let mut client = client(&replica).await;
    assert_eq!(empty(&mut client, "team").await, 3, "the log is the smallest");
    let (config, url, key) =
        (limits("algorithms").display().to_string(), redis.url(), format!("team={VALUE}"));
    let run = |args: &[&str]| act(&[args, &["--config", &config, "--store", &url, &key]].concat());
    let peek = || {
        let report = run(&["peek"]);
        let levels: Vec<f64> = levels(&report).iter().map(|(_, now)| now.floor()).collect();
        levels
    };
    assert_eq!(peek(), [1.0, 2.0, 0.0]);
    let report = run(&["peek"]);
    let bucket = |index: usize, name: &str| report["buckets"][index][name].clone();
    assert_eq!([0, 1, 2].map(|index| bucket(index, "limit")), ["team:rate", "team:quota", "team:log"]);
    assert_eq!((bucket(0, "next_us"), bucket(1, "next_us")), (0.into(), 0.into()));
    let until_us =
        bucket(2, "full_at_us").as_u64().expect("a time") - report["now_us"].as_u64().expect("a time");
    assert!(
        (3_500_000_000..3_600_000_000).contains(&until_us),
        "the newest hits of the log leave in an hour"
    );
    assert!(bucket(2, "next_us").as_u64().is_some_and(|us| us <= until_us && us > 3_500_000_000), "{report}");

    run(&["reset", "--yes", "--limit", "team:log"]);
    assert_eq!(peek(), [1.0, 2.0, 3.0]);
    let quota = bucket(1, "bucket").as_str().expect("a key").to_owned();
    run(&["grant", "--hits", "1", "--limit", &quota]);
    assert_eq!(peek(), [1.0, 3.0, 3.0], "by the key of its bucket");
    run(&["reset", "--yes"]);
    assert_eq!(peek(), [4.0, 5.0, 3.0]);
    let keys: Vec<String> = cmd("KEYS").arg("tg:*").query(&mut support::connection(&redis)).expect("keys");
    assert!(!keys.contains(&quota), "a full bucket is stored nowhere: {keys:?}");
}

#[tokio::test]
async fn a_bucket_that_counts_as_used_up_is_filled_for_good() {
    let Some(redis) = support::redis().await else { return };
    let replica = replica("careful", &redis.url()).await;
    let mut client = client(&replica).await;
    assert!(!admits(&mut client, "careful", VALUE).await, "Redis has just begun");
    let (config, url, key) =
        (limits("careful").display().to_string(), redis.url(), format!("careful={VALUE}"));
    let report = act(&["reset", "--yes", "--config", &config, "--store", &url, &key]);
    let [(before, after)] = levels(&report)[..] else { panic!("{report}") };
    assert!(before < 0.1 && after == 5.0, "{report}");
    until_admitted(&mut client, "careful", monotonic()).await;
    assert_eq!(empty(&mut client, "careful").await, 4);
}

#[tokio::test]
async fn buckets_in_memory_are_reached_through_their_process() {
    let replica = replica("memory", "memory").await;
    let mut client = client(&replica).await;
    assert_eq!(empty(&mut client, "user").await, 5);
    let (admin, token) = (replica.admin().to_string(), token_file("memory"));
    let key = format!("user={VALUE}");
    let report = act(&["grant", "--hits", "4", "--admin", &admin, "--admin-token-file", &token, &key]);
    assert_eq!(levels(&report).len(), 1);
    assert_eq!(empty(&mut client, "user").await, 4);
}

#[tokio::test]
async fn a_silent_store_makes_an_act_fail_and_no_fallback_answers_it() {
    let Some(mut redis) = support::redis().await else { return };
    let replica = replica("silent", &redis.url()).await;
    let (admin, token) = (replica.admin().to_string(), token_file("silent"));
    redis.kill();
    let args = ["peek", "--admin", &admin, "--admin-token-file", &token, "user=ann"];
    let (status, told, error) = super::tollgate(&args);
    assert_eq!((status, told.as_str()), (Some(2), ""));
    assert!(error.contains(": 503: the store: "), "{error}");
    let (config, url) = (limits("silent").display().to_string(), redis.url());
    let (status, _, error) =
        super::tollgate(&["reset", "--yes", "--config", &config, "--store", &url, "user=ann"]);
    assert_eq!(status, Some(2));
    assert!(error.contains(&redis.addr().to_string()) && error.contains("cannot connect"), "{error}");
}
