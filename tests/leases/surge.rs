//! A surge: within a second one key is asked for 15 times as often as before, in an open loop, through three replicas.

use std::time::Duration;

use tokio::{task::JoinSet, time};
use tollgate::{
    clock::Clock,
    pb::{RateLimitResponse, rate_limit_response::Code},
};
use tollgate_core::{
    audit::Span,
    limit::{Limit, Unit},
};
use tonic::Status;

use super::{REPLICAS, Seen, Stack, ask, assert_holds, client};

/// Requests per second before the surge, and in it.
const BEFORE: u64 = 100;
const SURGE: u64 = 15 * BEFORE;
const TICK_US: u64 = 2_000;
/// Longer than a busy machine is late.
const DEADLINE: Duration = Duration::from_millis(500);

/// The rate at this time, per second: a second of the old load, a second in which it grows, and two of the surge.
fn rate(at_us: u64) -> u64 {
    BEFORE + (SURGE - BEFORE) * at_us.saturating_sub(1_000_000).min(1_000_000) / 1_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surge_is_answered_within_the_deadline_and_admitted_within_the_bound() {
    let rate_limit =
        "unit: second, requests_per_unit: 800, burst: 800, lease: 100ms, on_store_failure: error";
    let deadline = format!("{}ms", DEADLINE.as_millis());
    let Some(stack) = Stack::start_with("surge", rate_limit, &deadline).await else { return };
    let mut clients = Vec::new();
    for replica in &stack.replicas {
        clients.push(client(replica).await);
    }
    // The connections are there, and each runtime has met the key.
    for client in &mut clients {
        ask(client).await.expect("an answer");
    }
    let clock = Clock::start();
    let mut calls: JoinSet<(Span, Result<RateLimitResponse, Status>)> = JoinSet::new();
    let mut ticks = time::interval(Duration::from_micros(TICK_US));
    let (mut owed, mut sent) = (0, 0);
    // How late this process gets its share of the processor, and so hears of an answer.
    let mut late = Duration::ZERO;
    for tick in 0..4_000_000 / TICK_US {
        late = late.max(ticks.tick().await.elapsed());
        owed += rate(tick * TICK_US) * TICK_US;
        while owed >= 1_000_000 {
            owed -= 1_000_000;
            let mut client = clients[sent % REPLICAS].clone();
            sent += 1;
            calls.spawn(async move {
                let start_us = clock.now_us();
                let answer = ask(&mut client).await;
                (Span { start_us, end_us: clock.now_us() }, answer)
            });
        }
    }
    let (mut seen, mut took_us) = (Seen::default(), Vec::new());
    for (span, answer) in calls.join_all().await {
        took_us.push(span.end_us - span.start_us);
        match answer {
            Ok(answer) if answer.overall_code() == Code::Ok => seen.admitted.push(span),
            Ok(_) => seen.denied += 1,
            Err(_) => seen.failed += 1,
        }
    }
    took_us.sort_unstable();
    let from_leases = stack.counted("tollgate_decisions_total", "source=\"lease\"").await;
    let worst = Duration::from_micros(took_us.last().copied().unwrap_or(0));
    println!(
        "{sent} sent, {} admitted, {} denied, {} failed, {from_leases} from leases; p50 {} µs, p99 {} µs, worst {worst:?}; \
         up to {late:?} late",
        seen.admitted.len(),
        seen.denied,
        seen.failed,
        took_us[took_us.len() / 2],
        took_us[took_us.len() * 99 / 100],
    );
    assert_holds(&seen, &Limit::new(800, Unit::Second, Some(800)).expect("sound"));
    assert_eq!(seen.failed, 0, "a request that the store does not decide fails");
    assert!(worst <= DEADLINE + late, "{worst:?}");
    assert!(seen.denied > 0 && from_leases > 0.0, "{} denied, {from_leases} from leases", seen.denied);
}
