//! What operators see.

use super::{Kept, descriptor, replicas};

const RULES: &str = "- { key: auto, rate_limit: { unit: hour, requests_per_unit: 21, overdraft: auto } }
- { key: charge, rate_limit: { unit: hour, requests_per_unit: 21, overdraft: charge } }
- { key: never, rate_limit: { unit: hour, requests_per_unit: 21 } }\n";

fn outcome(word: &str) -> String {
    format!("tollgate_requests_total{{door=\"rls\",outcome=\"{word}\"}} ")
}

#[tokio::test]
async fn charges_after_the_response_have_an_outcome_of_their_own_denied_or_not() {
    let Some(mut replicas) = replicas("outcomes", Kept::InMemory, 1, RULES).await else { return };
    let before = replicas.metric(0, &outcome("allow")).await.expect("it is there from the start");
    // Until its first peek the rule is pre-paid.
    replicas.ask(0, "auto", "b", Some(1)).await;
    for _ in 0..3 {
        replicas.ask(0, "auto", "a", Some(0)).await;
        for key in ["auto", "charge", "never"] {
            replicas.ask(0, key, "a", Some(10)).await;
        }
    }
    // Stated by nobody, so asked before the response.
    replicas.ask(0, "charge", "b", None).await;
    // One of the two was asked before the response.
    replicas.send(0, vec![descriptor("charge", "c", Some(5)), descriptor("never", "c", Some(5))]).await;
    assert_eq!(replicas.metric(0, &outcome("settled")).await, Some(6.0));
    assert_eq!(replicas.metric(0, &outcome("allow")).await, Some(before + 8.0));
    assert_eq!(replicas.metric(0, &outcome("deny")).await, Some(1.0));
}

#[tokio::test]
async fn a_gauge_tells_which_rules_count_as_post_paid() {
    let Some(mut replicas) = replicas("gauge", Kept::InMemory, 1, RULES).await else { return };
    let gauge = |rule| format!("tollgate_rule_post_paid{{domain=\"edge\",rule=\"{rule}\"}} ");
    assert_eq!(replicas.metric(0, &gauge("auto")).await, None, "nothing is known yet");
    for (hits, told) in [(2, 0.0), (0, 1.0), (2, 1.0), (2, 0.0), (0, 1.0)] {
        replicas.ask(0, "auto", "a", Some(hits)).await;
        assert_eq!(replicas.metric(0, &gauge("auto")).await, Some(told), "after {hits}");
    }
    for key in ["charge", "never"] {
        replicas.ask(0, key, "a", Some(0)).await;
        assert_eq!(replicas.metric(0, &gauge(key)).await, None, "{key} is configured");
    }
}
