//! `tollgate serve`: its flags, and the wiring of the service.

use std::{
    collections::HashSet, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, thread,
    time::Duration,
};

use clap::{
    ArgAction, Args,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use thiserror::Error;
use tracing::{info, warn};

use super::StoreUrl;
use crate::{
    admin::Admin,
    config::{self, ConfigErrors},
    duration,
    error::SystemError,
    limiter::Limiter,
    logging::{self, LoggingError},
    matcher::Matcher,
    metrics::Metrics,
    reload::{Reloader, Rollout},
    resilience::OnStoreFailure,
    response::{Contract, Group, Jitter},
    rls::Rls,
    server::{self, Server, ServerError},
    store::{Backend, TargetError},
};

const EXAMPLES: &str = "\
Lists take commas, or the flag again. A first SIGTERM or Ctrl-C drains, a second ends at once.
The line \"listening grpc=… admin=… store=…\" tells which ports were really bound.

Examples:
  tollgate serve --config limits.yaml
  tollgate serve --config edge.yaml,internal.yaml --store redis://:password@10.0.0.7:6379
  TOLLGATE_CONFIG=limits.yaml TOLLGATE_LOG_FORMAT=json tollgate serve --grpc-listen 0.0.0.0:8081";

/// Answer Envoy's rate-limit requests.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// YAML file with the limits of one domain or several.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE", value_delimiter = ',', required = true)]
    config: Vec<PathBuf>,

    /// Where buckets live: memory, or redis://[user:password@]host[:port][/database] [default: memory]
    ///
    /// In memory they last as long as the process, and each replica counts for itself.
    #[arg(long, env = "TOLLGATE_STORE", value_name = "STORE", hide_env_values = true)]
    store: Option<StoreUrl>,

    /// Whether keys that Redis would deny are denied from memory: on or off.
    ///
    /// The same requests pass either way; off is for comparing.
    #[arg(long, env = "TOLLGATE_MEMO", value_name = "SWITCH", default_value = "on",
        hide_possible_values = true, action = ArgAction::Set, value_parser = switch())]
    memo: bool,

    #[command(flatten)]
    when_store_fails: WhenStoreFails,

    #[command(flatten)]
    answers: Answers,

    #[command(flatten)]
    process: Process,

    #[command(flatten)]
    logs: Logs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "When the store does not answer")]
struct WhenStoreFails {
    /// How long to wait for the store's answer.
    #[arg(long, env = "TOLLGATE_STORE_DEADLINE", value_name = "TIME", default_value = "10ms",
        value_parser = positive_duration)]
    store_deadline: Duration,

    /// What a request is told then; with error Envoy's failure_mode_deny decides.
    #[arg(long, env = "TOLLGATE_ON_STORE_FAILURE", value_name = "ANSWER", default_value = "error",
        value_parser = on_store_failure())]
    on_store_failure: OnStoreFailure,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What clients are told")]
struct Answers {
    /// Which groups of headers to send: retry-after, ratelimit, ratelimit-structured, problem-body; or none.
    #[arg(long, env = "TOLLGATE_HEADERS", value_name = "GROUP", value_delimiter = ',',
        default_value = "retry-after,ratelimit,problem-body", hide_possible_values = true,
        value_parser = HEADER_GROUPS)]
    headers: Vec<String>,

    /// Share of the wait, 0 to 1, up to which Retry-After is raised at random, so that clients do not return
    /// together.
    #[arg(long, env = "TOLLGATE_JITTER", value_name = "SHARE", default_value = "0.2")]
    jitter: Jitter,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
struct Process {
    /// Where Envoy connects; port 0 takes any free one.
    #[arg(long, env = "TOLLGATE_GRPC_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8081")]
    grpc_listen: SocketAddr,

    /// HTTP for operators: /healthcheck and /metrics.
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    admin_listen: SocketAddr,

    /// Threads that decide, each with a runtime of its own; at most 1024 [default: one per core].
    #[arg(long, env = "TOLLGATE_RUNTIMES", value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    runtimes: Option<u16>,

    /// How long to go on answering what is in flight after SIGTERM, before connections are cut.
    #[arg(long, env = "TOLLGATE_DRAIN_TIMEOUT", value_name = "TIME", default_value = "10s",
        value_parser = duration::parse)]
    drain_timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs (to stderr)")]
struct Logs {
    /// text or json, one object a line.
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT", default_value = "text",
        hide_possible_values = true, value_parser = log_format())]
    log_format: logging::Format,

    /// error, warn, info, debug or trace, or a filter such as tollgate=debug,h2=warn [default: RUST_LOG, else
    /// info].
    #[arg(long, env = "TOLLGATE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Error)]
