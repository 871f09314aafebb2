//! Rules that look like post-paid ones here and there, and are not: a denial costs nothing.

use std::time::Duration;

use tollgate::clock;

use super::{Kept, replicas};

const RULE: &str = "- { key: user, rate_limit: { unit: year, requests_per_unit: 11, algorithm: token_bucket, overdraft: auto } }\n";

#[tokio::test]
async fn stated_hits_alone_are_pre_paid_however_often_they_are_denied() {
    for kept in [Kept::InMemory, Kept::InRedis] {
        let Some(mut replicas) = replicas("alone", kept, 1, RULE).await else { return };
        let mut admitted = 0;
        for _ in 0..200 {
            admitted += usize::from(replicas.ask(0, "user", "a", Some(2)).await);
        }
        assert_eq!(admitted, 5, "{kept:?}");
        assert!(replicas.ask(0, "user", "a", Some(1)).await, "{kept:?}: 195 denials cost nothing");
    }
}

#[tokio::test]
async fn a_cost_that_rounds_to_0_now_and_then_is_pre_paid() {
    for kept in [Kept::InMemory, Kept::InRedis] {
        let Some(mut replicas) = replicas("rounded", kept, 1, RULE).await else { return };
        let mut admitted = 0;
        for number in 0..200 {
            let is_zero = number % 5 == 3;
            let fits = replicas.ask(0, "user", "a", Some(if is_zero { 0 } else { 2 })).await;
            admitted += usize::from(fits && !is_zero);
        }
        assert_eq!(admitted, 5, "{kept:?}");
        assert!(replicas.ask(0, "user", "a", Some(1)).await, "{kept:?}: the denials cost nothing");
    }
}

/// One route asks without hits, another one for 5. What fits is the same as if nothing was remembered: a rule that
/// took the first for a look would charge the denials of the second, and be closed most of the time.
#[tokio::test]
async fn a_rule_of_two_routes_admits_what_fits() {
    let rule = "- { key: user, rate_limit: { unit: second, requests_per_unit: 10, overdraft: auto } }\n";
    for kept in [Kept::InMemory, Kept::InRedis] {
        let Some(mut replicas) = replicas("routes", kept, 1, rule).await else { return };
        let (mut admitted, started) = (0, clock::monotonic());
        while started.elapsed() < Duration::from_secs(3) {
            for (hits, costs) in [(None, 1), (Some(5), 5)] {
                admitted += u64::from(replicas.ask(0, "user", "a", hits).await) * costs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let allowed = 10.0 + 10.0 * started.elapsed().as_secs_f64();
        assert!((allowed - 7.0..=allowed).contains(&(admitted as f64)), "{kept:?}: {admitted} of {allowed}");
    }
}
