//! Redis is killed or stopped under load: what each mode answers, how long it takes, and how soon Redis is used again.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row, limits_file,
    nodes::{Load, Seen, percentile_ms, worst_share},
    shares,
    stack::Stack,
};
use crate::bench::resp;

const MODES: [&str; 4] = ["local", "allow", "deny", "error"];
const LOCAL: usize = 0;
const ALLOW: usize = 1;
const DENY: usize = 2;
const ERROR: usize = 3;
const PER_SECOND: u64 = 60;
const REPLICAS: usize = 3;
/// Until then flights are in the air, and the breaker has not tripped.
const SETTLED: Duration = Duration::from_millis(250);
const OPENED: &str = "cluster.upstream.ratelimit.failure_mode_allowed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Killed,
    Stopped,
}

/// All requests of one outage, by when they were.
struct Outage {
    name: String,
    kind: Kind,
    seconds: u64,
    before: Vec<Seen>,
    during: Vec<Seen>,
    /// `during` without its first moments.
    settled: Vec<Seen>,
    after: Vec<Seen>,
    all: Vec<Seen>,
    /// Requests that nodes let pass for want of an answer.
    opened: u64,
    healed: Duration,
    connections: u64,
    /// Resident, in KiB, of the largest replica.
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
    let limit = |mode: &&str| {
        format!(
            "  - {{ key: api_key, value: {mode}, rate_limit: {{ unit: second, requests_per_unit: {PER_SECOND}, \
             on_store_failure: {mode} }} }}\n"
        )
    };
    let limits: String = MODES.iter().map(limit).collect();
    format!("domain: edge\ndescriptors:\n- key: route\n  descriptors:\n{limits}")
}

async fn suffer(stack: &mut Stack, kind: Kind, seconds: u64) -> Result<Outage, FaultsError> {
    let load = Load::start(stack.topology.addr(), &MODES, 4, Duration::from_millis(20));
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
    // By when they began: one that hangs until the end belongs to the outage.
    let within = |from_us: u64, to_us: u64| -> Vec<Seen> {
        all.iter().filter(|seen| (from_us..to_us).contains(&seen.start_us)).copied().collect()
    };
    let settled_us = fault_us + u64::try_from(SETTLED.as_micros()).unwrap_or_default();
    Ok(Outage {
        name: format!("Redis {} for {seconds} s", if kind == Kind::Killed { "killed" } else { "stopped" }),
        kind,
        seconds,
        before: within(began_us.saturating_sub(2_000_000), began_us),
        during: within(fault_us, heal_us),
        settled: within(settled_us, heal_us).into_iter().filter(|seen| seen.end_us <= heal_us).collect(),
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

fn of(seen: &[Seen], key: usize, status: u16) -> Vec<Seen> {
    seen.iter().filter(|seen| seen.key == key && seen.status == status).copied().collect()
}

fn sent(seen: &[Seen], key: usize) -> usize {
    seen.iter().filter(|seen| seen.key == key).count()
}

impl Outage {
    fn by_mode(&self) -> Vec<Row> {
        let of_mode = |mode: usize| format!("{}, `on_store_failure: {}`", self.name, MODES[mode]);
        let (all_local, local) = (of(&self.all, LOCAL, 200), of(&self.settled, LOCAL, 200).len());
        // A Redis that was killed gives another burst when it is back.
        let worst = worst_share(&all_local, PER_SECOND, PER_SECOND);
        let (passed, asked) = (of(&self.settled, ALLOW, 200).len(), sent(&self.settled, ALLOW));
        let denied = of(&self.settled, DENY, 429);
        let told = denied.iter().filter(|seen| seen.retry_after_s.is_some_and(|s| (1..=2).contains(&s)));
        let (told, to_deny) = (told.count(), sent(&self.settled, DENY));
        let (let_pass, unknown) = (of(&self.settled, ERROR, 200).len(), sent(&self.settled, ERROR));
        // Only of this mode, or the others would have been let pass by the nodes too.
        let opened = usize::try_from(self.opened).unwrap_or(usize::MAX);
        let most_opened = sent(&self.during, ERROR) + sent(&self.during, ERROR) / 50;
        vec![
            Row::new(
                of_mode(LOCAL),
                "over every interval at most 2 (burst + refill · length), three shares together",
                format!(
                    "{local} of {} admitted during it; the worst interval of the run has {worst:.2} (burst + \
                     refill · length)",
                    sent(&self.settled, LOCAL)
                ),
                // And no less than the shares hold.
                worst <= 2.0 && local as u64 >= PER_SECOND * (self.seconds - 1) * 4 / 5,
            ),
            Row::new(
                of_mode(ALLOW),
                "each request passes",
                format!("{passed} of {asked} passed"),
                passed == asked && asked > 0,
            ),
            Row::new(
                of_mode(DENY),
                "each request is denied, with retry-after 1 or 2 s",
                format!("{told} of {to_deny} so denied"),
                told == to_deny && to_deny > 0,
            ),
            Row::new(
                of_mode(ERROR),
                "UNAVAILABLE: the nodes' `failure_mode_deny: false` lets pass, and counts it",
                format!("{let_pass} of {unknown} let pass, {} counted by the nodes", self.opened),
                let_pass == unknown && unknown > 0 && (let_pass..=most_opened).contains(&opened),
            ),
        ]
    }

    fn latency(&self) -> Row {
        let figures =
            |seen: &[Seen]| format!("{:.1} / {:.1}", percentile_ms(seen, 50), percentile_ms(seen, 99));
        let answered = self.during.iter().filter(|seen| [200, 429].contains(&seen.status)).count();
        Row::new(
            &self.name,
            "each request is answered, in no more than 50 ms (p99), and nothing piles up (+ 8 MiB)",
            format!(
                "p50 / p99 in ms through two Envoys: {} before, {} during, {} after; {answered} of {} answered; \
                 {} KiB more",
                figures(&self.before),
                figures(&self.during),
                figures(&self.after),
                self.during.len(),
                self.grown_kib
            ),
            percentile_ms(&self.during, 99) <= 50.0
                && answered == self.during.len()
                && self.grown_kib <= 8 * 1_024,
        )
    }

    fn recovery(&self) -> Row {
        // One that is stopped still takes connections: each runtime tries about once a second.
        let tried = if self.kind == Kind::Stopped { self.seconds } else { 0 };
        let runtimes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = (REPLICAS * runtimes) as u64 * (3 + tried);
        Row::new(
            format!("{}, and back", self.name),
            format!(
                "all replicas use Redis again within 1 s, with at most {most} connections, those tried meanwhile included"
            ),
            format!("{:.2} s, {} connections", self.healed.as_secs_f64(), self.connections),
            self.healed <= Duration::from_secs(1) && self.connections <= most,
        )
    }
}
