//! Thousands of limits in one answer.

use std::time::Duration;

use tollgate::{
    clock,
    pb::{
        rate_limit_response::Code,
        rules::{RateLimitConfig, RateLimitUnit},
    },
};

use crate::{
    Asker, Replica,
    support::ads::{Ads, config, leaf, parent},
};

const ROUNDS: u32 = 7;
/// What is promised; a build without optimization, on cores that it shares, takes longer.
const TAKEN_WITHIN: Duration = Duration::from_millis(if cfg!(debug_assertions) { 5_000 } else { 500 });
const STALL: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 5 });

/// Forty routes with a hundred rules of two headers each, as Envoy Gateway makes them.
fn four_thousand(requests: u32) -> RateLimitConfig {
    let rule = |rule: u32| {
        let (first, second) = (format!("rule-{rule}-match-0"), format!("rule-{rule}-match-1"));
        parent(&first, &first, vec![leaf(&second, &second, RateLimitUnit::Hour, requests)])
    };
    let route = |route: u32| {
        let name = format!("httproute/gateway-conformance-infra/some-route-{route}/rule/0/match/0/*");
        parent(&name, &name, (0..100).map(rule).collect())
    };
    config("gateway-conformance-infra/same-namespace/http", (0..40).map(route).collect())
}

/// The longest that a request waits until `is_over`.
async fn longest(mut client: Asker, mut is_over: tokio::sync::oneshot::Receiver<()>) -> Duration {
    let mut longest = Duration::ZERO;
    while is_over.try_recv().is_err() {
        let start = clock::monotonic();
        assert_eq!(client.ask("none", "key", "a").await, Code::Ok);
        longest = longest.max(start.elapsed());
    }
    longest
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_limits_are_taken_in_half_a_second_and_requests_do_not_wait() {
    let mut ads = Ads::start().await;
    let replica = Replica::start(&ads, &["--runtimes", "1"]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    let (mut taken, mut stalls, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let rules = [four_thousand(round + 1)];
        let (over, is_over) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(longest(Asker(replica.client.clone()), is_over));
        let start = clock::monotonic();
        stream.send_good(&round.to_string(), &rules).await;
        taken.push(start.elapsed());
        over.send(()).expect("it waits for this");
        stalls.push(waiting.await.expect("every request was answered"));

        let (over, is_over) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(longest(Asker(replica.client.clone()), is_over));
        tokio::time::sleep(taken[taken.len() - 1]).await;
        over.send(()).expect("it waits for this");
        without.push(waiting.await.expect("every request was answered"));
    }
    println!("taken in {taken:?}; longest waits {stalls:?}, and as long without an answer {without:?}");
    assert!(replica.process.log_text().contains("rules=4000"), "{}", replica.process.log_text());
    // What else the machine does shows in some rounds, and without an answer too.
    assert!(taken.iter().min() < Some(&TAKEN_WITHIN), "{taken:?}");
    let (stall, usual) = (median(stalls), median(without));
    assert!(stall < usual + STALL, "{stall:?}, and {usual:?} without an answer");
}
