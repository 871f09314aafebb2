//! Slots that move under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lab::redis::Cluster;
use tollgate::store::{Store, StoreError, redis::keys::slot, refusal::Refusal};
use tollgate_core::{decision::Take, limit::Limit};

use crate::{a_year, ask, audit::Told, cluster, key, open, take};

/// Asks for these requests, each again as soon as it is answered, until told to stop. Returns what was admitted, and the
/// errors.
async fn load(store: Store, requests: Vec<Vec<Take>>, stop: Arc<AtomicBool>) -> (Told, Vec<StoreError>) {
    let (mut told, mut errors) = (Told::default(), Vec::new());
    let store = Arc::new(store);
    while !stop.load(Ordering::Relaxed) {
        let mut under_way = tokio::task::JoinSet::new();
        for takes in requests.clone() {
            let store = Arc::clone(&store);
            under_way.spawn(async move { (ask(&store, &takes).await, takes) });
        }
        for (answer, takes) in under_way.join_all().await {
            match answer {
                Ok(answer) => told.note(&takes, &answer),
                Err(error) => errors.push(error),
            }
        }
    }
    (told, errors)
}

fn requests(count: u32, limit: &Limit) -> Vec<Vec<Take>> {
    (0..count).map(|descriptor| vec![take(key(descriptor, 1), limit)]).collect()
}

/// Does this while requests are asked for.
async fn under_load(
    cluster: &Cluster,
    requests: Vec<Vec<Take>>,
    disturb: impl AsyncFnOnce(),
) -> (Told, Vec<StoreError>) {
    let store = open(&cluster.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(store, requests, Arc::clone(&stop)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    disturb().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    loading.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_slots_move_each_bucket_holds_exactly_what_was_answered() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let requests = requests(60, &a_year(1_000_000));
    let moved: Vec<u16> = requests.iter().map(|takes| slot(&takes[0].key)).collect();
    let (told, errors) = under_load(&cluster, requests, async || {
        // All to one master: if several took turns, the one that was the last to get a slot would outvote the others
        // about slots whose move they have not heard of.
        for slot in moved.into_iter().filter(|slot| cluster.first_master_of(*slot) > 0) {
            cluster.move_slot(slot, cluster.first_master_of(slot), 0).expect("moves");
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(errors.is_empty(), "{:?} and {} more", errors[0], errors.len());
    assert!(told.admitted() > 1_000, "{} takes", told.admitted());
    assert_eq!(told.differences(&cluster), (0, 0), "takes that buckets hold or lack, of {}", told.admitted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_go_to_a_new_master_are_asked_for_there() {
    let Some(mut cluster) = cluster(3, 0).await else { return };
    let new = cluster.add().await.expect("a fourth node");
    let requests = requests(12, &a_year(1_000_000));
    let moved: Vec<u16> = requests.iter().map(|takes| slot(&takes[0].key)).collect();
    let (told, errors) = under_load(&cluster, requests, async || {
        for slot in moved {
            cluster.move_slot(slot, cluster.first_master_of(slot), new).expect("moves");
        }
    })
    .await;
    assert!(errors.is_empty(), "{:?} and {} more", errors[0], errors.len());
    assert_eq!(told.differences(&cluster), (0, 0));
}

#[tokio::test]
async fn a_missing_bucket_of_a_slot_that_moves_is_decided_where_it_goes() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let store = open(&cluster.url()).await;
    let (limit, mut told) = (a_year(10), Told::default());
    // Two descriptors of one slot, of which one has a bucket.
    let (one, slot_of_one) = (key(0, 1), slot(&key(0, 1)));
    let other = (1..).map(|descriptor| key(descriptor, 1)).find(|other| slot(other) == slot_of_one);
    let (one, other) = ([take(one, &limit)], [take(other.expect("some"), &limit)]);
    told.note(&one, &ask(&store, &one).await.expect("an answer"));

    let from = cluster.first_master_of(slot_of_one);
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot_of_one, from, to).expect("begins");
    for takes in [&one, &other, &other] {
        told.note(takes, &ask(&store, takes).await.expect("an answer"));
    }
    while cluster.move_keys(slot_of_one, from, to, 1).expect("moves") > 0 {
        told.note(&one, &ask(&store, &one).await.expect("an answer"));
    }
    cluster.end_move(slot_of_one, from, to).expect("ends");
    told.note(&one, &ask(&store, &one).await.expect("an answer"));
    told.note(&other, &ask(&store, &other).await.expect("an answer"));
    assert_eq!(told.differences(&cluster), (0, 0));
}

#[tokio::test]
async fn a_request_with_one_bucket_here_and_one_there_is_refused_until_the_slot_has_moved() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let store = open(&cluster.url()).await;
    let (limit, mut told) = (a_year(10), Told::default());
    let (one, two) = ([take(key(0, 1), &limit)], [take(key(0, 1), &limit), take(key(0, 2), &limit)]);
    told.note(&one, &ask(&store, &one).await.expect("an answer"));
    let slot = slot(&one[0].key);
    let from = cluster.first_master_of(slot);
    let to = (from + 1) % 3;

    cluster.begin_to_move(slot, from, to).expect("begins");
    let refused = ask(&store, &two).await.expect_err("one of two buckets is missing");
    assert!(matches!(refused, StoreError::Refused(Refusal::TryAgain)), "{refused}");
    // The other requests for that slot are not held up.
    told.note(&one, &ask(&store, &one).await.expect("an answer"));
    while cluster.move_keys(slot, from, to, 10).expect("moves") > 0 {}
    cluster.end_move(slot, from, to).expect("ends");
    told.note(&two, &ask(&store, &two).await.expect("an answer"));
    assert_eq!(told.differences(&cluster), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_forget_the_script_are_sent_it_again() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let requests = requests(60, &a_year(1_000_000));
    let (told, errors) = under_load(&cluster, requests, async || {
        for node in [0, 1, 0, 1] {
            cluster.tell(node, &["SCRIPT", "FLUSH"]).expect("forgets");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(errors.is_empty(), "{:?} and {} more", errors[0], errors.len());
    assert_eq!(told.differences(&cluster), (0, 0));
}
