//! `tollgate simulate`: what limits would have done with the requests of an access log.
//!
//! The lines are replayed in the order of their times, on a clock that they move, by the rules that serve and on the
//! buckets of the memory store. Nothing is asked of a network. Memory grows with the number of keys, up to a bound, and
//! not with the number of lines.

mod changes;
mod flags;
mod log;
mod making;
mod packed;
mod progress;
mod report;
mod run;
mod side;
mod suggest;
mod tally;
mod timeline;
mod windows;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::{
    config::{ConfigErrors, envoy::NoChoice},
    error::SystemError,
};
use flags::{LogFlags, MakingFlags, RuleFlags, SuggestFlags};
pub use log::NotAPattern;
use tollgate_core::limit::LimitError;

// clap wraps these lines.
const EXAMPLES: &str = "\
Exit status: 0 when all logs were read; 3 when one of them was cut short, and what came before it ends was counted; 1 if \
a log cannot be opened or has no line that can be used, or if the output cannot be written; 2 if the command line or a \
limits file is wrong.

A log is read as JSON where a line begins with {, and else by --pattern. Keys have the names that they have in the \
decision log of `tollgate serve`; --show-values shows what clients sent.

Examples:
  tollgate simulate --config limits.yaml access.log
  tollgate simulate --config new.yaml --against limits.yaml --html changes.html access.log.1.gz access.log
  tollgate simulate --config limits.yaml --envoy envoy.yaml access.json
  tollgate simulate --config limits.yaml --descriptor api_key=x-api-key access.json
  kubectl logs deploy/envoy | tollgate simulate --config limits.yaml -
  tollgate simulate --suggest --descriptor remote_address=downstream_remote_address --unit minute access.json";

/// Try limits on the requests of an access log of Envoy.
///
/// It tells who would have been denied, when, and by which limit; with --against, what changes between two limits files;
/// and what fixed windows of the same numbers would have let through. With --suggest it proposes limits instead.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Simulate {
    /// Access logs, gzipped or not; - is standard input. Several are merged by time.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,

    #[command(flatten)]
    rules: RuleFlags,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,

    /// The same as --format json.
    #[arg(long)]
    json: bool,

    /// Also write one HTML page, with plots, to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "suggest")]
    html: Option<PathBuf>,

    /// Number of keys that are listed, those denied most often.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    top: u16,

    /// Show the values of denied keys as they are in the log, and not their digests.
    #[arg(long)]
    show_values: bool,

    #[command(flatten)]
    log: LogFlags,

    #[command(flatten)]
    making: MakingFlags,

    #[command(flatten)]
    suggest: SuggestFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people; with --suggest, a limits file.
    Text,
    /// One JSON object.
    Json,
}

/// Why there is no simulation.
#[derive(Debug, Error)]
pub enum SimulateError {
    /// A limits file, or the Envoy configuration, has errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The limits files have several domains, or none, and none was named.
    #[error("name the domain by --domain: {}", if .0.is_empty() { "the limits files have none".to_owned() } else { format!("the limits files have {}", .0.join(", ")) })]
    WhichDomain(Vec<String>),
    /// Nothing says how descriptors are made.
    #[error(
        "nothing says how descriptors are made of a request: give Envoy's configuration by --envoy, or name the fields of \
         the log by --descriptor, such as --descriptor api_key=x-api-key; `authz` in a limits file says it too, and {0}"
    )]
    NoWay(&'static str),
    /// The Envoy configuration does not say what becomes of requests.
    #[error("{}", .file.display())]
    Envoy {
        /// The path of the configuration.
        file: PathBuf,
        /// What it lacks.
        source: NoChoice,
    },
    /// The pattern is none.
    #[error("--pattern")]
    Pattern(#[source] NotAPattern),
    /// No limit of the ladder can have that burst.
    #[error("--burst")]
    Burst(#[source] LimitError),
    /// `-` stands twice among the logs.
    #[error("standard input can be read only once: write - once")]
    StdinTwice,
    /// A log could not be opened.
    #[error("cannot read {}", .log.display())]
    Open {
        /// Its path.
        log: PathBuf,
        /// Why.
        source: SystemError,
    },
    /// There is no line that can be used.
    #[error("no line of the logs can be used: {0}")]
    NoRequests(String),
    /// A field is named that no line has.
    #[error("no line has the field {}; the log has: {known}", .unknown.join(", "))]
    NoSuchField {
        /// The names that were given.
        unknown: Vec<String>,
        /// Those that there are.
        known: String,
    },
    /// The page could not be written.
    #[error("cannot write {}", .file.display())]
    Html {
        /// Its path.
        file: PathBuf,
        /// Why.
        source: SystemError,
    },
    /// The result could not be printed.
    #[error("cannot write to stdout")]
    Stdout(#[source] SystemError),
}

impl SimulateError {
    /// 1 for logs and output that cannot be used, and 2 for a command line or a file of rules that is wrong.
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            SimulateError::Open { .. }
            | SimulateError::NoRequests(_)
            | SimulateError::NoSuchField { .. }
            | SimulateError::Html { .. }
            | SimulateError::Stdout(_) => 1,
            _ => 2,
        }
    }
}

// === impl Simulate ===

impl Simulate {
    pub(super) fn run(&self) -> Result<ExitCode, SimulateError> {
        if self.logs.iter().filter(|path| path.as_path() == Path::new("-")).count() > 1 {
            return Err(SimulateError::StdinTwice);
        }
        if self.suggest.suggest { self.run_suggest() } else { self.run_limits() }
    }

    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}
