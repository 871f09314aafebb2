//! `tollgate explain`: which limits a request meets, and why those and no others.
//!
//! Nothing is decided here. The matcher that serves chooses the rules, the limiter that serves decides on copies of the
//! buckets, and the contract that serves writes the answer. So nothing is charged, and Redis is only read.

mod deciding;
mod descriptors;
mod json;
mod making;
mod report;
mod request;
mod text;
mod told;
mod wanted;
pub(super) mod watched;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum, builder::PathBufValueParser};
use thiserror::Error;

use super::{
    defaults::{DefaultFlags, LeaseFlag},
    serve::{Deciding, Headers, ServeError},
    store::{StoreFlags, WrongStore},
    values::Item,
    variables::Origins,
};
use crate::{
    config::{self, ConfigErrors},
    error::SystemError,
    store::{Backend, TargetError, redis::look::LookError},
};
use deciding::Levels;
pub(super) use descriptors::Asked;
use report::Report;
pub(super) use text::{reserved, shown};
use told::Serving;
use tollgate_core::{descriptor::BadRequest, matcher::Matcher};
pub use wanted::NotAsked;
pub(super) use wanted::Wanted;

// clap wraps these lines.
const EXAMPLES: &str = "\
Exit status: 0 if the request would be allowed; 1 if it would be denied; 3 if no limit applies to it; 2 if the command \
line, a limits file or the store cannot be used.

Nothing is charged, and nothing is written to Redis. The values are shown as they were typed.

Examples:
  tollgate explain --config limits.yaml route=login api_key=abc
  tollgate explain --config limits.yaml --store redis://127.0.0.1:6379 api_key=abc
  tollgate explain --config limits.yaml --domain edge route=login + remote_address=203.0.113.7
  tollgate explain --config limits.yaml --request 'POST /login' --header 'x-api-key: abc' --address 203.0.113.7
  tollgate explain --config limits.yaml --envoy envoy.yaml --request 'GET /' --header 'x-api-key: abc'";

/// Explain which limits a request meets, and why.
///
/// At each level it shows which pattern was chosen and why the others were not, then the limits that apply, their
/// buckets in Redis, and what the client would be told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// YAML file with limits, or a folder, as for `tollgate serve`.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "PATH", value_delimiter = ',', required = true,
        value_parser = Item(PathBufValueParser::new()))]
    config: Vec<PathBuf>,

    #[command(flatten)]
    defaults: DefaultFlags,

    #[command(flatten)]
    wanted: Wanted,

    /// Hits that each descriptor asks for; 0 only looks whether one would fit.
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with = "request")]
    hits: u64,

    #[command(flatten)]
    store: StoreFlags,

    /// How to print the explanation.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    as_serve: AsServe,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "As tollgate serve was started")]
struct AsServe {
    #[command(flatten)]
    headers: Headers,

    #[command(flatten)]
    deciding: Deciding,

    #[command(flatten)]
    lease: LeaseFlag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people.
    Text,
    /// One JSON object.
    Json,
}

/// Why there is no explanation.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// A flag that `serve` has too is wrong.
    #[error(transparent)]
    Flag(#[from] ServeError),
    /// A limits file has errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The flags name no request.
    #[error(transparent)]
    Asked(#[from] NotAsked),
    /// The address of the store, or a file for it, is wrong.
    #[error("{origin}")]
    Store {
        /// The flag.
        origin: String,
        /// What is wrong.
        source: TargetError,
    },
    /// The store could not be read.
    #[error("cannot read the buckets from {store}")]
    Look {
        /// Its address, without a password.
        store: String,
        /// What went wrong.
        source: LookError,
    },
    /// `tollgate serve` would refuse the request as well.
    #[error("the request would be refused as INVALID_ARGUMENT")]
    BadRequest(#[from] BadRequest),
    /// No runtime could be started.
    #[error("cannot start")]
    Runtime(#[source] SystemError),
    /// The explanation could not be printed.
    #[error("cannot write to stdout")]
    Stdout(#[source] SystemError),
}

// === impl Explain ===

impl Explain {
    pub(super) fn run(&self) -> Result<ExitCode, ExplainError> {
        let defaults = self.as_serve.lease.defaults(self.defaults);
        let config = config::load(&self.config, defaults).map_err(|refused| refused.errors)?;
        let matcher = Matcher::new(config.domains);
        let asked = self.wanted.asked(Some(&matcher), self.hits)?;
        let (levels, serving) = (self.levels()?, self.as_serve.serving()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ExplainError::Runtime(error.into()))?;
        let report = runtime.block_on(Report::new(&matcher, asked, &levels, &serving))?;
        let text = match self.format {
            Format::Text => text::text(&report),
            Format::Json => json::json(&report),
        };
        let printed = io::stdout().write_all(text.as_bytes());
        printed.map_err(|error| ExplainError::Stdout(error.into()))?;
        Ok(ExitCode::from(report.status()))
    }

    fn levels(&self) -> Result<Levels, ExplainError> {
        let Some(url) = self.store.store.as_ref().filter(|url| !url.is_memory()) else {
            return Ok(Levels::Full);
        };
        let backend = self.store.backend(0, &Origins::default());
        match backend.map_err(|WrongStore { origin, source }| ExplainError::Store { origin, source })? {
            Backend::Memory(_) => Ok(Levels::Full),
            Backend::Redis(backend) => Ok(Levels::Live { store: url.to_string(), backend }),
        }
    }
}

impl AsServe {
    fn serving(&self) -> Result<Serving, ServeError> {
        let AsServe { headers, deciding, .. } = self;
        Ok(Serving {
            groups: headers.groups(&Origins::default())?,
            is_shadow: deciding.is_shadow()?,
            quota_mode: deciding.quota_mode()?,
        })
    }
}
