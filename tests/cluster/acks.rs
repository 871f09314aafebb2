//! Decisions that the replicas of each master must acknowledge.

use std::time::Duration;

use tollgate::store::{Backend, StoreError, redis::keys::slot};

use crate::{a_year, ask, audit::Told, cluster, key, take, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_replica_of_one_master_does_not_acknowledge_fails_for_its_slots_alone() {
    let Some(mut cluster) = cluster(3, 1).await else { return };
    let backend = Backend::parse(&cluster.url()).expect("a URL").without_denial_cache();
    let backend = backend.acknowledged_by(1).expect("a Redis");
    let store = backend.open(Duration::from_secs(1));
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    let (limit, mut told) = (a_year(1_000), Told::default());
    let all: Vec<_> = (0..12).map(|descriptor| [take(key(descriptor, 1), &limit)]).collect();
    let is_alone = |takes: &[tollgate_core::decision::Take]| slot(&takes[0].key) < 5_461;
    let silent = || all.iter().position(|takes| is_alone(takes)).expect("some");
    for takes in &all {
        told.note(takes, &ask(&store, takes).await.expect("an answer"));
    }
    assert_eq!(told.differences(&cluster), (0, 0));

    cluster.nodes[3].pause().expect("stops");
    let alone = ask(&store, &all[silent()]).await.expect_err("a master alone admits nothing");
    assert!(matches!(alone, StoreError::Unacknowledged), "{alone}");
    for takes in all.iter().filter(|takes| !is_alone(&takes[..])) {
        ask(&store, takes).await.expect("an answer");
    }
    cluster.nodes[3].resume().expect("continues");
    let mut is_back = false;
    for _ in 0..100 {
        is_back = is_back || ask(&store, &all[silent()]).await.is_ok();
        tokio::time::sleep(Duration::from_millis(if is_back { 0 } else { 50 })).await;
    }
    assert!(is_back);
}
