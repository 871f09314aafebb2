//! Decisions that Redis' replicas must acknowledge.

use lab::{binaries::Part, http, redis::Redis, tollgate::Tollgate};
use redis::cmd;
use tollgate::pb::rate_limit_response::Code;

use crate::{WITHIN, ask, sentinels::replica_of, start, support, try_to_ask, until_ready_says};

async fn errors(tollgate: &Tollgate) -> u64 {
    let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("tollgate_store_errors_total{kind=\"unacknowledged\"} "));
    line.map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test]
async fn what_no_replica_acknowledges_is_a_store_failure_and_heals_with_the_replica() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let master = Redis::start().await.expect("Redis starts");
    let mut replica = replica_of(&master).await;
    let tollgate = start(&master.url(), &["--store-acks", "1", "--denial-cache", "off"]).await;
    until_ready_says(&tollgate, 200, "OK").await;
    assert_eq!(ask(&tollgate).await, Code::Ok);

    replica.pause().expect("stops");
    let alone = try_to_ask(&tollgate).await.expect_err("a master alone admits nothing");
    assert_eq!(alone.code(), tonic::Code::Unavailable);
    assert_eq!(errors(&tollgate).await, 1);
    until_ready_says(&tollgate, 200, "fewer than 1 of its replicas acknowledged").await;

    replica.resume().expect("continues");
    let started = tollgate::clock::monotonic();
    while try_to_ask(&tollgate).await.is_err() {
        assert!(started.elapsed() < WITHIN, "{}", tollgate.log_text());
    }
    until_ready_says(&tollgate, 200, "OK").await;
    // The three are the one before, the one that only the master knew at first, and the one that ended the outage.
    assert_eq!(ask(&tollgate).await, Code::OverLimit);
}

#[tokio::test]
async fn more_replicas_than_there_are_never_acknowledge_and_the_right_to_wait_is_needed() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let master = Redis::start().await.expect("Redis starts");
    let _replica = replica_of(&master).await;
    let two = start(&master.url(), &["--store-acks", "2"]).await;
    until_ready_says(&two, 200, "OK").await;
    assert!(try_to_ask(&two).await.is_err());
    until_ready_says(&two, 200, "(--store-acks 2)").await;

    let mut admin = support::connection(&master);
    let user = ["SETUSER", "tollgate", "on", ">s3cret", "~tg:*", "+@all", "-wait"];
    let () = cmd("ACL").arg(&user).query(&mut admin).expect("a user");
    let store = master.url().replace("redis://", "redis://tollgate:s3cret@");
    let without = start(&store, &["--store-acks", "1"]).await;
    until_ready_says(&without, 503, "add +wait to").await;
}
