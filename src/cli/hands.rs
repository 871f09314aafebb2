//! `tollgate peek`, `reset` and `grant`: an operator's acts on the buckets of one key, in Redis or by way of a running
//! Tollgate.

mod error;
mod reached;
mod remote;
mod text;

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
};

use super::{
    defaults::DefaultFlags,
    explain::Wanted,
    store::{StoreFlags, WrongStore},
    values::Item,
    variables::Origins,
};
use crate::{
    admin,
    config::{self, ConfigErrors},
    hands::{Report, json},
    store::Backend,
};
use clap::{Args, ValueEnum, builder::PathBufValueParser};
pub use error::ActError;
use reached::{Reached, Way};
use remote::AdminUrl;
use tollgate_core::{act::Act, matcher::Matcher};

// clap wraps these lines.
const EXAMPLES: &str = "\
Exit status: 0 if it was done; 3 if no limit applies to the key; 1 if you were asked and said no; 2 for anything else.

Examples:
  tollgate peek --config limits.yaml --store redis://127.0.0.1:6379 api_key=abc
  tollgate reset --config limits.yaml --store redis://127.0.0.1:6379 --domain edge route=login + api_key=abc
  tollgate grant --hits 100 --admin http://127.0.0.1:8080 --admin-token-file token api_key=abc
  tollgate peek --config limits.yaml --store redis://127.0.0.1:6379 --request 'GET /' --header 'x-api-key: abc'";

/// Show what is left in the buckets of one key, and when the next request passes.
///
/// It changes nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Peek {
    #[command(flatten)]
    key: Key,
}

/// Fill the buckets of one key.
///
/// Running replicas that deny the key from memory notice within a second. Over any interval, each reset lets one more burst
/// pass.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Reset {
    /// Do not ask.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    key: Key,
}

/// Give hits back to the buckets of one key, up to full ones.
///
/// Running replicas that deny the key from memory notice within a second. Over any interval, each grant lets at most its
/// hits pass in addition.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Grant {
    /// Hits to give back to each bucket.
    #[arg(long, value_name = "COUNT")]
    hits: NonZeroU64,

    #[command(flatten)]
    key: Key,
}

#[derive(Debug, Args)]
struct Key {
    /// YAML file with limits, or a folder, as for `tollgate serve`. With --admin, the limits are those of that process.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "PATH", value_delimiter = ',',
        value_parser = Item(PathBufValueParser::new()))]
    config: Vec<PathBuf>,

    #[command(flatten)]
    defaults: DefaultFlags,

    #[command(flatten)]
    wanted: Wanted,

    /// Only the bucket of this limit: its label, or the key in Redis, as peek shows them [default: all of the key].
    #[arg(long, value_name = "LIMIT")]
    limit: Option<String>,

    /// Admin port of a running Tollgate that does it, such as http://127.0.0.1:8080, instead of --store.
    #[arg(long, value_name = "URL")]
    admin: Option<AdminUrl>,

    /// File with the token that this Tollgate was given by its own --admin-token-file.
    #[arg(long, env = "TOLLGATE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,

    #[command(flatten)]
    store: StoreFlags,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people.
    Text,
    /// One JSON object.
    Json,
}

// === impl Peek, Reset, Grant ===

impl Peek {
    pub(super) fn run(&self) -> Result<ExitCode, ActError> {
        self.key.act_and_print(Act::Peek)
    }
}

impl Reset {
    pub(super) fn run(&self) -> Result<ExitCode, ActError> {
        let reached = self.key.reach()?;
        if !self.yes {
            if !io::stdin().is_terminal() {
                return Err(ActError::NobodyToAsk);
            }
            let there = reached.act(Act::Peek)?;
            let shown = text::text(&there, &reached.asked, Act::Peek, reached.told());
            if !confirmed(&format!("{shown}\nFill {}? [y/N] ", text::buckets(&there))) {
                return Err(ActError::Declined);
            }
        }
        self.key.print(&reached.act(Act::Reset)?, &reached, Act::Reset)
    }
}

impl Grant {
    pub(super) fn run(&self) -> Result<ExitCode, ActError> {
        self.key.act_and_print(Act::Grant(self.hits))
    }
}

/// Asks on stderr, since stdout is for the result.
fn confirmed(question: &str) -> bool {
    let asked = io::stderr().write_all(question.as_bytes());
    let mut line = String::new();
    asked.is_ok()
        && io::stdin().lock().read_line(&mut line).is_ok()
        && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

// === impl Key ===

impl Key {
    fn act_and_print(&self, act: Act) -> Result<ExitCode, ActError> {
        let reached = self.reach()?;
        self.print(&reached.act(act)?, &reached, act)
    }

    fn print(&self, report: &Report, reached: &Reached, act: Act) -> Result<ExitCode, ActError> {
        let text = match self.format {
            Format::Text => text::text(report, &reached.asked, act, reached.told()),
            Format::Json => json::write(report),
        };
        let printed = io::stdout().write_all(text.as_bytes());
        printed.map_err(|error| ActError::Stdout(error.into()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn reach(&self) -> Result<Reached, ActError> {
        let matcher = self.matcher()?;
        let asked = self.wanted.asked(matcher.as_ref(), 1)?;
        let way = match &self.admin {
            Some(url) => {
                let file = self.admin_token_file.as_deref().ok_or(ActError::NoToken)?;
                Way::Admin { url: url.clone(), token: admin::token_in(file)? }
            }
            None => self.redis(matcher)?,
        };
        Ok(Reached { asked, limit: self.limit.clone(), way })
    }

    fn redis(&self, matcher: Option<Matcher>) -> Result<Way, ActError> {
        let url = self.store.store.as_ref().filter(|url| !url.is_memory()).ok_or(ActError::Nowhere)?;
        let matcher = matcher.ok_or(ActError::NoConfig)?;
        let backend = self.store.backend(0, &Origins::default());
        match backend.map_err(|WrongStore { origin, source }| ActError::Store { origin, source })? {
            Backend::Memory(_) => Err(ActError::Nowhere),
            Backend::Redis(backend) => Ok(Way::Redis { matcher, store: url.to_string(), backend }),
        }
    }

    fn matcher(&self) -> Result<Option<Matcher>, ConfigErrors> {
        if self.config.is_empty() {
            return Ok(None);
        }
        let config =
            config::load(&self.config, self.defaults.defaults()).map_err(|refused| refused.errors)?;
        Ok(Some(Matcher::new(config.domains)))
    }
}
