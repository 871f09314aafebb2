//! A control plane that starts over, and sends some of its domains first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::pb::{
    rate_limit_response::Code,
    rules::{RateLimitConfig, RateLimitUnit},
};

use crate::{
    Replica,
    support::ads::{Ads, AdsStream, config, leaf, once_a_day},
};

const DOMAINS: [&str; 6] =
    ["ns/one/http", "ns/two/http", "ns/three/http", "ns/four/http", "ns/shared", "ns/other"];

/// A domain in which nothing passes.
fn closed(domain: &str) -> RateLimitConfig {
    config(domain, vec![leaf("key", "", RateLimitUnit::Hour, 0)])
}

fn all() -> Vec<RateLimitConfig> {
    DOMAINS.into_iter().map(closed).collect()
}

/// Clients that never pause. Whatever passes had no limit.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(replica: &Replica, count: usize) -> Load {
        let (stop, asked, passed) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let mut load = Load { stop, asked, passed, clients: JoinSet::new() };
        for _ in 0..count {
            let (stop, asked, passed) =
                (Arc::clone(&load.stop), Arc::clone(&load.asked), Arc::clone(&load.passed));
            let mut client = crate::Asker(replica.client.clone());
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    for domain in DOMAINS {
                        let is_passed = client.ask(domain, "key", "a").await == Code::Ok;
                        passed.fetch_add(u64::from(is_passed), Ordering::Relaxed);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        load
    }

    /// The number of requests, and of those that passed.
    async fn stop(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("every request was answered");
        }
        (self.asked.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }
}

async fn accepted(ads: &mut Ads, version: &str, configs: &[RateLimitConfig]) -> AdsStream {
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good(version, configs).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_passes_while_a_control_plane_starts_over_and_sends_half_a_set() {
    let mut ads = Ads::start().await;
    let replica = Replica::start(&ads, &["--xds-settle", "1s", "--runtimes", "2"]).await;
    let stream = accepted(&mut ads, "9", &all()).await;
    let load = Load::start(&replica, 4);
    let (addr, mut last) = (ads.addr(), (ads, stream));
    for half in [1, 2, 0, 5] {
        // All its connections break, and it comes back at its address.
        drop(last);
        let mut ads = Ads::start_at(addr, None).await;
        let mut stream = accepted(&mut ads, "1", &all()[..half]).await;
        sleep(Duration::from_millis(120)).await;
        stream.send_good("4", &all()).await;
        last = (ads, stream);
    }
    // One that ends right after half a set, and stays away for longer than any pause.
    drop(last);
    let mut ads = Ads::start_at(addr, None).await;
    drop(accepted(&mut ads, "1", &all()[..2]).await);
    drop(ads);
    sleep(Duration::from_secs(4)).await;
    let (asked, passed) = load.stop().await;
    assert_eq!(passed, 0, "of {asked}: {}", replica.process.log_text());
    assert!(asked > 1_000, "{asked}");
    println!("{asked} requests, {passed} passed");
}

#[tokio::test]
async fn a_domain_that_is_gone_keeps_its_limits_for_the_settling_time_and_no_longer() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &["--xds-settle", "1s"]).await;
    let mut stream = accepted(&mut ads, "1", &[once_a_day("a"), once_a_day("b")]).await;
    stream.send_good("2", &[once_a_day("b")]).await;
    assert!(replica.limits("a", "x").await && replica.limits("b", "x").await);
    replica.until_told("has not sent this domain").await;
    sleep(Duration::from_millis(1_500)).await;
    assert!(!replica.limits("a", "y").await && replica.limits("b", "y").await);
    assert!(replica.told("no longer has this domain") == 1, "{}", replica.process.log_text());

    // After a reconnect it takes three times as long.
    drop(stream);
    let stream = accepted(&mut ads, "1", &[]).await;
    sleep(Duration::from_millis(2_000)).await;
    assert!(replica.limits("b", "z").await);
    sleep(Duration::from_millis(2_000)).await;
    assert!(!replica.limits("b", "w").await);
    drop(stream);
}
