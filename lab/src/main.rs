//! The lab's own command line: the demo, and the stack by hand.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use lab::demo::{self, DemoError, Stack};

#[derive(Debug, Parser)]
#[command(about = "Starts real Envoy, Redis and Tollgate processes on 127.0.0.1, and ends them")]
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
    },
    /// Keep both variants in the foreground until Ctrl-C, and print how to hammer them
    Up,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo { out } => demo::run(&out).await,
        Command::Up => up().await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("lab: {}", chain(&error));
        ExitCode::FAILURE
    })
}

async fn up() -> Result<ExitCode, DemoError> {
    let stack = Stack::start().await?;
    print!("{}", demo::how_to_hammer(&stack));
    tokio::signal::ctrl_c().await.map_err(DemoError::Signal)?;
    Ok(ExitCode::SUCCESS)
}

/// The error and what caused it, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
