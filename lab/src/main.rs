//! Starts the stack by hand.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use lab::topology::{Topology, Variant};
use tollgate::limit::{Limit, Unit};

#[derive(Debug, Parser)]
#[command(about = "Starts real Envoy, Redis and Tollgate processes, and ends them")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a stack in the foreground until Ctrl-C
    Up { variant: Stack },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stack {
    /// Three nodes that each count for themselves: 10 per second for each key and route
    Naive,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up { variant } => up(variant).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn up(stack: Stack) -> Result<(), Box<dyn Error>> {
    let variant = match stack {
        Stack::Naive => Variant::Naive(Limit::new(10, Unit::Second, None)?),
    };
    let topology = Topology::start(&variant).await?;
    print(&topology)?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn print(topology: &Topology) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "load balancer  http://{}", topology.addr())?;
    for (number, node) in (1..).zip(&topology.nodes) {
        writeln!(out, "node{number}          http://{}  admin http://{}", node.listen(), node.admin())?;
    }
    let pids: Vec<String> = topology.pids().iter().map(u32::to_string).collect();
    writeln!(out, "processes      {}", pids.join(" "))?;
    writeln!(out, "Ctrl-C ends them")
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
