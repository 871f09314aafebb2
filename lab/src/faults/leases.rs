//! Leases: what runtimes have reserved while Redis is away, when a replica is killed, and when replicas stop in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::clock::Clock;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
    nodes::{Visit, worst_share},
    stack::{replicas_on, sum},
};
use crate::{
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const REPLICAS: usize = 3;
const CLIENTS: usize = 9;
/// Longer than a busy machine is late, so that silence means a fault.
const DEADLINE: &str = "500ms";
/// Long, so that what a replica holds when it is killed shows.
const LEASE: Duration = Duration::from_secs(1);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    Ok(vec![outage().await?, killed().await?, rolling_restart().await?])
}

struct Stack {
    redis: Redis,
    serve: Serve,
    replicas: Vec<Tollgate>,
}

/// What the clients of all replicas were answered, in the order of time.
struct Seen {
    visits: Vec<(Visit, Answer)>,
}

struct Load {
    clock: Clock,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<(Visit, Answer)>>,
}

// === rows ===

/// Leases decide until they end, and then the local buckets.
async fn outage() -> Result<Row, FaultsError> {
    const PER_SECOND: u64 = 20_000;
    let rate = format!("unit: second, requests_per_unit: {PER_SECOND}");
    let mut stack = Stack::start("outage", &rate).await?;
    let load = Load::start(&stack).await?;
    sleep(2 * LEASE).await;
    let before = stack.decided_by_leases().await?;
    let killed_us = load.clock.now_us();
    stack.redis.kill();
    sleep(LEASE / 10).await;
    let began = stack.decided_by_leases().await?;
    sleep(2 * LEASE).await;
    let ended = stack.decided_by_leases().await?;
    sleep(LEASE).await;
    let later = stack.decided_by_leases().await?;
    let seen = load.stop().await;
    let decided = seen.admitted();
    let worst = worst_share(&decided, PER_SECOND, PER_SECOND);
    let last_us = decided.iter().map(|visit| visit.start_us).max().unwrap_or(0);
    let lasted_s = seconds(last_us.saturating_sub(killed_us));
    let by_fallback = seen.count(|answer| matches!(answer, Answer::Fallback { .. }));
    Ok(Row::new("Redis killed, with leases of 1 s")
        .promised("leases decide within the limit until they end, a second later at most; then `on_store_failure` answers")
        .measured(format!(
            "{} decided from leases before, {} after it, the last one {lasted_s:.2} s after it, {} of them a lease's \
             time later; then {by_fallback} fallback answers, {} without an answer; the worst interval has {worst:.2} \
             (burst + refill · length)",
            before,
            ended - before,
            later - ended,
            seen.count(|answer| *answer == Answer::None),
        ))
        .kept_if(
            worst <= 1.0
                && before > 0
                && ended > began
                && later == ended
                && lasted_s <= LEASE.as_secs_f64()
                && by_fallback > 0
                && seen.count(|answer| *answer == Answer::None) == 0,
        ))
}

/// Nobody reports what it held, so that counts as spent.
async fn killed() -> Result<Row, FaultsError> {
    const BURST: usize = 30_000;
    let rate = format!("unit: year, algorithm: token_bucket, requests_per_unit: {BURST}");
    let mut stack = Stack::start("killed", &rate).await?;
    let load = Load::start(&stack).await?;
    let held = stack.until_it_holds(0).await?;
    stack.replicas[0].kill();
    let mut asker = Asker::connect(stack.replicas[1].grpc()).await?;
    // The others use up the rest, and what was reserved lapses.
    for _ in 0..60 {
        sleep(LEASE / 2).await;
        if let Answer::Denied { .. } = asker.ask("user", "one").await {
            break;
        }
    }
    sleep(3 * LEASE).await;
    let seen = load.stop().await;
    let (admitted, failed) = (seen.admitted().len(), seen.count(|answer| *answer == Answer::None));
    let denied = seen.count(|answer| matches!(answer, Answer::Denied { .. }));
    // Besides those of the load, at most a few questions above were admitted.
    let missing = BURST.saturating_sub(admitted);
    Ok(Row::new("kill -9 of one of three replicas that hold leases")
        .promised("what it held counts as spent: too little is admitted, at most a quarter of the burst for each runtime, never too much")
        .measured(format!(
            "it held {held} hits that it had not spent; {admitted} of {BURST} admitted, so {missing} were lost with it; \
             {denied} denied, {failed} without an answer",
        ))
        .kept_if(admitted <= BURST && missing <= BURST / 2 && held > 0 && denied > 0 && failed > 0))
}

