//! The store with a Redis that goes away, stalls, forgets the script, or comes back.

mod support;

use std::time::Duration;

use redis::{Connection, cmd};
use tokio::time::Instant;
use tollgate::store::{Backend, Store, StoreError, refusal::Refusal};
use tollgate_core::{
    decision::{Demand, Take, Takes},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

const GENEROUS: Duration = Duration::from_secs(5);
const TIGHT: Duration = Duration::from_millis(10);

fn one() -> Takes {
    let limit = Limit::new(1, Unit::Day, Some(1_000)).expect("sound");
    Takes::from_elem(
        Take { key: BucketKey::from_bytes([7; 16]), demand: Demand::new(Hits::Take(1), &limit) },
        1,
    )
}

/// Repeats a take until it succeeds, for at most five seconds, and returns the time that took.
async fn healed(store: &Store) -> Duration {
    let started = Instant::now();
    while started.elapsed() < GENEROUS {
        if store.take(one()).await.is_ok() {
            return started.elapsed();
        }
        tokio::time::sleep(TIGHT).await;
    }
    panic!("still no answer after {GENEROUS:?}")
}

#[tokio::test]
async fn the_store_heals_after_redis_was_killed_and_came_back() {
    let Some(mut redis) = support::redis().await else { return };
    let store = support::open(&redis, GENEROUS).await;
    assert!(store.take(one()).await.is_ok());
    redis.kill();
    let error = store.take(one()).await.expect_err("Redis is gone");
    assert!(matches!(error, StoreError::Disconnected), "{error:?}");
    let started = Instant::now();
    let error = store.take(one()).await.expect_err("Redis is gone");
    assert!(matches!(error, StoreError::Disconnected), "{error:?}");
    assert!(started.elapsed() < GENEROUS / 5, "without a connection a take fails at once");
    redis.restart().await.expect("Redis starts again");
    healed(&store).await;
}

#[tokio::test]
async fn the_store_starts_without_redis_and_finds_it_later() {
    let Some(mut redis) = support::redis().await else { return };
    redis.kill();
    let store = Backend::parse(&redis.url()).expect("a URL").open(GENEROUS);
    assert!(matches!(store.take(one()).await, Err(StoreError::Disconnected)));
    redis.restart().await.expect("Redis starts");
    healed(&store).await;
}

#[tokio::test]
async fn a_stalled_redis_costs_the_deadline_and_no_more() {
    let Some(mut redis) = support::redis().await else { return };
    let store = support::open(&redis, TIGHT).await;
    redis.pause().expect("stops");
    let started = Instant::now();
    let error = store.take(one()).await.expect_err("Redis is stopped");
    let waited = started.elapsed();
    assert!(matches!(error, StoreError::Deadline), "{error:?}");
    assert!((TIGHT..GENEROUS / 5).contains(&waited), "{waited:?}");
    redis.resume().expect("goes on");
    healed(&store).await;
}

#[tokio::test]
async fn a_connection_that_stays_silent_is_replaced() {
    let Some(mut redis) = support::redis().await else { return };
    let store = support::open(&redis, TIGHT).await;
    redis.pause().expect("stops");
    let started = Instant::now();
    while !matches!(store.take(one()).await, Err(StoreError::Disconnected)) {
        assert!(started.elapsed() < GENEROUS, "the silent connection is still in use");
    }
    assert!(started.elapsed() > Duration::from_millis(340), "given up too early");
    redis.resume().expect("goes on");
    healed(&store).await;
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again_and_charged_once() {
    let Some(redis) = support::redis().await else { return };
    let store = support::open(&redis, GENEROUS).await;
    let mut connection = support::connection(&redis);
    store.take(one()).await.expect("an answer");
    let () = cmd("SCRIPT").arg("FLUSH").query(&mut connection).expect("flushes");
    let before = store.take(one()).await.expect("an answer").found[0].full_at();
    let after = store.take(one()).await.expect("an answer").found[0].full_at();
    let tokens = *one()[0].demand.tokens().expect("a token bucket");
    assert_eq!(after, before.plus(tokens.cost, tokens.per_us));
}

#[tokio::test]
async fn a_runtime_that_was_busy_elsewhere_does_not_take_redis_for_dead() {
    let Some(redis) = support::redis().await else { return };
    let store = support::open(&redis, TIGHT).await;
    let mut connection = support::connection(&redis);
    for _ in 0..5 {
        let before = calls(&mut connection);
        let (answer, ()) = tokio::join!(store.take(one()), async {
            // Lets the take go out.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            // Redis has answered; this thread, which is the runtime's, comes to it only past the deadline.
            while calls(&mut connection) == before {}
            std::thread::sleep(TIGHT * 2);
        });
        answer.expect("the reply was there to be read");
    }
}

#[tokio::test]
async fn a_redis_that_refuses_writes_is_given_up_and_not_flooded_with_connections() {
    let Some(redis) = support::redis().await else { return };
    let store = support::open(&redis, GENEROUS).await;
    let mut connection = support::connection(&redis);
    let () = cmd("REPLICAOF").arg("127.0.0.1").arg(1).query(&mut connection).expect("is demoted");
    let before = connections(&mut connection);
    let started = Instant::now();
    let mut refused = 0;
    while started.elapsed() < Duration::from_secs(2) {
        match store.take(one()).await {
            Err(StoreError::Refused(refusal)) => {
                assert_eq!(refusal, Refusal::ReadOnly);
                refused += 1;
            }
            Err(StoreError::Disconnected) => tokio::time::sleep(Duration::from_millis(1)).await,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    let opened = connections(&mut connection) - before;
    assert!((1..=30).contains(&opened), "{opened} connections in two seconds");
    let () = cmd("REPLICAOF").arg("NO").arg("ONE").query(&mut connection).expect("is promoted");
    healed(&store).await;
}

#[tokio::test]
async fn a_loss_is_noticed_before_a_request_has_to_find_out() {
    let Some(redis) = support::redis().await else { return };
    let store = support::open(&redis, GENEROUS).await;
    let mut connection = support::connection(&redis);
    let before = connections(&mut connection);
    let () = cmd("CLIENT").arg("KILL").arg("SKIPME").arg("yes").query(&mut connection).expect("kills");
    let started = Instant::now();
    while connections(&mut connection) == before {
        assert!(started.elapsed() < GENEROUS, "nobody has noticed");
        tokio::time::sleep(TIGHT).await;
    }
    healed(&store).await;
}

/// The number of calls of the script that Redis has finished.
fn calls(connection: &mut Connection) -> u64 {
    figure(connection, "commandstats", "cmdstat_evalsha:calls=")
}

/// The number of connections that Redis has accepted since it started.
fn connections(connection: &mut Connection) -> u64 {
    figure(connection, "stats", "total_connections_received:")
}

fn figure(connection: &mut Connection, section: &str, name: &str) -> u64 {
    let info: String = cmd("INFO").arg(section).query(connection).expect("tells");
    let rest = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    rest.split(',').next().unwrap_or("0").trim().parse().expect("a number")
}
