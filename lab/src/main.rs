//! The lab's own command line: the demo, the benchmark, and the stack by hand.

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
};
use tollgate::error;

#[derive(Debug, Parser)]
#[command(
    about = "Starts real Envoy, Redis and Tollgate processes on 127.0.0.1, and ends them",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the per-node limiter and Tollgate under the same load, and show what each let through
    ///
    /// Exits with 0 if all that is claimed was shown, 1 if something was refuted, 3 if something was not proven.
    Demo {
        /// Where report.html and report.json go
        #[arg(long, default_value = "target/demo")]
        out: PathBuf,
        /// Write the README's chart, docs/demo.svg, too
        #[arg(long)]
        write_docs: bool,
    },
    /// Keep both variants in the foreground until Ctrl-C, and print how to hammer them
    Up,
    Bench(Box<BenchArgs>),
    Algorithms(AlgorithmsArgs),
    Faults(FaultsArgs),
    /// The service that decides nothing, which a benchmark starts
    #[command(hide = true)]
    Floor(FloorArgs),
    /// The load generator, which a benchmark starts
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
        Command::Algorithms(args) => {
            in_runtime(algorithms::run(&args))??;
            Ok(ExitCode::SUCCESS)
        }
        // Both have runtimes of their own.
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
