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
pub(super) mod watched;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum, builder::PathBufValueParser};
use thiserror::Error;

use super::{
    months::CalendarMonths,
    serve::{Deciding, Headers, ServeError},
    store::{StoreFlags, WrongStore},
    values::Item,
    variables::Origins,
};
use crate::{
    config::{
        self, ConfigErrors,
        envoy::{self, NoChoice},
    },
    error::SystemError,
    store::{Backend, TargetError, redis::look::LookError},
};
use deciding::Levels;
use descriptors::{Asked, NotDescriptors};
use report::Report;
use request::RequestFlags;
use told::Serving;
use tollgate_core::{
    actions::HttpRequest,
    descriptor::BadRequest,
    limit::{DefaultAlgorithm, Defaults},
    matcher::Matcher,
};

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

    /// Algorithm where neither the limit nor its domain has `algorithm`; give the same as to `tollgate serve`.
    #[arg(long, env = "TOLLGATE_DEFAULT_ALGORITHM", value_name = "ALGORITHM", default_value = "by_period")]
    default_algorithm: DefaultAlgorithm,

    #[command(flatten)]
    calendar_months: CalendarMonths,

    /// Domain of the request [default: the only one in the limits files; for --request, the one with `authz`, or that of
    /// the filter in --envoy].
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// Entries of the descriptor, in their order; a lone + begins another descriptor of the same request.
    #[arg(required_unless_present = "request", conflicts_with_all = request::FLAGS, value_name = "KEY=VALUE")]
    entries: Vec<String>,

    /// Hits that each descriptor asks for; 0 only looks whether one would fit.
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with = "request")]
    hits: u64,

    #[command(flatten)]
    store: StoreFlags,

    /// How to print the explanation.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    request: RequestFlags,

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
    /// A file has errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The arguments are no descriptors.
    #[error(transparent)]
    Descriptors(#[from] NotDescriptors),
    /// The limits files have several domains, or none, and none was named.
    #[error("name the domain by --domain: {}", if .0.is_empty() { "the limits files have none".to_owned() } else { format!("the limits files have {}", .0.join(", ")) })]
    WhichDomain(Vec<String>),
    /// There are no lists of actions that could make descriptors of a request.
    #[error(
        "without --envoy, the descriptors of a request are made by `authz` in a limits file, and no domain has it, or \
         several have and --domain names none of these"
    )]
    NoAuthz,
    /// The Envoy configuration does not say what becomes of the request.
    #[error("{}", .file.display())]
    Envoy {
        /// The path of the configuration.
        file: PathBuf,
        /// What it lacks.
        source: NoChoice,
    },
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
        let defaults = Defaults { algorithm: self.default_algorithm, month: self.calendar_months.windows() };
        let config = config::load(&self.config, defaults).map_err(|refused| refused.errors)?;
        let matcher = Matcher::new(config.domains);
        let asked = match self.request.read(|request| self.made(&matcher, request)) {
            Some(made) => made?,
            None => Asked::from_arguments(domain(self.domain.as_ref(), &matcher)?, &self.entries, self.hits)?,
        };
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

    /// The descriptors of a request, made as Envoy or a `Check` makes them.
    fn made(&self, matcher: &Matcher, request: &HttpRequest<'_>) -> Result<Asked, ExplainError> {
        match &self.request.envoy {
            Some(file) => self.made_by_envoy(file, request),
            None => self.made_by_authz(matcher, request),
        }
    }

    fn made_by_envoy(&self, path: &Path, request: &HttpRequest<'_>) -> Result<Asked, ExplainError> {
        let file = envoy::load(path)?;
        let choice = file.choose(request, self.request.route.as_deref());
        let choice = choice.map_err(|source| ExplainError::Envoy { file: path.to_owned(), source })?;
        let (made, descriptors) = making::by_envoy(path, &choice, request);
        let domain = self.domain.clone().unwrap_or_else(|| choice.domain.to_owned());
        Ok(Asked { domain, descriptors, made: Some(made) })
    }

    fn made_by_authz(&self, matcher: &Matcher, request: &HttpRequest<'_>) -> Result<Asked, ExplainError> {
        let named = request.context_extensions.iter().find(|extension| extension.name == b"domain");
        let named = named.map(|extension| String::from_utf8_lossy(extension.value).into_owned());
        let only = || matcher.authz_domain().map(str::to_owned);
        let domain = self.domain.clone().or(named).or_else(only).ok_or(ExplainError::NoAuthz)?;
        let rules = matcher.domain(domain.as_bytes()).filter(|rules| !rules.authz.is_empty());
        let rules = rules.ok_or(ExplainError::NoAuthz)?;
        let (made, descriptors) = making::by_authz(rules, request);
        Ok(Asked { domain, descriptors, made: Some(made) })
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

/// The domain that is named, or else the only one.
fn domain(named: Option<&String>, matcher: &Matcher) -> Result<String, ExplainError> {
    if let Some(domain) = named {
        return Ok(domain.clone());
    }
    let mut names: Vec<String> = matcher.domains().map(str::to_owned).collect();
    names.sort_unstable();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(ExplainError::WhichDomain(names)),
    }
}

impl AsServe {
    fn serving(&self) -> Result<Serving, ServeError> {
        let AsServe { headers, deciding } = self;
        Ok(Serving {
            groups: headers.groups(&Origins::default())?,
            is_shadow: deciding.is_shadow()?,
            quota_mode: deciding.quota_mode()?,
        })
    }
}
