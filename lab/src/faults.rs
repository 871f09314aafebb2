//! `lab faults`: each fault, the promise made for it and the measurement, with real processes.
//!
//! Each scenario makes its faults happen and yields [`Row`]s; a promise that is not kept fails the run. The table
//! goes to the terminal, to `target/faults/` and into `docs/faults.md`.

mod asker;
mod authz;
mod cardinality;
mod clock;
mod cluster;
mod eviction;
mod hammer;
mod leases;
mod ledger;
mod legs;
mod loss;
mod nodes;
mod outage;
mod page;
mod proxy;
mod replicas;
mod replies;
mod roundtrip;
mod sentinel;
mod shares;
mod simulation;
mod stack;
mod trial;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::{
    bench::{proc::ProcError, resp::RespError},
    binaries::{BinaryError, checkout},
    envoy::EnvoyError,
    http::HttpError,
    process::ProcessError,
    redis::RedisError,
};

#[derive(Debug, Args)]
#[command(about = "Break Redis, Tollgate and clocks, and measure whether each promise is kept")]
pub struct FaultsArgs {
    /// Run only these scenarios, and leave the table in docs/faults.md unchanged
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Length of the simulation
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    simulate: u64,
}

/// In the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Redis is killed or stopped behind three nodes and three replicas
    Outage,
    /// Redis, and then Tollgate, is away behind nodes that ask by ext_authz
    Authz,
    /// Latency that the round trip to Redis adds to a request
    Roundtrip,
    /// Redis refuses, sends wrong replies or does not answer
    Replies,
    /// Redis loses its data
    Loss,
    /// A Redis Cluster is re-sharded, fails over, and loses links
    Cluster,
    /// Sentinels replace a master that was killed or stopped
    Sentinel,
    /// The clock of Redis steps
    Clock,
    /// Replicas of Tollgate stop and die
    Replicas,
    /// Redis and replicas end while leases are held
    Leases,
    /// Five million keys
    Cardinality,
    /// Everything at once, in virtual time
    Simulation,
}

#[derive(Debug, Error)]
pub enum FaultsError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Demand(#[from] RespError),
    #[error(transparent)]
    Binary(#[from] BinaryError),
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error("cannot connect to Tollgate")]
    Connect(#[from] tonic::transport::Error),
    #[error("Tollgate does not use Redis after {0} s")]
    NotHealed(u64),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("{0}")]
    Unreadable(String),
}

/// One line of the matrix: not kept unless [`Row::kept_if`] finds that it was.
#[derive(Debug, Clone)]
pub struct Row {
    fault: String,
    promise: String,
    measured: String,
    kept: bool,
}

impl Row {
    fn new(fault: impl Into<String>) -> Row {
        Row { fault: fault.into(), promise: String::new(), measured: String::new(), kept: false }
    }

    fn promised(self, promise: impl Into<String>) -> Row {
        Row { promise: promise.into(), ..self }
    }

    fn measured(self, measured: impl Into<String>) -> Row {
        Row { measured: measured.into(), ..self }
    }

    fn kept_if(self, kept: bool) -> Row {
        Row { kept, ..self }
    }
}

/// All rows, grouped by scenario.
#[derive(Debug, Default)]
pub struct Matrix {
    sections: Vec<(&'static str, Vec<Row>)>,
    took_s: u64,
}

impl Matrix {
    pub fn rows(&self) -> usize {
        self.all().count()
    }

    /// Promises that were not kept.
    pub fn broken(&self) -> usize {
        self.all().filter(|row| !row.kept).count()
    }

    pub fn text(&self) -> String {
        self.all().map(|row| page::line(row) + "\n").collect()
    }

    fn all(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|(_, rows)| rows)
    }
}

impl FaultsArgs {
    pub fn only(scenarios: &[Scenario]) -> FaultsArgs {
        FaultsArgs { only: scenarios.to_vec(), simulate: 0 }
    }
}

/// Exits with 1 if a promise was not kept.
pub async fn run(args: &FaultsArgs) -> Result<ExitCode, FaultsError> {
    let matrix = measure(args).await?;
    let page = page::markdown(&matrix);
    let out = checkout().join("target/faults/faults.md");
    write(&out, &page)?;
    if args.only.is_empty() {
        let docs = checkout().join("docs/faults.md");
        let text = fs::read_to_string(&docs).map_err(|source| failed(&docs, source))?;
        write(&docs, &page::put_into(&text, &page))?;
    }
    let (rows, broken) = (matrix.rows(), matrix.broken());
    println!("{} of {rows} promises kept; {}", rows - broken, out.display());
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the scenarios, and prints each row as soon as its scenario is over.
pub async fn measure(args: &FaultsArgs) -> Result<Matrix, FaultsError> {
    let started = Instant::now();
    let mut matrix = Matrix::default();
    let is_asked = |scenario: &&Scenario| args.only.is_empty() || args.only.contains(scenario);
    for scenario in Scenario::value_variants().iter().filter(is_asked) {
        eprintln!("· {}", scenario.title());
        let rows = scenario.run(args).await?;
        for row in &rows {
            println!("{}", page::line(row));
        }
        matrix.sections.push((scenario.title(), rows));
    }
    matrix.took_s = started.elapsed().as_secs();
    Ok(matrix)
}

impl Scenario {
    const fn title(self) -> &'static str {
        match self {
            Scenario::Outage => "The store is away: three nodes, three replicas on default settings",
            Scenario::Authz => "The same, asked by ext_authz",
            Scenario::Roundtrip => "What the round trip costs",
            Scenario::Replies => "The store misbehaves",
            Scenario::Loss => "The store loses what it held",
            Scenario::Cluster => "The store is a Redis Cluster of three masters",
            Scenario::Sentinel => "The store is a Redis that three Sentinels watch",
            Scenario::Clock => "The store's clock steps",
            Scenario::Replicas => "Tollgate itself stops",
            Scenario::Leases => "With leases",
            Scenario::Cardinality => "Five million keys",
            Scenario::Simulation => "Everything at once, in virtual time",
        }
    }

    async fn run(self, args: &FaultsArgs) -> Result<Vec<Row>, FaultsError> {
        match self {
            Scenario::Outage => outage::rows().await,
            Scenario::Authz => authz::rows().await,
            Scenario::Roundtrip => roundtrip::rows().await,
            Scenario::Replies => replies::rows().await,
            Scenario::Loss => loss::rows().await,
            Scenario::Cluster => cluster::rows().await,
            Scenario::Sentinel => sentinel::rows().await,
            Scenario::Clock => clock::rows().await,
            Scenario::Replicas => replicas::rows().await,
            Scenario::Leases => leases::rows().await,
            Scenario::Cardinality => cardinality::rows().await,
            Scenario::Simulation => simulation::rows(args.simulate).await,
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), FaultsError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, text)).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> FaultsError {
    FaultsError::Io { what: path.display().to_string(), source }
}

/// Writes a limits file for one scenario.
fn limits_file(name: &str, text: &str) -> Result<PathBuf, FaultsError> {
    let path = crate::process::run_folder()?.join(format!("{name}.yaml"));
    write(&path, text)?;
    Ok(path)
}
