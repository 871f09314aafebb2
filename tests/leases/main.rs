//! Leases over the wire: several replicas on one Redis decide on a hot key without asking for each request, and its limit
//! holds over every interval.

#[path = "../support/mod.rs"]
mod support;
mod surge;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lab::{
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tollgate::{
    clock::Clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tollgate_core::{
    audit::{Allowance, Remoteness, Span, WorstInterval, too_much},
    limit::{Limit, Unit},
};
use tonic::{Status, transport::Channel};

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;

/// One stack at a time: each gets as much load as the machine takes.
static TURN: Mutex<()> = Mutex::const_new(());

struct Stack {
    redis: Redis,
    replicas: Vec<Tollgate>,
    limits: std::path::PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Stack {
    /// Three replicas of two runtimes each on one Redis. The deadline is long, so that a busy machine gives no fallback
    /// answers.
    async fn start(test: &str, rate_limit: &str) -> Option<Stack> {
        Stack::start_with(test, rate_limit, "10s").await
    }

    async fn start_with(test: &str, rate_limit: &str, deadline: &str) -> Option<Stack> {
        let turn = TURN.lock().await;
        let redis = support::redis().await?;
        let limits = format!("domain: edge\ndescriptors:\n- key: user\n  rate_limit: {{ {rate_limit} }}\n");
        let limits = support::file(&format!("leases-{test}.yaml"), &limits);
        let mut stack = Stack { redis, replicas: Vec::new(), limits, _turn: turn };
        for _ in 0..REPLICAS {
            let replica = stack.replica(&["--store-deadline", deadline]).await;
            // It has no connection to Redis yet, and would refuse to answer.
            until_ready(&replica).await;
            stack.replicas.push(replica);
        }
        Some(stack)
    }

    async fn replica(&self, args: &[&str]) -> Tollgate {
        let serve = Serve::new(&self.limits).store(self.redis.url());
        let serve = serve.args(&["--runtimes", "2", "--drain-wait", "0s"]).args(args);
        Tollgate::start(&serve).await.expect("starts")
    }

    /// What a command prints about the bucket.
    async fn told_by(&self, command: &str) -> String {
        let mut run = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        run.arg(command).arg("--config").arg(&self.limits).args(["--store", &self.redis.url(), "user=one"]);
        let output = run.output().await.expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    }

    /// All replicas report what they spent before they end, and the rest comes back: nothing waits until it lapses.
    async fn stop_all_and_expect_left(&mut self, left: u64) {
        for replica in &mut self.replicas {
            let status = replica.terminate(Duration::from_secs(20)).await.expect("it ends");
            assert_eq!(status.code(), Some(0), "{}", replica.log_text());
        }
        for command in ["explain", "peek"] {
            let told = self.told_by(command).await;
            assert!(told.contains(" of ") || told.contains("left now"), "{command}: {told}");
            assert!(!told.contains("leases hold"), "{command}: {told}");
        }
        let replica = self.replica(&["--lease", "off", "--store-deadline", "10s"]).await;
        until_ready(&replica).await;
        let mut client = client(&replica).await;
        let answer = ask(&mut client).await.expect("an answer");
        let remaining = u64::from(answer.statuses[0].limit_remaining);
        // The question was charged, and in a year's bucket a hit comes back every three seconds.
        assert!(remaining.abs_diff(left - 1) <= 2, "{remaining} are left, of {}", left - 1);
    }

    /// The sum of all samples of this name whose labels contain this.
    async fn counted(&self, name: &str, label: &str) -> f64 {
        let mut sum = 0.0;
        for replica in &self.replicas {
            let page = lab::http::get(replica.admin(), "/metrics", &[]).await.expect("a page").text();
            let samples = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
            sum += samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
        }
        sum
    }
}

async fn until_ready(replica: &Tollgate) {
    loop {
        let answer = lab::http::get(replica.admin(), "/ready", &[]).await.expect("an answer");
        if answer.text().starts_with("OK") {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn client(replica: &Tollgate) -> RateLimitServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", replica.grpc())).expect("an address");
    RateLimitServiceClient::new(channel.connect().await.expect("connects"))
}

async fn ask(client: &mut RateLimitServiceClient<Channel>) -> Result<RateLimitResponse, Status> {
    let entry = Entry { key: "user".into(), value: "one".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    client.should_rate_limit(request).await.map(tonic::Response::into_inner)
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    admitted: Vec<Span>,
    denied: u64,
    failed: u64,
}

/// Clients that ask as fast as they are answered, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    /// Whether a request was denied.
    is_denied: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Load {
    async fn start(stack: &Stack, clock: Clock) -> Load {
        let (stop, is_denied) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut client = client(&stack.replicas[number % REPLICAS]).await;
            let (stop, is_denied) = (Arc::clone(&stop), Arc::clone(&is_denied));
            clients.push(tokio::spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    let start_us = clock.now_us();
                    match ask(&mut client).await {
                        Ok(answer) if answer.overall_code() == Code::Ok => {
                            seen.admitted.push(Span { start_us, end_us: clock.now_us() });
                        }
                        Ok(_) => {
                            seen.denied += 1;
                            is_denied.store(true, Ordering::Relaxed);
                        }
                        Err(_) => seen.failed += 1,
                    }
                }
                seen
            }));
        }
        Load { stop, is_denied, clients }
    }

    async fn until_denied(&self) {
        while !self.is_denied.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.await.expect("no panic");
            all.admitted.extend(seen.admitted);
            (all.denied, all.failed) = (all.denied + seen.denied, all.failed + seen.failed);
        }
        all
    }
}

fn assert_holds(seen: &Seen, limit: &Limit) {
    let allowance = Allowance::for_limit(limit, Remoteness::OtherClock);
    let worst = too_much(&seen.admitted, &allowance);
    assert!(!worst.as_ref().is_some_and(WorstInterval::is_too_much), "{worst:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_key_at_its_limit_is_admitted_exactly_from_three_replicas() {
    let rate_limit = "unit: second, requests_per_unit: 150, burst: 150, lease: 100ms";
    let Some(stack) = Stack::start("limit", rate_limit).await else { return };
    let clock = Clock::start();
    let start_us = clock.now_us();
    let load = Load::start(&stack, clock).await;
    sleep(Duration::from_secs(4)).await;
    let seen = load.stop().await;
    let limit = Limit::new(150, Unit::Second, Some(150)).expect("sound");
    assert_holds(&seen, &limit);
    let allowed = 150 + 150 * (clock.now_us() - start_us) / 1_000_000;
    let (admitted, denied) = (seen.admitted.len() as u64, seen.denied);
    println!("{admitted} of {allowed} admitted, {denied} denied, {} failed", seen.failed);
    assert!(denied > 0, "the load is too low");
    assert!(admitted * 100 >= allowed * 95, "{admitted} of {allowed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_its_limit_a_hot_key_is_decided_without_a_call_and_no_hit_is_lost_or_left() {
    // So long that a busy machine, too, asks often enough within it.
    let rate_limit = "unit: year, algorithm: token_bucket, requests_per_unit: 10000000, lease: 500ms";
    let Some(mut stack) = Stack::start("below", rate_limit).await else { return };
    let load = Load::start(&stack, Clock::start()).await;
    sleep(Duration::from_secs(1)).await;
    for command in ["explain", "peek"] {
        let told = stack.told_by(command).await;
        let held = told.split("leases hold ").nth(1).and_then(|rest| rest.split(" of it").next());
        let held = held.unwrap_or_else(|| panic!("{command}: {told}"));
        let hits = held.strip_suffix(" hits").and_then(|hits| hits.parse::<u64>().ok());
        assert!(
            held == "hits" && command == "peek" || hits.is_some_and(|hits| hits >= 4),
            "{command}: {told}"
        );
    }
    sleep(Duration::from_secs(1)).await;
    let seen = load.stop().await;
    assert_eq!((seen.denied, seen.failed), (0, 0));
    let admitted = seen.admitted.len() as f64;
    let from_leases = stack.counted("tollgate_decisions_total", "source=\"lease\"").await;
    println!("{admitted} admitted, {from_leases} by leases");
    // The slower the machine, the more of all are the first ones, before a lease is granted.
    assert!(from_leases > admitted * 0.5, "{from_leases} of {admitted}");
    stack.stop_all_and_expect_left(10_000_000 - seen.admitted.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_leaves_less_to_be_admitted_and_never_more() {
    const BURST: usize = 3_000;
    const LEASE: Duration = Duration::from_millis(500);
    let rate_limit = format!("unit: year, algorithm: token_bucket, requests_per_unit: {BURST}, lease: 500ms");
    let Some(mut stack) = Stack::start("killed", &rate_limit).await else { return };
    let load = Load::start(&stack, Clock::start()).await;
    // Otherwise there would be nothing that nobody reports.
    while stack.counted("tollgate_lease_hits_total", "state=\"spent\"").await == 0.0 {
        assert!(!load.is_denied.load(Ordering::Relaxed), "no hit of a lease was spent");
        sleep(LEASE / 20).await;
    }
    stack.replicas[0].kill();
    // The others use up the rest, and what it had reserved lapses.
    timeout(Duration::from_secs(120), load.until_denied()).await.expect("the limit denies");
    sleep(4 * LEASE).await;
    let seen = load.stop().await;
    let admitted = seen.admitted.len();
    println!("{admitted} of {BURST} admitted, {} denied, {} failed", seen.denied, seen.failed);
    assert!(admitted <= BURST, "{admitted}");
    assert!(seen.failed > 0 && seen.denied > 0, "{} failed, {} denied", seen.failed, seen.denied);
}
