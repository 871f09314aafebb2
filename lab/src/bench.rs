//! `lab bench`: what a decision costs, beside what else could be asked, on one machine and in one run.
//!
//! A [`case`] is one load and those who bear it in turn; [`rounds`] runs it, each run by a [`load`] generator
//! in a process of its own. [`peers`] starts other services, and [`admission`] counts what they admit. [`figures`] sets runs of the same round beside each other, [`targets`] says what
//! is to be reached, [`report`] shows it all. The [`floor`] is what a service costs that decides nothing.

mod admission;
mod args;
mod case;
mod cases;
mod far;
mod figures;
pub mod floor;
mod keys;
mod limits;
pub mod load;
mod peers;
mod placement;
pub mod proc;
mod report;
pub mod resp;
mod rounds;
mod sample;
pub mod stats;
mod subject;
mod targets;

use std::{
    env, io,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use thiserror::Error;

use crate::{
    binaries::{self, BinaryError, Part},
    process::ProcessError,
    redis::RedisError,
};
pub use args::BenchArgs;
use case::{Case, Contender, Service};
use figures::Report;
use proc::ProcError;
use report::{json, markdown, merge, svg, terminal};
use resp::RespError;
use rounds::Setting;

#[derive(Debug, Error)]
pub enum BenchError {
    #[error(
        "there is no case {name}; --list names them (with --all those of the matrix too), and there is admission"
    )]
    NoCase { name: String },
    #[error("a contender cannot be started")]
    Process(#[from] ProcessError),
    #[error("a contender cannot be started")]
    Redis(#[from] RedisError),
    #[error("the peer {name} cannot be started; docs/performance.md says how to get it")]
    Peer { name: &'static str, source: ProcessError },
    #[error("there can be no proxy in front of a Redis")]
    Far(#[source] io::Error),
    #[error("a replica does not accept a connection")]
    Connect(#[source] tonic::transport::Error),
    #[error("a contender cannot be found")]
    Binary(#[from] BinaryError),
    #[error("cannot tell where this program itself lies")]
    NoSelf(#[source] io::Error),
    #[error("cannot run {path} serve --help")]
    Help { path: String, source: io::Error },
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error(transparent)]
    Resp(#[from] RespError),
    #[error("{case}, {contender}: the load has failed: {printed}")]
    Load { contender: String, case: String, printed: String },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
}

/// Runs the cases, prints what they show, and writes it down. Missed targets are no failure; a load that
/// failed is one.
pub async fn run(args: &BenchArgs) -> Result<ExitCode, BenchError> {
    let mut cases = chosen(args)?;
    if args.list {
        terminal::list(&cases);
        return Ok(ExitCode::SUCCESS);
    }
    let mut notes = adapt(&mut cases, args)?;
    let limits = args.out.join("limits.yaml");
    write(&limits, &limits::yaml())?;
    write(&limits.with_extension(limits::SHADOWED_EXTENSION), &limits::shadowed_yaml())?;
    write(&limits.with_extension(limits::AUTHZ_EXTENSION), &limits::authz_yaml())?;
    let setting = Setting {
        limits: &limits,
        peers: &args.rls,
        binaries: &args.peer,
        profiled: args.profiled.as_deref(),
        rounds: args.runs.map(|runs| runs as usize),
        measure_ms: (args.seconds * 1_000.0) as u64,
    };
    let started = Instant::now();
    let mut figures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        terminal::say(&format!("{} ({} of {}): {}", case.name, index + 1, cases.len(), case.load));
        match rounds::run(case, &setting).await {
            Ok(measured) => {
                terminal::case(&measured);
                figures.push(measured);
            }
            // What the other cases have shown is not thrown away.
            Err(failed @ BenchError::Load { .. }) => notes.push(failed.to_string()),
            Err(error) => return Err(error),
        }
    }
    let admissions = match counted(args) {
        contenders if contenders.is_empty() => Vec::new(),
        contenders => {
            terminal::say("admission: across the edge of a second, and of 2,000 at once");
            admission::run(&contenders, &setting).await?
        }
    };
    let failed = figures.len() < cases.len();
    let report = Report {
        machine: machine(),
        command: command_line(),
        date: today(),
        took_s: started.elapsed().as_secs(),
        cases: figures,
        admissions,
        notes,
    };
    publish(&report, args)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen(args: &BenchArgs) -> Result<Vec<Case>, BenchError> {
    let all = if args.all || !args.cases.is_empty() { cases::all() } else { cases::usual() };
    if args.cases.is_empty() {
        return Ok(all);
    }
    let named = |name: &String| {
        let found = all.iter().find(|case| case.name == *name).cloned();
        found.ok_or_else(|| BenchError::NoCase { name: name.clone() })
    };
    args.cases.iter().filter(|name| *name != admission::NAME).map(named).collect()
}

/// Whose admissions are counted: nobody's, unless they are asked for or peers take part in all cases.
fn counted(args: &BenchArgs) -> Vec<Contender> {
    let named = args.cases.iter().any(|name| name == admission::NAME);
    if !named && (args.peer.is_empty() || !args.cases.is_empty()) {
        return Vec::new();
    }
    let peers = args.peer.iter().map(|binary| Contender::started(binary.program));
    [Contender::redis(), Contender::leased()].into_iter().chain(peers).collect()
}

/// Adds the peers, and leaves out what the Tollgate at hand cannot do. Returns what readers have to know.
fn adapt(cases: &mut [Case], args: &BenchArgs) -> Result<Vec<String>, BenchError> {
    let mut notes = Vec::new();
    let denial_cache = subject::has_flag("--denial-cache ")?;
    if !denial_cache {
        notes.push("this tollgate has no --denial-cache: nothing ran with the denial cache off".to_owned());
    }
    let leases = subject::has_flag("--lease ")?;
    if !leases {
        notes.push("this tollgate has no --lease: nothing ran with leases".to_owned());
    }
    if args.seconds < 1.0 || args.runs.is_some_and(|runs| runs < 5) {
        notes.push("short: figures want five rounds of a second".to_owned());
    }
    if !args.rls.is_empty() {
        notes.push(
            "peers named by --rls run where they were started; they are not pinned by the benchmark"
                .to_owned(),
        );
    }
    let programs = peers::programs(&args.peer);
    for case in cases {
        case.contenders.retain(|it| match it.subject.service {
            Service::RedisCacheOff => denial_cache,
            Service::RedisLeased | Service::RedisLeasedLong | Service::FarRedisLeased => leases,
            _ => true,
        });
        let peers = args.rls.iter().enumerate().map(|(index, peer)| Contender::peer(&peer.name, index));
        case.contenders.extend(peers.map(|peer| Contender { descriptors: case.load.descriptors, ..peer }));
        if args.profiled.is_some() {
            case.contenders.extend(cases::profiled_in(case));
        }
        case.contenders.extend(cases::peers_in(case, &programs));
    }
    Ok(notes)
}

fn publish(report: &Report, args: &BenchArgs) -> Result<(), BenchError> {
    let outcomes = targets::evaluate(report);
    let page = markdown::markdown(report, &outcomes);
    let mut files = vec![
        (args.out.join("bench.json"), format!("{:#}\n", json::json(report, &outcomes))),
        (args.out.join("bench.svg"), svg::svg(report)),
        (args.out.join("performance.md"), page.clone()),
    ];
    if args.write_docs {
        let docs = binaries::checkout().join("docs/performance.md");
        let kept = std::fs::read_to_string(&docs).unwrap_or_default();
        files.push((docs, merge::merged(&page, &kept)));
    }
    let mut written = Vec::new();
    for (path, text) in files {
        write(&path, &text)?;
        written.push(path.display().to_string());
    }
    terminal::summary(report, &outcomes, &written);
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| BenchError::Write { path: path.display().to_string(), source })
}

pub(crate) fn machine() -> String {
    let cores = proc::cores().map_or(0, |cores| cores.len());
    let redis = Part::Redis.version().unwrap_or_else(|| "of unknown version".to_owned());
    format!("{cores} cores of {}, Redis {redis}", proc::model_name())
}

/// As it was typed, but for the path.
fn command_line() -> String {
    let words = env::args().skip(1);
    std::iter::once("lab".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

pub(crate) fn today() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    date.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
