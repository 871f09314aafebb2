//! Runs a case: starts the contenders, and lets them take turns.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    BenchError,
    args::Peer,
    case::{Case, Contender, Pace, Service, Via, thousands},
    figures::{CaseFigures, ContenderFigures, Fill, labels},
    keys::Keys,
    load::{LoadArgs, Target},
    peers::Binary,
    placement::{Placement, pinned},
    proc,
    report::terminal,
    sample::Sample,
    stats::Spread,
    subject::{Running, this_program},
};
use crate::process::Process;

const WARM_UP_MS: u64 = 300;
/// Envoy opens a connection for each of its workers.
const CONNECTIONS: usize = 8;
/// The time to ask for a million keys, of which a quiet machine needs half; the rest is left out.
pub const FILL_MS: u64 = 20_000;
/// The time to find the peak rate, half of which is then asked.
const PEAK_MS: u64 = 1_000;
/// A load that has not ended this long after its time hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings that are the same for all cases.
#[derive(Debug)]
pub struct Setting<'a> {
    pub limits: &'a Path,
    pub peers: &'a [Peer],
    pub binaries: &'a [Binary],
    /// Tollgate, built with a profile.
    pub profiled: Option<&'a Path>,
    /// None: what each case needs.
    pub rounds: Option<usize>,
    pub measure_ms: u64,
}

/// A case under way.
struct Arena<'a> {
    case: &'a Case,
    placement: Placement,
    running: Vec<Running>,
    measure_ms: u64,
    rate: Option<f64>,
}

pub async fn run(case: &Case, setting: &Setting<'_>) -> Result<CaseFigures, BenchError> {
    let mut arena = Arena::open(case, setting).await?;
    let mut contenders = Vec::new();
    for contender in &case.contenders {
        contenders.push(ContenderFigures {
            label: contender.label.clone(),
            decides: contender.decides(),
            is_peer: contender.is_peer(),
            runs: Vec::new(),
            fill: arena.fill(contender).await?,
        });
    }
    if case.load.pace == Pace::HalfPeak {
        arena.rate = Some(arena.peak().await? / 2.0);
    }
    let rounds = setting.rounds.unwrap_or(case.rounds);
    for round in 0..rounds {
        let mut turns: Vec<usize> = (0..contenders.len()).collect();
        // The first contender finds the machine at rest, so it is not always the same.
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let seed = round as u64 + 1;
            let args = arena.args(&case.contenders[turn], seed);
            contenders[turn].runs.push(arena.load(&case.contenders[turn], &args).await?);
        }
        terminal::round(round + 1, rounds, &contenders);
    }
    let figures = CaseFigures {
        name: case.name.clone(),
        load: case.load.to_string(),
        mix: case.load.mix,
        placement: arena.placement.to_string(),
        rate: arena.rate,
        rounds,
        seconds: arena.measure_ms as f64 / 1_000.0,
        contenders,
    };
    for running in arena.running {
        running.end().await?;
    }
    Ok(figures)
}

// === impl Arena ===

