//! The command line of the lab: the demo, the stack by hand, and the measurements.

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use lab::{
    algorithms::{self, AlgorithmsArgs},
    bench::{
        self, BenchArgs,
        floor::{self, FloorArgs},
        load::{self, LoadArgs},
    },
    demo::{self, DemoError, Stack},
    faults::{self, FaultsArgs},
    handshakes::{self, HandshakesArgs},
};
use tollgate::error;

#[derive(Debug, Parser)]
#[command(
    about = "Measures Tollgate with real Envoy and Redis processes on 127.0.0.1, which end with it",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a per-node limiter and Tollgate under the same load, and report how much each admits
    ///
    /// The exit status is 0 if every claim was shown, 1 if one was refuted, and otherwise 3 if one was not proven.
    Demo {
        /// Folder for report.html and report.json
        #[arg(long, default_value = "target/demo")]
        out: PathBuf,
        /// Also write docs/demo.svg, the chart in the README
        #[arg(long)]
        write_docs: bool,
    },
    /// Run all variants in the foreground until Ctrl-C, and print commands that put load on them
    Up,
    Bench(Box<BenchArgs>),
    Algorithms(AlgorithmsArgs),
    Faults(FaultsArgs),
    Handshakes(HandshakesArgs),
    /// Serve without deciding anything; the benchmark starts this
    #[command(hide = true)]
    Floor(FloorArgs),
    /// Generate load; the benchmark starts this
    #[command(hide = true)]
    Load(LoadArgs),
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("lab: {}", error::chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Demo { out, write_docs } => {
            let docs = write_docs.then(|| lab::binaries::checkout().join("docs"));
            Ok(in_runtime(demo::run(&out, docs.as_deref()))??)
        }
        Command::Up => Ok(in_runtime(up())??),
        Command::Bench(args) => Ok(in_runtime(bench::run(&args))??),
        Command::Faults(args) => Ok(in_runtime(faults::run(&args))??),
        Command::Handshakes(args) => {
            in_runtime(handshakes::run(&args))??;
            Ok(ExitCode::SUCCESS)
        }
        Command::Algorithms(args) => {
            in_runtime(algorithms::run(&args))??;
            Ok(ExitCode::SUCCESS)
        }
        // The floor and the load generator start their own runtimes.
        Command::Floor(args) => {
            floor::run(&args)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Load(args) => {
            writeln!(io::stdout(), "{}", load::run(&args)?.json())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn in_runtime<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Runtime::new()?.block_on(future))
}

async fn up() -> Result<ExitCode, DemoError> {
    let stack = Stack::start().await?;
    print!("{}", demo::how_to_hammer(&stack));
    tokio::signal::ctrl_c().await.map_err(DemoError::Signal)?;
    Ok(ExitCode::SUCCESS)
}
