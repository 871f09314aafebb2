//! Redis is killed or stopped under load: what each mode answers, how long it takes, and how soon Redis is used again.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tollgate_core::{duration::micros, rules::OnStoreFailure};

use super::{
    FaultsError, Row, limits_file,
    nodes::{Load, Visit, percentile_ms, worst_share},
    shares,
    stack::Stack,
};
use crate::bench::resp;

const PER_SECOND: u64 = 60;
const REPLICAS: usize = 3;
/// Until then batches are under way, and the breaker has not tripped.
const SETTLED: Duration = Duration::from_millis(250);
/// A request sent this long before the end of the outage must be answered within it.
const LONGEST_US: u64 = 100_000;
const OPENED: &str = "cluster.upstream.ratelimit.failure_mode_allowed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Killed,
    Stopped,
}

/// All requests of one outage, by the phase in which they began.
struct Outage {
    name: String,
    kind: Kind,
    seconds: u64,
    before: Vec<Visit>,
    during: Vec<Visit>,
    /// `during` without its first moments, until the breaker has tripped.
    settled: Vec<Visit>,
    after: Vec<Visit>,
    all: Vec<Visit>,
    /// Requests that nodes let pass because they had no answer.
    opened: u64,
    healed: Duration,
    connections: u64,
    /// The resident memory of the largest replica, in KiB.
    grown_kib: u64,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let limits = limits_file("outage", &limits())?;
    let mut rows = vec![shares::row().await?];
    let outages = [(Kind::Killed, 10), (Kind::Stopped, 10), (Kind::Killed, 2), (Kind::Killed, 60)];
    for (kind, seconds) in outages {
        let mut stack = Stack::start(&limits, REPLICAS).await?;
        let outage = suffer(&mut stack, kind, seconds).await?;
        rows.extend(if seconds == 10 { outage.by_mode() } else { Vec::new() });
        rows.push(outage.latency());
        rows.push(outage.recovery());
    }
    Ok(rows)
}

fn limits() -> String {
    let limit = |mode: OnStoreFailure| {
        let mode = mode.name();
        format!(
            "  - {{ key: api_key, value: {mode}, rate_limit: {{ unit: second, requests_per_unit: {PER_SECOND}, \
             on_store_failure: {mode} }} }}\n"
        )
    };
    let limits: String = OnStoreFailure::ALL.into_iter().map(limit).collect();
    format!("domain: edge\ndescriptors:\n- key: route\n  descriptors:\n{limits}")
}

