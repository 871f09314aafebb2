//! Budgets that are charged after the response.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tollgate::pb::rate_limit_response::Code;

use super::{Kept, Replicas, descriptor, replicas, with_limit};

/// As Envoy Gateway makes it for a cost of the response.
const COST: &str = "- { key: user, rate_limit: { unit: hour, requests_per_unit: 21, overdraft: auto } }\n";
/// As Envoy AI Gateway makes it for a quota.
const QUOTA: &str =
    "- { key: model, quota_mode: true, rate_limit: { unit: hour, requests_per_unit: 100, overdraft: auto } }
- { key: plan, quota_mode: true, rate_limit: { unit: hour, requests_per_unit: 1000, overdraft: auto } }\n";

/// Requests of one user, each charged 10 after its response. The number that is admitted, of ten.
async fn admitted(
    replicas: &mut Replicas,
    user: &str,
    mut replica: impl FnMut() -> usize,
    limit: Option<u32>,
) -> usize {
    let mut admitted = 0;
    for _ in 0..10 {
        let asked = |hits| {
            let asked = descriptor("user", user, Some(hits));
            limit.map_or(asked.clone(), |limit| with_limit(asked, limit))
        };
        if replicas.send(replica(), vec![asked(0)]).await.overall_code() == Code::Ok {
            admitted += 1;
            replicas.send(replica(), vec![asked(10)]).await;
        }
    }
    admitted
}

#[tokio::test]
async fn of_a_budget_of_21_three_responses_of_10_are_served_and_no_fourth() {
    for kept in [Kept::InMemory, Kept::InRedis] {
        let Some(mut replicas) = replicas("cost", kept, 1, COST).await else { return };
        for user in ["a", "b", "c"] {
            assert_eq!(admitted(&mut replicas, user, || 0, None).await, 3, "{kept:?} {user}");
        }
        // The third is charged in full: 9 are owed, which come back in 26 minutes, and one more hit in 3.
        let over = replicas.send(0, vec![descriptor("user", "a", Some(0))]).await;
        let wait = over.statuses[0].duration_until_reset.expect("it is told").seconds;
        assert!((1_680..=1_715).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn six_replicas_at_random_serve_no_fourth_once_each_has_seen_a_peek() {
    let Some(mut replicas) = replicas("six", Kept::InRedis, 6, COST).await else { return };
    for replica in 0..6 {
        replicas.ask(replica, "user", "somebody", Some(0)).await;
    }
    let mut random = SmallRng::seed_from_u64(21);
    for user in 0..40 {
        let replica = || random.random_range(0..6);
        assert_eq!(admitted(&mut replicas, &user.to_string(), replica, None).await, 3, "user {user}");
    }
}

/// The honest limit of a guess: what a replica has not seen, it does not know.
#[tokio::test]
async fn a_replica_that_has_seen_no_peek_charges_nothing_that_does_not_fit() {
    let Some(mut replicas) = replicas("cold", Kept::InRedis, 2, COST).await else { return };
    let [peeks, charges] = [0, 1];
    for _ in 0..2 {
        assert!(replicas.ask(peeks, "user", "a", Some(0)).await);
        assert!(replicas.ask(charges, "user", "a", Some(10)).await);
    }
    for _ in 0..3 {
        assert!(replicas.ask(peeks, "user", "a", Some(0)).await, "one hit is left");
        assert!(!replicas.ask(charges, "user", "a", Some(10)).await);
    }
    // Five charges have been seen there, so three peeks make them half as many.
    for user in ["b", "c", "d"] {
        replicas.ask(charges, "user", user, Some(0)).await;
    }
    assert!(!replicas.ask(charges, "user", "a", Some(10)).await);
    assert!(!replicas.ask(peeks, "user", "a", Some(0)).await, "it was charged");
}

/// How many responses cold replicas serve too many: few, since a replica is cold only until its first peek.
#[tokio::test]
async fn six_cold_replicas_close_every_budget() {
    let Some(mut replicas) = replicas("six-cold", Kept::InRedis, 6, COST).await else { return };
    let mut random = SmallRng::seed_from_u64(4);
    let mut served = Vec::new();
    for user in 0..12 {
        let replica = || random.random_range(0..6);
        served.push(admitted(&mut replicas, &user.to_string(), replica, None).await);
    }
    assert!(served.iter().all(|served| *served < 10), "{served:?}");
    assert!(served[3..].iter().all(|served| *served == 3), "{served:?}");
}

#[tokio::test]
async fn a_quota_that_is_asked_without_hits_closes_with_the_charge_that_does_not_fit() {
    for (kept, number) in [(Kept::InMemory, 1), (Kept::InRedis, 1), (Kept::InRedis, 6)] {
        let Some(mut replicas) = replicas("quota", kept, number, QUOTA).await else { return };
        for replica in 0..number {
            replicas.ask(replica, "model", "other", None).await;
        }
        let mut random = SmallRng::seed_from_u64(40);
        let mut replica = || random.random_range(0..number);
        // 1 and 40, twice; then 1, and 40 of which 17 fit.
        for _ in 0..3 {
            assert!(replicas.ask(replica(), "model", "m", None).await);
            replicas.ask(replica(), "model", "m", Some(40)).await;
        }
        for _ in 0..3 {
            assert!(!replicas.ask(replica(), "model", "m", None).await, "{kept:?}, {number} replicas");
        }
    }
}

#[tokio::test]
async fn a_request_is_over_only_if_all_its_quotas_are_and_each_is_charged_all_the_same() {
    for kept in [Kept::InMemory, Kept::InRedis] {
        let Some(mut replicas) = replicas("quotas", kept, 1, QUOTA).await else { return };
        let both = |hits| vec![descriptor("model", "m", hits), descriptor("plan", "p", hits)];
        let mut served = 0;
        while replicas.send(0, both(None)).await.overall_code() == Code::Ok {
            served += 1;
            replicas.send(0, both(Some(199))).await;
            assert!(served < 20, "{kept:?}: no quota closes");
        }
        // 200 each: the small one is over after the first, and the large one holds five.
        assert_eq!(served, 5, "{kept:?}");
        let answer = replicas.send(0, both(None)).await;
        assert!(answer.statuses.iter().all(|status| status.code() == Code::OverLimit));
        // What was charged to the small one beside the large one is owed: a whole budget, which is an hour's.
        let wait = answer.statuses[0].duration_until_reset.expect("it is told").seconds;
        assert!((3_600..=3_640).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_limit_that_requests_bring_along_has_one_bucket_before_and_after_the_response() {
    let rule = "- { key: user, rate_limit: { unit: hour, requests_per_unit: 100000, overdraft: auto } }\n";
    for (kept, number) in [(Kept::InMemory, 1), (Kept::InRedis, 1), (Kept::InRedis, 3)] {
        let Some(mut replicas) = replicas("override", kept, number, rule).await else { return };
        for replica in 0..number {
            replicas.ask(replica, "user", "somebody", Some(0)).await;
        }
        let mut random = SmallRng::seed_from_u64(7);
        let replica = || random.random_range(0..number);
        assert_eq!(admitted(&mut replicas, "a", replica, Some(21)).await, 3, "{kept:?}, {number} replicas");
    }
}