/// Each reports what it spent, and gives back the rest.
async fn rolling_restart() -> Result<Row, FaultsError> {
    // A hit comes back every half a minute.
    const BURST: u32 = 1_000_000;
    let rate = format!("unit: year, algorithm: token_bucket, requests_per_unit: {BURST}");
    let mut stack = Stack::start("rolling", &rate).await?;
    let load = Load::start(&stack).await?;
    let mut exits = Vec::new();
    let (mut from_leases, mut lapsed) = (0, 0);
    for number in 0..REPLICAS {
        sleep(LEASE / 2).await;
        from_leases += stack.count(number, "source=\"lease\"").await?;
        lapsed += stack.count(number, "state=\"lapsed\"").await?;
        let replica = &mut stack.replicas[number];
        let serve =
            Serve { grpc_listen: replica.grpc(), admin_listen: replica.admin(), ..stack.serve.clone() };
        exits.push(replica.terminate(STOPS_WITHIN).await?.code());
        *replica = Tollgate::start(&serve).await?;
    }
    sleep(LEASE / 2).await;
    let seen = load.stop().await;
    for replica in &mut stack.replicas {
        exits.push(replica.terminate(STOPS_WITHIN).await?.code());
    }
    let last = Tollgate::start(&stack.serve.clone().args(&["--lease", "off"])).await?;
    let mut asker = Asker::connect(last.grpc()).await?;
    asker.until_store("user", "another").await?;
    let Answer::Admitted { remaining } = asker.ask("user", "one").await else {
        return Err(FaultsError::Unreadable("the store does not say what is left".to_owned()));
    };
    let admitted = seen.admitted().len() as u64;
    let failed = seen.count(|answer| *answer == Answer::None) as u64;
    // That question is charged too.
    let charged = u64::from(BURST - remaining - 1);
    let is_clean = exits.iter().all(|exit| *exit == Some(0));
    Ok(Row::new("SIGTERM to each of three replicas in turn, and then to all, with leases")
        .promised("leases are reported before the exit: the bucket holds what was answered, and requests cut off by the exit at most")
        .measured(format!(
            "exit {}; {admitted} admitted, {from_leases} of them from leases before the first exits; {charged} charged; \
             {failed} without an answer; {lapsed} lapsed",
            if is_clean { "0 each" } else { "NOT 0" },
        ))
        .kept_if(is_clean && from_leases > 0 && lapsed == 0 && admitted <= charged + 1 && charged <= admitted + failed))
}

// === impl Stack ===

impl Stack {
    async fn start(name: &str, rate: &str) -> Result<Stack, FaultsError> {
        let limits = format!(
            "domain: edge\ndescriptors:\n- key: user\n  rate_limit: {{ {rate}, lease: {}s, on_store_failure: local }}\n",
            LEASE.as_secs()
        );
        let redis = Redis::start().await?;
        let serve = Serve::new(limits_file(&format!("leases-{name}"), &limits)?).store(redis.url());
        let serve = serve.args(&["--store-deadline", DEADLINE, "--runtimes", "2", "--drain-wait", "0s"]);
        let replicas = replicas_on(&serve, REPLICAS).await?;
        Ok(Stack { redis, serve, replicas })
    }

    async fn count(&self, replica: usize, label: &str) -> Result<u64, FaultsError> {
        Ok(sum(&http::get(self.replicas[replica].admin(), "/metrics", &[]).await?.text(), label))
    }

    /// Until it has reserved hits that it has not spent, or for ten leases. Returns their number.
    async fn until_it_holds(&self, replica: usize) -> Result<u64, FaultsError> {
        let mut held = 0;
        for _ in 0..200 {
            sleep(LEASE / 20).await;
            let metrics = http::get(self.replicas[replica].admin(), "/metrics", &[]).await?.text();
            let hits = |state| sum(&metrics, &format!("tollgate_lease_hits_total{{state=\"{state}\"}}"));
            held = hits("reserved").saturating_sub(hits("spent") + hits("lapsed"));
            if held > 0 {
                break;
            }
        }
        Ok(held)
    }

    async fn decided_by_leases(&self) -> Result<u64, FaultsError> {
        let mut all = 0;
        for replica in 0..self.replicas.len() {
            all += self.count(replica, "source=\"lease\"").await?;
        }
        Ok(all)
    }
}

// === impl Load ===

impl Load {
    /// Clients of all replicas ask for one key, each without a pause.
    async fn start(stack: &Stack) -> Result<Load, FaultsError> {
        let (clock, stop) = (Clock::start(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let asker = Asker::connect(stack.replicas[number % REPLICAS].grpc()).await?;
            clients.spawn(ask(asker, clock, Arc::clone(&stop)));
        }
        Ok(Load { clock, stop, clients })
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        Seen { visits: self.clients.join_all().await.into_iter().flatten().collect() }
    }
}

async fn ask(mut asker: Asker, clock: Clock, stop: Arc<AtomicBool>) -> Vec<(Visit, Answer)> {
    let mut visits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start_us = clock.now_us();
        let answer = asker.ask("user", "one").await;
        let visit = Visit { key: "user", start_us, end_us: clock.now_us(), status: 200, retry_after_s: None };
        visits.push((visit, answer));
        if !matches!(answer, Answer::Admitted { .. }) {
            // These are so fast that they would leave the others no CPU.
            sleep(Duration::from_millis(5)).await;
        }
    }
    visits
}

// === impl Seen ===

impl Seen {
    fn count(&self, is_so: impl Fn(&Answer) -> bool) -> usize {
        self.visits.iter().filter(|(_, answer)| is_so(answer)).count()
    }

    /// Those that Redis or a lease has admitted.
    fn admitted(&self) -> Vec<Visit> {
        let admitted = self.visits.iter().filter(|(_, answer)| matches!(answer, Answer::Admitted { .. }));
        admitted.map(|(visit, _)| *visit).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}