impl<'a> Arena<'a> {
    async fn open(case: &'a Case, setting: &Setting<'_>) -> Result<Arena<'a>, BenchError> {
        let placement = Placement::here(case.runtimes());
        let mut running: Vec<Running> = Vec::new();
        for contender in &case.contenders {
            if running.iter().all(|it| it.subject != contender.subject) {
                let subject = contender.subject;
                running.push(Running::start(subject, setting, &placement).await?);
            }
        }
        let measure_ms = setting.measure_ms * u64::from(case.stretch);
        Ok(Arena { case, placement, running, measure_ms, rate: None })
    }

    fn running(&self, contender: &Contender) -> &Running {
        self.running.iter().find(|it| it.subject == contender.subject).expect("each subject was started")
    }

    fn args(&self, contender: &Contender, seed: u64) -> LoadArgs {
        let load = &self.case.load;
        let running = self.running(contender);
        let (to, connections) = match contender.via {
            Via::Rls => (Target::Rls(running.addr), CONNECTIONS.min(load.concurrency)),
            Via::RlsOverTls => (Target::RlsOverTls(running.addr), CONNECTIONS.min(load.concurrency)),
            Via::Check => (Target::Check(running.addr), CONNECTIONS.min(load.concurrency)),
            Via::CheckForBrowser => {
                (Target::CheckForBrowser(running.addr), CONNECTIONS.min(load.concurrency))
            }
            Via::Incrby => (Target::Incrby(running.addr), load.concurrency),
            Via::IncrbyOneConnection => (Target::Incrby(running.addr), 1),
            Via::Evalsha => (Target::Evalsha(running.addr), 1),
        };
        LoadArgs {
            to,
            connections,
            concurrency: load.concurrency,
            keys: load.keys,
            mix: load.mix,
            descriptors: contender.descriptors,
            warm_up_ms: WARM_UP_MS,
            measure_ms: self.measure_ms,
            rate: self.rate,
            most: None,
            seed,
            service_pid: running.service_pid,
            redis_pid: running.redis.iter().map(|redis| redis.pid).collect(),
            redis: running.redis.iter().map(|redis| redis.addr).collect(),
        }
    }

    /// Closed loops of Tollgate with Redis, or of the last one where that does not take part; the middle of
    /// three, since half of a bad moment's peak would be no load.
    async fn peak(&self) -> Result<f64, BenchError> {
        let contenders = &self.case.contenders;
        let redis = contenders.iter().find(|it| it.label == labels::REDIS).or(contenders.last());
        let contender = redis.expect("a case has contenders");
        let mut rates = Vec::new();
        for seed in 0..3 {
            let args = LoadArgs { measure_ms: PEAK_MS, ..self.args(contender, seed) };
            rates.push(self.load(contender, &args).await?.per_second());
        }
        Ok(Spread::from_values(rates).map_or(1.0, |rates| rates.median.max(1.0)))
    }

    async fn fill(&self, contender: &Contender) -> Result<Option<Fill>, BenchError> {
        let Some(keys) = self.case.fill.filter(|_| contender.decides()) else { return Ok(None) };
        terminal::say(&format!("  {}: asks for each of {} keys once", contender.label, thousands(keys)));
        let asked = self.case.load.mix.asks_for_each(keys);
        let args = LoadArgs {
            keys: Keys::Each(keys),
            most: Some(asked),
            warm_up_ms: 0,
            measure_ms: FILL_MS,
            rate: None,
            ..self.args(contender, 0)
        };
        let before = self.resident_kib(contender)?;
        let sample = self.load(contender, &args).await?;
        let after = self.resident_kib(contender)?;
        Ok(before.zip(after).map(|(kib_before, kib_after)| Fill {
            keys: sample.decisions().min(u64::from(keys)),
            seconds: sample.seconds,
            kib_before,
            kib_after,
        }))
    }

    fn resident_kib(&self, contender: &Contender) -> Result<Option<u64>, BenchError> {
        let pid = self.running(contender).service_pid;
        Ok(pid.map(|pid| proc::usage(&pid.to_string())).transpose()?.map(|usage| usage.resident_kib))
    }

    /// One run, in a process of its own.
    async fn load(&self, contender: &Contender, args: &LoadArgs) -> Result<Sample, BenchError> {
        let serviceless = contender.subject.service == Service::BareRedis;
        let cores = if serviceless { &self.placement.service } else { &self.placement.load };
        let mut command = pinned(&this_program()?, cores);
        command.args(args.command_line());
        let mut process = Process::spawn("load", &command)?;
        let over = Duration::from_millis(args.warm_up_ms + args.measure_ms) + PATIENCE;
        let deadline = Instant::now() + over;
        while process.ended().is_none() {
            if Instant::now() > deadline {
                process.kill();
            }
            sleep(Duration::from_millis(5)).await;
        }
        let printed = process.log_text();
        let sample = printed.lines().last().and_then(|line| Sample::from_json(&line.parse::<Value>().ok()?));
        let sample = sample.ok_or_else(|| BenchError::Load {
            contender: contender.label.clone(),
            case: self.case.name.clone(),
            printed,
        })?;
        // There are hundreds of logs, and the figures have all that they say.
        let _ = std::fs::remove_file(process.log());
        Ok(sample)
    }
}