pub enum ServeError {
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("--store {url}")]
    Store { url: StoreUrl, source: TargetError },
    #[error("--headers none goes with no other group")]
    HeadersNoneAndMore,
    #[error("--headers names {name} twice")]
    HeadersTwice { name: String },
    #[error("cannot start the thread that follows the configuration")]
    Reloader(#[source] SystemError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

// === impl ServeError ===

impl ServeError {
    /// Whether what was typed makes no sense by itself, whatever the machine and its files are like.
    pub fn is_misuse(&self) -> bool {
        match self {
            ServeError::HeadersNoneAndMore | ServeError::HeadersTwice { .. } => true,
            ServeError::Logging(error) => !matches!(error, LoggingError::Installed(_)),
            ServeError::Config(_)
            | ServeError::Store { .. }
            | ServeError::Reloader(_)
            | ServeError::Server(_) => false,
        }
    }
}

// === impl Serve ===

impl Serve {
    pub(super) fn run(&self) -> Result<(), ServeError> {
        logging::init(self.logs.log_format, self.logs.log_level.as_deref())?;
        let contract = self.answers.contract()?;
        let backend = self.backend()?;
        let config = config::load(&self.config)?;
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let matcher = Matcher::new(config.domains.clone());
        let loaded = Loaded { rules: matcher.limits().len(), domains: config.domains.len() };
        let metrics = Arc::new(Metrics::new());
        let rollout = Arc::new(Rollout::new(matcher, contract, Arc::clone(&metrics)));
        let _reloader = Reloader::start(self.config.clone(), &config, Arc::clone(&rollout))
            .map_err(ServeError::Reloader)?;

        let server = Server::bind(self.process.options())?;
        server.stop_on_signals()?;
        let admin = Admin::new(server.lifecycle(), Arc::clone(&metrics));
        let deadline = self.when_store_fails.store_deadline;
        let on_failure = self.when_store_fails.on_store_failure;
        let addresses = server.addresses();
        let started = server.start(move || {
            let limiter = Limiter::new(backend.open(deadline), on_failure);
            Rls::new(limiter, rollout.enlist(), Arc::clone(&metrics))
        })?;
        self.announce(addresses, loaded);
        started.serve(admin)?;
        Ok(())
    }

    fn backend(&self) -> Result<Backend, ServeError> {
        let Some(url) = &self.store else { return Ok(Backend::memory()) };
        let backend = Backend::parse(url.secret());
        let backend = backend.map_err(|source| ServeError::Store { url: url.clone(), source })?;
        Ok(if self.memo { backend } else { backend.without_memo() })
    }

    /// Scripts read the first line: its words and their order are an interface.
    fn announce(&self, addresses: server::Addresses, Loaded { rules, domains }: Loaded) {
        let store = self.store.as_ref().map_or("memory".to_owned(), StoreUrl::to_string);
        let server::Addresses { grpc, admin } = addresses;
        info!(target: logging::START, %grpc, %admin, %store, rules, domains, "listening");
        if rules == 0 {
            warn!("no rule was loaded: every request passes");
        }
        if self.store.is_none() {
            info!(
                "no --store given: buckets live in this process's memory; they end with it, and no other \
                 replica sees them"
            );
        }
    }
}

/// What the configuration holds.
#[derive(Debug, Clone, Copy)]
struct Loaded {
    rules: usize,
    domains: usize,
}

impl Process {
    fn options(&self) -> server::Options {
        let asked = self.runtimes.and_then(|count| NonZeroUsize::new(count.into()));
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        server::Options {
            grpc_listen: self.grpc_listen,
            admin_listen: self.admin_listen,
            runtimes: asked.unwrap_or_else(cores),
            drain_timeout: self.drain_timeout,
        }
    }
}

impl Answers {
    fn contract(&self) -> Result<Contract, ServeError> {
        let mut seen = HashSet::new();
        if let Some(name) = self.headers.iter().find(|name| !seen.insert(*name)) {
            return Err(ServeError::HeadersTwice { name: name.clone() });
        }
        // All names but `none` are groups: clap has checked them.
        let groups: Vec<Group> = self.headers.iter().filter_map(|name| name.parse().ok()).collect();
        if groups.len() < self.headers.len() && self.headers.len() > 1 {
            return Err(ServeError::HeadersNoneAndMore);
        }
        Ok(Contract::new(groups, self.jitter))
    }
}

// === flags that clap cannot read by itself ===

const HEADER_GROUPS: [&str; 5] = ["retry-after", "ratelimit", "ratelimit-structured", "problem-body", "none"];

fn on_store_failure() -> impl TypedValueParser<Value = OnStoreFailure> {
    PossibleValuesParser::new(["deny", "allow", "error"]).map(|word| match word.as_str() {
        "deny" => OnStoreFailure::Deny,
        "allow" => OnStoreFailure::Allow,
        _ => OnStoreFailure::Error,
    })
}

fn switch() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|word| word == "on")
}

fn log_format() -> impl TypedValueParser<Value = logging::Format> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.as_str() {
        "json" => logging::Format::Json,
        _ => logging::Format::Text,
    })
}

/// A deadline of nothing would fail every request.
fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("must be above 0".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