async fn suffer(stack: &mut Stack, kind: Kind, seconds: u64) -> Result<Outage, FaultsError> {
    let load = Load::start(
        stack.topology.addr(),
        &OnStoreFailure::ALL.map(OnStoreFailure::name),
        4,
        Duration::from_millis(20),
    );
    sleep(Duration::from_secs(3)).await;
    let began_us = load.now_us();
    let (opened, resident) = (stack.topology.counter(OPENED).await?, resident_kib(stack)?);
    let connections = resp::figure(stack.redis.addr(), "stats", "total_connections_received")?;
    let fault_us = load.now_us();
    match kind {
        Kind::Killed => stack.redis.kill(),
        Kind::Stopped => stack.redis.pause()?,
    }
    sleep(Duration::from_secs(seconds)).await;
    let grown_kib = resident_kib(stack)?.saturating_sub(resident);
    let opened = stack.topology.counter(OPENED).await? - opened;
    let decided = stack.counts(r#"source="store""#).await?;
    let heal_us = load.now_us();
    let connections = match kind {
        Kind::Killed => stack.redis.restart().await.map(|()| 0)?,
        Kind::Stopped => stack.redis.resume().map(|()| connections)?,
    };
    let healing = Instant::now();
    while stack.counts(r#"source="store""#).await?.iter().zip(&decided).any(|(now, before)| now <= before) {
        sleep(Duration::from_millis(5)).await;
        if healing.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    let healed = healing.elapsed();
    sleep(Duration::from_secs(1)).await;
    let connections = resp::figure(stack.redis.addr(), "stats", "total_connections_received")? - connections;
    sleep(Duration::from_secs(2)).await;
    let all = load.stop().await;
    // By their beginning: a request that hangs until the end belongs to the outage.
    let within = |from_us: u64, to_us: u64| -> Vec<Visit> {
        all.iter().filter(|visit| (from_us..to_us).contains(&visit.start_us)).copied().collect()
    };
    let settled_us = fault_us + micros(SETTLED);
    Ok(Outage {
        name: format!("Redis {} for {seconds} s", if kind == Kind::Killed { "killed" } else { "stopped" }),
        kind,
        seconds,
        before: within(began_us.saturating_sub(2_000_000), began_us),
        during: within(fault_us, heal_us),
        settled: within(settled_us, heal_us.saturating_sub(LONGEST_US)),
        after: within(heal_us + 1_000_000, u64::MAX),
        all,
        opened,
        healed,
        connections,
        grown_kib,
    })
}

fn resident_kib(stack: &Stack) -> Result<u64, FaultsError> {
    let mut most = 0;
    for replica in &stack.replicas {
        most = most.max(crate::bench::proc::usage(&replica.pid().to_string())?.resident_kib);
    }
    Ok(most)
}

fn select(visits: &[Visit], mode: OnStoreFailure, status: u16) -> Vec<Visit> {
    visits.iter().filter(|visit| visit.key == mode.name() && visit.status == status).copied().collect()
}

fn sent(visits: &[Visit], mode: OnStoreFailure) -> usize {
    visits.iter().filter(|visit| visit.key == mode.name()).count()
}

impl Outage {
    fn by_mode(&self) -> Vec<Row> {
        let of_mode = |mode: OnStoreFailure| format!("{}, `on_store_failure: {}`", self.name, mode.name());
        let (all_local, local) = (
            select(&self.all, OnStoreFailure::Local, 200),
            select(&self.settled, OnStoreFailure::Local, 200).len(),
        );
        // A Redis that was killed gives another burst after its restart.
        let worst = worst_share(&all_local, PER_SECOND, PER_SECOND);
        let (passed, asked) = (
            select(&self.settled, OnStoreFailure::Allow, 200).len(),
            sent(&self.settled, OnStoreFailure::Allow),
        );
        let denied = select(&self.settled, OnStoreFailure::Deny, 429);
        let told = denied.iter().filter(|visit| visit.retry_after_s.is_some_and(|s| (1..=2).contains(&s)));
        let (told, to_deny) = (told.count(), sent(&self.settled, OnStoreFailure::Deny));
        let (let_pass, unknown) = (
            select(&self.settled, OnStoreFailure::Error, 200).len(),
            sent(&self.settled, OnStoreFailure::Error),
        );
        // Under the other modes Tollgate answers, so only requests under `error` are let pass by the nodes.
        let opened = usize::try_from(self.opened).unwrap_or(usize::MAX);
        let most_opened =
            sent(&self.during, OnStoreFailure::Error) + sent(&self.during, OnStoreFailure::Error) / 50;
        vec![
            Row::new(of_mode(OnStoreFailure::Local))
                .promised("over every interval at most 2 (burst + refill · length), three shares together")
                .measured(format!(
                    "{local} of {} admitted during it; the worst interval of the run has {worst:.2} (burst + \
                     refill · length)",
                    sent(&self.settled, OnStoreFailure::Local)
                ))
                // At least what the shares hold.
                .kept_if(worst <= 2.0 && local as u64 >= PER_SECOND * (self.seconds - 1) * 4 / 5),
            Row::new(of_mode(OnStoreFailure::Allow))
                .promised("each request passes")
                .measured(format!("{passed} of {asked} passed"))
                .kept_if(passed == asked && asked > 0),
            Row::new(of_mode(OnStoreFailure::Deny))
                .promised("each request is denied, with retry-after 1 or 2 s")
                .measured(format!("{told} of {to_deny} so denied"))
                .kept_if(told == to_deny && to_deny > 0),
            Row::new(of_mode(OnStoreFailure::Error))
                .promised("UNAVAILABLE: the nodes' `failure_mode_deny: false` lets pass, and counts it")
                .measured(format!("{let_pass} of {unknown} let pass, {} counted by the nodes", self.opened))
                .kept_if(let_pass == unknown && unknown > 0 && (let_pass..=most_opened).contains(&opened)),
        ]
    }

    fn latency(&self) -> Row {
        let figures =
            |visits: &[Visit]| format!("{:.1} / {:.1}", percentile_ms(visits, 50), percentile_ms(visits, 99));
        let answered = self.during.iter().filter(|visit| [200, 429].contains(&visit.status)).count();
        Row::new(&self.name)
            .promised("each request is answered, in no more than 50 ms (p99), and nothing piles up (+ 8 MiB)")
            .measured(format!(
                "p50 / p99 in ms through two Envoys: {} before, {} during, {} after; {answered} of {} answered; \
                 {} KiB more",
                figures(&self.before),
                figures(&self.during),
                figures(&self.after),
                self.during.len(),
                self.grown_kib
            ))
            .kept_if(
                percentile_ms(&self.during, 99) <= 50.0
                    && answered == self.during.len()
                    && answered > 0
                    && self.grown_kib <= 8 * 1_024,
            )
    }

    fn recovery(&self) -> Row {
        // A stopped Redis still accepts connections: each runtime tries about once a second.
        let tried = if self.kind == Kind::Stopped { self.seconds } else { 0 };
        let runtimes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = (REPLICAS * runtimes) as u64 * (3 + tried);
        Row::new(format!("{}, and back", self.name))
            .promised(format!(
                "all replicas use Redis again within 1 s, with at most {most} connections, those tried meanwhile \
                 included"
            ))
            .measured(format!("{:.2} s, {} connections", self.healed.as_secs_f64(), self.connections))
            .kept_if(self.healed <= Duration::from_secs(1) && self.connections <= most)
    }
}
