//! Reads the command line, and runs what it asks for.
//!
//! Each subcommand has a module with its flags and a `run` that wires the parts together. Only [`Cli::run`] knows all
//! of them.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use thiserror::Error;

pub mod check;
mod defaults;
pub mod explain;
pub mod hands;
pub mod healthcheck;
mod ratelimit;
pub mod schema;
pub mod serve;
pub mod simulate;
mod store;
mod store_url;
pub mod top;
mod values;
mod variables;

pub use store_url::StoreUrl;

use crate::error::SystemError;
use check::Check;
use explain::{Explain, ExplainError};
use hands::{ActError, Grant, Peek, Reset};
use healthcheck::{Healthcheck, HealthcheckError};
use ratelimit::{Environment, Ratelimit, Translated};
use schema::Schema;
use serve::{Serve, ServeError};
use simulate::{Simulate, SimulateError};
use tollgate_prove::ProveArgs;
use top::{Top, TopError};
use variables::Origins;

const EXAMPLE: &str = "\
Example:
  tollgate serve --config limits.yaml --store redis://127.0.0.1:6379";

/// A rate-limit service for Envoy whose limit holds.
///
/// Many Envoy nodes ask one Tollgate, or several that share one Redis. A limit holds across all of them, and every
/// 429 response tells the client when to try again.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<Serve>),
    Ratelimit(Ratelimit),
    Check(Check),
    Explain(Box<Explain>),
    Peek(Box<Peek>),
    Reset(Box<Reset>),
    Grant(Box<Grant>),
    Simulate(Box<Simulate>),
    Schema(Schema),
    Prove(Box<ProveArgs>),
    Healthcheck(Healthcheck),
    Top(Top),
}

/// Why a subcommand failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// `serve` did not start, or did not end well.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// `explain` has nothing to explain.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// `peek`, `reset` or `grant` did nothing.
    #[error(transparent)]
    Act(#[from] ActError),
    /// `simulate` has nothing to show.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// `healthcheck` found the service unhealthy.
    #[error(transparent)]
    Healthcheck(#[from] HealthcheckError),
    /// `top` could not watch.
    #[error(transparent)]
    Top(#[from] TopError),
    /// The output could not be printed.
    #[error("cannot write to stdout")]
    Stdout(#[source] SystemError),
}

impl CliError {
    /// 2 for a command line that is wrong, as clap does; otherwise 1. For `explain` it is always 2, because 1 means that
    /// the request would be denied.
    pub fn exit_status(&self) -> u8 {
        match self {
            CliError::Explain(_) => 2,
            CliError::Act(error) => error.exit_status(),
            CliError::Simulate(error) => error.exit_status(),
            CliError::Serve(error) if error.is_misuse() => 2,
            CliError::Serve(_) | CliError::Healthcheck(_) | CliError::Top(_) | CliError::Stdout(_) => 1,
        }
    }
}

impl Cli {
    /// Reads `line`, which begins with the program's name, and the environment variables. The error is also how clap
    /// asks for help and version to be printed.
    ///
    /// If the program's name or the subcommand is `ratelimit`, the line is made of the variables of
    /// envoyproxy/ratelimit.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let line: Vec<OsString> = line.into_iter().collect();
        let Some(ignored) = ratelimit::ignored(&line) else { return Cli::parsed(&line, Origins::default()) };
        let translated = ratelimit::translate(&Environment::of_process(), ignored)
            .map_err(|refused| clap::Error::raw(ErrorKind::ValueValidation, format!("{refused}\n")))?;
        Cli::translated(translated)
    }

    fn translated(translated: Translated) -> Result<Cli, clap::Error> {
        let mut cli = Cli::parsed(&translated.line(), Origins::made_of(translated.origins()))?;
        if let Command::Serve(serve) = &mut cli.command {
            serve.told = Some(translated.told);
        }
        Ok(cli)
    }

    /// `origins` are those of flags in the line.
    fn parsed(line: &[OsString], origins: Origins) -> Result<Cli, clap::Error> {
        let matches = variables::matches(Cli::command(), line, &origins)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let (Command::Serve(serve), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
            serve.origins = origins.with_variables(matches);
        }
        Ok(cli)
    }

    /// Runs the subcommand to its end; `serve` ends after a signal. Returns the exit status.
    pub fn run(self) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Serve(serve) => serve.run()?,
            // `read` makes `serve` of it, unless help was asked for, which clap prints.
            Command::Ratelimit(_) => {}
            Command::Check(check) => return check.run().map_err(CliError::Stdout),
            Command::Explain(explain) => return Ok(explain.run()?),
            Command::Peek(peek) => return Ok(peek.run()?),
            Command::Reset(reset) => return Ok(reset.run()?),
            Command::Grant(grant) => return Ok(grant.run()?),
            Command::Simulate(simulate) => return Ok(simulate.run()?),
            Command::Schema(schema) => schema.run().map_err(CliError::Stdout)?,
            Command::Prove(args) => return Ok(tollgate_prove::run(*args)),
            Command::Healthcheck(healthcheck) => healthcheck.run()?,
            Command::Top(top) => return Ok(top.run()?),
        }
        Ok(ExitCode::SUCCESS)
    }
}
