//! Requests whose buckets lie in the slots of several masters.

use std::sync::Arc;

use tollgate::store::{
    Backend, StoreError,
    redis::keys::{redis_key, slot},
};
use tollgate_core::{
    decision::{Answer, Take, Verdict},
    limit::Limit,
};

use crate::{DEADLINE, a_year, ask, audit::Told, cluster, key, open, take, until};

/// A take in the slots of that master, of a descriptor that is another for each number.
pub(crate) fn in_slots_of(master: usize, number: u32, limit: &Limit) -> Take {
    let is_there = |take: &Take| usize::from(slot(&take.key)) * 3 / 16_384 == master;
    let first = number * 1_000;
    (first..).map(|descriptor| take(key(descriptor, 7), limit)).find(is_there).expect("some")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_three_masters_is_charged_to_all_or_to_none() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let store = open(&cluster.url()).await;
    let takes = [(0, 100), (1, 5), (2, 100)].map(|(master, burst)| in_slots_of(master, 0, &a_year(burst)));
    let mut told = Told::default();
    for number in 0..12 {
        let answer = ask(&store, &takes).await.expect("an answer");
        let expected = if number < 5 { Verdict::Allow } else { Verdict::Deny };
        assert_eq!(answer.verdict, expected, "{number}");
        assert_eq!(answer.found.len(), 3);
        told.note(&takes, &answer);
    }
    // What was undone is less by what came back meanwhile, some milliseconds of days.
    until("what was taken for the denied ones is back", || told.differences(&cluster) == (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_admit_no_more_than_the_scarcest_limit_has() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let takes =
        [(0, 1_000), (1, 40), (2, 1_000)].map(|(master, burst)| in_slots_of(master, 0, &a_year(burst)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = Arc::new(Backend::parse(&cluster.url()).expect("a URL").open(DEADLINE));
        until_answered(&store, &takes).await;
        for _ in 0..4 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..25 {
                    answers.push(ask(&store, &takes).await.expect("an answer"));
                }
                answers
            });
        }
    }
    let answers: Vec<Answer> = tasks.join_all().await.into_iter().flatten().collect();
    let admitted = answers.iter().filter(|answer| answer.verdict == Verdict::Allow).count();
    assert!((38..=40).contains(&admitted), "{admitted} of 300");
}

/// Peeks until the masters are reached.
async fn until_answered(store: &tollgate::store::Store, takes: &[Take]) {
    let peek = |take: &Take| Take {
        key: take.key,
        demand: tollgate_core::decision::Demand::new(tollgate_core::descriptor::Hits::Peek, &a_year(40)),
    };
    let peeks: Vec<Take> = takes.iter().map(peek).collect();
    for _ in 0..500 {
        if ask(store, &peeks).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the masters are not reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_leg_that_cannot_be_asked_takes_nothing_from_the_others() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let backend = Backend::parse(&cluster.url()).expect("a URL");
    let store = backend.open(DEADLINE);
    until("the store is ready", || backend.health().contact().to_string() == "OK").await;
    let takes = [0, 1, 2].map(|master| in_slots_of(master, 0, &a_year(100)));
    cluster.nodes[2].kill();
    until("it is noticed", || backend.health().contact().to_string().contains("away: ")).await;
    for _ in 0..5 {
        let error = ask(&store, &takes).await.expect_err("a master is away");
        assert!(matches!(error, StoreError::Disconnected), "{error}");
    }
    for (node, take) in takes.iter().take(2).enumerate() {
        let exists = cluster.tell(node, &["EXISTS", &redis_key(&take.key).to_string()]).expect("tells");
        assert_eq!(exists, "0", "{node}");
    }
}
