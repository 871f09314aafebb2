//! Masters that go, and others that take their place.

use std::time::Duration;

use tollgate::{
    clock,
    store::{
        Backend, StoreError,
        redis::keys::{slot, tag_in},
    },
};
use tollgate_core::{
    descriptor::KeyForm,
    limit::{AfterStoreLoss, LimitSpec, Unit},
};

use crate::{DEADLINE, a_year, ask, audit::Told, cluster, key, open, take, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_gone_takes_its_slots_with_it_and_nothing_else() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let backend = Backend::parse(&cluster.url()).expect("a URL");
    let store = backend.open(DEADLINE);
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    let limit = a_year(1_000_000);
    let all: Vec<_> = (0..60).map(|descriptor| [take(key(descriptor, 1), &limit)]).collect();
    let gone = |takes: &[tollgate_core::decision::Take]| slot(&takes[0].key) >= 10_923;

    let address = cluster.nodes[2].addr().to_string();
    cluster.nodes[2].kill();
    until("it is told", || {
        let told = backend.health().contact().to_string();
        told.contains("degraded") && told.contains(&format!("away: {address}"))
    })
    .await;
    assert!(backend.health().contact().is_made());
    for takes in &all {
        match ask(&store, takes).await {
            Ok(_) => assert!(!gone(takes)),
            Err(error) => {
                assert!(gone(takes), "{error}");
                assert!(matches!(error, StoreError::Disconnected), "{error}");
            }
        }
    }
    cluster.nodes[2].restart().await.expect("comes back");
    until("it is back", || backend.health().contact().to_string() == "OK").await;
    for takes in &all {
        ask(&store, takes).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_silent_trips_nothing_but_its_own_breaker() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let backend = Backend::parse(&cluster.url()).expect("a URL").without_denial_cache();
    let store = backend.open(Duration::from_millis(600));
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    let limit = a_year(1_000_000);
    let of = |is_silent: bool| {
        let all = (0..).map(|descriptor| [take(key(descriptor, 1), &limit)]);
        all.filter(move |takes| (slot(&takes[0].key) >= 10_923) == is_silent)
    };
    cluster.nodes[2].pause().expect("stops");
    let (mut errors, mut silent, mut others) = (Vec::new(), of(true), of(false));
    for _ in 0..8 {
        errors.push(ask(&store, &silent.next().expect("some")).await.expect_err("silence").kind());
        let started = clock::monotonic();
        ask(&store, &others.next().expect("some")).await.expect("an answer");
        assert!(started.elapsed() < Duration::from_millis(550), "the others wait for nothing");
    }
    assert_eq!(errors[0], "deadline");
    assert!(errors.iter().any(|kind| ["tripped", "disconnected"].contains(kind)), "{errors:?}");
    cluster.nodes[2].resume().expect("continues");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_from_a_killed_master_decides() {
    let Some(mut cluster) = cluster(3, 1).await else { return };
    let store = open(&cluster.url()).await;
    let (limit, mut told) = (a_year(1_000_000), Told::default());
    let takes = [take(key(0, 1), &limit)];
    for _ in 0..10 {
        told.note(&takes, &ask(&store, &takes).await.expect("an answer"));
    }
    let master = cluster.first_master_of(slot(&takes[0].key));
    cluster.tell(master, &["WAIT", "1", "5000"]).expect("the replica has it all");
    cluster.nodes[master].kill();
    let mut answer = ask(&store, &takes).await;
    for _ in 0..600 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        answer = ask(&store, &takes).await;
    }
    told.note(&takes, &answer.expect("the replica takes over"));
    cluster.nodes.swap_remove(master);
    assert_eq!(told.differences(&cluster), (0, 0));
}

#[tokio::test]
async fn the_buckets_of_all_masters_can_be_read_without_asking_anything_of_them() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let Backend::Redis(backend) = Backend::parse(&cluster.url()).expect("a URL") else { panic!("Redis") };
    let store = open(&cluster.url()).await;
    let limit = a_year(10);
    let takes: Vec<_> = (0..20).map(|descriptor| take(key(descriptor, 1), &limit)).collect();
    for take in &takes[..12] {
        ask(&store, &[*take]).await.expect("an answer");
    }
    let looked = backend.look(&takes).await.expect("is read");
    let mut read: Vec<_> = looked.states.iter().map(|(key, _)| *key).collect();
    let mut written: Vec<_> = takes[..12].iter().map(|take| take.key).collect();
    read.sort();
    written.sort();
    assert_eq!((read, looked.malformed), (written, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_while_a_master_is_away_serves_the_others() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    cluster.nodes[2].kill();
    let backend = Backend::parse(&cluster.url()).expect("a URL");
    let _store = backend.open(DEADLINE);
    assert!(!backend.health().contact().is_made());
    until("it is ready", || backend.health().contact().is_made()).await;
    let told = backend.health().contact().to_string();
    assert!(told.contains("degraded") && told.contains("away: "), "{told}");
}

#[tokio::test]
async fn a_slot_that_nobody_serves_is_refused_at_once_and_said() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let backend = Backend::parse(&cluster.url()).expect("a URL");
    let store = backend.open(DEADLINE);
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    let takes = [take(key(0, 1), &a_year(10))];
    let slot = slot(&takes[0].key);
    cluster.tell_all(&["CLUSTER", "DELSLOTS", &slot.to_string()]).expect("nobody serves it");
    let refused = ask(&store, &takes).await.expect_err("nobody serves it");
    assert_eq!(refused.kind(), "refused");
    until("it is told", || {
        backend.health().contact().to_string().contains("no master serves 1 of 16384 slots")
    })
    .await;
    assert!(matches!(ask(&store, &takes).await, Err(StoreError::Unserved)));
    cluster.tell(0, &["CLUSTER", "ADDSLOTS", &slot.to_string()]).expect("is served again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_loses_no_take_and_admits_none_twice() {
    let Some(cluster) = cluster(3, 1).await else { return };
    let store = open(&cluster.url()).await;
    let limit = a_year(1_000_000);
    let all: Vec<_> = (0..30).map(|descriptor| [take(key(descriptor, 1), &limit)]).collect();
    let mut told = Told::default();
    let mut errors = 0;
    for round in 0..60 {
        if round == 10 {
            cluster.tell(3, &["CLUSTER", "FAILOVER"]).expect("takes over");
        }
        for takes in &all {
            match ask(&store, takes).await {
                Ok(answer) => told.note(takes, &answer),
                Err(error) => {
                    assert!(matches!(error, StoreError::Refused(_) | StoreError::Disconnected), "{error}");
                    errors += 1;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let role = cluster.tell(3, &["INFO", "replication"]).expect("tells");
    assert!(role.contains("role:master"), "{role}");
    assert_eq!(told.differences(&cluster), (0, 0));
    // The old master pauses its clients for a moment, and then sends them on.
    assert!(errors < 30, "{errors} were refused");
}

#[tokio::test]
async fn limits_that_start_empty_start_at_one_time_in_all_slots() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let store = open(&cluster.url()).await;
    let spec = LimitSpec { after_store_loss: AfterStoreLoss::Empty, ..LimitSpec::new(10, Unit::Year) };
    let limit = spec.check().expect("sound");
    assert_eq!(store.key_form(), KeyForm::Tagged);
    let denied = ask(&store, &[take(key(0, 1), &limit)]).await.expect("an answer");
    assert_eq!(denied.verdict, tollgate_core::decision::Verdict::Deny);
    let epochs = || -> usize {
        let asked = (0..3).map(|node| cluster.tell(node, &["DBSIZE"]).expect("tells"));
        asked.map(|keys| keys.parse::<usize>().expect("a number")).sum()
    };
    until("each slot has its epoch", || epochs() >= 16_384).await;
    let value = |slot: u16| {
        let name = format!("tg:{{{}}}:epoch", tag_in(slot));
        cluster.tell(cluster.first_master_of(slot), &["GET", &name]).expect("is there")
    };
    let times: Vec<u64> =
        [0, 5_460, 5_461, 16_383, slot(&key(0, 1))].map(|slot| value(slot).parse().expect("a time")).into();
    let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    assert!(last - first < 10_000_000, "{times:?}");
}
