//! Replicas of Tollgate come, go and grow old behind real Envoy nodes under load, with the shipped configuration.

mod support;

use std::{fmt, time::Duration};

use lab::{
    binaries::Part,
    redis::Redis,
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};
use support::load::Load;
use tokio::time::sleep;
use tollgate::clock::Clock;

const LIMITS: &str = "\
domain: edge
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: second, requests_per_unit: 20 } }
";
const BURST: u64 = 20;
const PER_SECOND: u64 = 20;
const CLIENTS: usize = 24;
const SECOND: Duration = Duration::from_secs(1);
const OPENED: &str = "cluster.upstream.ratelimit.failure_mode_allowed";
const ERRORS: &str = "cluster.upstream.ratelimit.error";
const CONNECTIONS: &str = "cluster.tollgate.upstream_cx_total";
const RETRIED: &str = "cluster.tollgate.upstream_rq_retry";

struct Stack {
    topology: Topology,
    replicas: Vec<Replica>,
    _redis: Redis,
}

struct Replica {
    serve: Serve,
    tollgate: Tollgate,
}

/// Two replicas on one Redis, and three nodes that know both.
async fn stack(test: &str, args: &[&str], patience: Option<Duration>) -> Option<Stack> {
    if !lab::real::available(&[Part::Redis, Part::Envoy]) {
        return None;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let config = support::file(&format!("rolling_{test}.yaml"), LIMITS);
    let serve = Serve::new(config).store(redis.url()).args(&["--store-deadline", "5s"]).args(args);
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
        // Its successor has the same address.
        let (grpc_listen, admin_listen) = (tollgate.grpc(), tollgate.admin());
        replicas.push(Replica { serve: Serve { grpc_listen, admin_listen, ..serve.clone() }, tollgate });
    }
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.tollgate.grpc()).collect();
    let mut global = Global::new(addresses);
    global.timeout = patience;
    let topology = Topology::start(&Variant::Global(global)).await.expect("Envoy starts");
    Some(Stack { topology, replicas, _redis: redis })
}

/// The measurements of one load.
struct Measured {
    sent: u64,
    admitted: u64,
    allowed: u64,
    errors: u64,
    opened: u64,
    connections: u64,
    retried: u64,
}

impl Stack {
    /// Runs `events` under load.
    async fn under_load(&mut self, events: impl AsyncFnOnce(&mut Stack, &Load)) -> Measured {
        let clock = Clock::start();
        let start_us = clock.now_us();
        let load = Load::start(self.topology.addr(), CLIENTS);
        sleep(SECOND).await;
        assert!(load.sent() > 0, "no load");
        events(self, &load).await;
        let (sent, admitted) = load.stop().await;
        let allowed = BURST + (clock.now_us() - start_us) * PER_SECOND / 1_000_000;
        let count = async |name| self.topology.counter(name).await.expect("the nodes answer");
        Measured {
            sent,
            admitted,
            allowed,
            errors: count(ERRORS).await,
            opened: count(OPENED).await,
            connections: count(CONNECTIONS).await,
            retried: count(RETRIED).await,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { sent, admitted, allowed, errors, opened, connections, retried } = self;
        write!(
            f,
            "{sent} requests, {admitted} admitted where {allowed} were allowed; at the nodes {errors} errors, \
             {opened} let pass, {retried} calls retried, {connections} connections to Tollgate"
        )
    }
}

fn assert_nothing_lost(measured: &Measured) {
    println!("{measured}");
    assert_eq!((measured.errors, measured.opened), (0, 0), "{measured}");
    // No replica was asked that could not answer. A call that is retried is not lost, but may be charged twice.
    assert_eq!(measured.retried, 0, "{measured}");
    assert!(measured.admitted <= measured.allowed, "{measured}");
    assert!(measured.admitted * 4 >= measured.allowed * 3, "{measured}");
}

/// The drain wait is 2 s instead of 5 s, because the nodes check health every second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_two_replicas_loses_no_decision() {
    let Some(mut stack) = stack("restart", &["--drain-wait", "2s"], Some(SECOND)).await else { return };
    let measured = stack
        .under_load(async |stack, load| {
            for replica in &mut stack.replicas {
                let before = load.sent();
                let status = replica.tollgate.terminate(15 * SECOND).await.expect("it ends");
                assert_eq!(status.code(), Some(0), "{}", replica.tollgate.log_text());
                assert!(load.sent() > before, "the load stood still");
                replica.tollgate = Tollgate::start(&replica.serve).await.expect("its successor starts");
                // Waits until the nodes have found it, which takes one check.
                sleep(2 * SECOND).await;
            }
        })
        .await;
    assert_nothing_lost(&measured);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_grow_old_under_load_lose_no_decision() {
    let age = ["--max-connection-age", "300ms", "--max-connection-age-grace", "5s"];
    let Some(mut stack) = stack("age", &age, Some(SECOND)).await else { return };
    let measured = stack.under_load(async |_, _| sleep(4 * SECOND).await).await;
    assert_nothing_lost(&measured);
    assert!(measured.connections >= 30, "the connections did not grow old: {measured}");
}
