//! The flags of `tollgate serve` by subject, and the options that they turn into.

mod headers;
mod metrics;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    thread,
    time::Duration,
};

use clap::{
    ArgAction, Args,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};

use super::{ServeError, reference};
use crate::{
    cli::{values, variables::Origins},
    logging,
    protocol::Modes,
    response::{Contract, Group, Jitter},
    server::{self, ConnectionLimits},
    store::memory::MOST_BUCKETS,
};
pub(in crate::cli) use headers::Headers;
pub(super) use metrics::MetricsFlags;
use tollgate_core::{applied::QuotaMode, duration, rules::OnStoreFailure};

#[derive(Debug, Args)]
#[command(next_help_heading = "When the store is unavailable")]
pub(super) struct WhenStoreFails {
    /// How long to wait for the store's answer.
    #[arg(long, env = "TOLLGATE_STORE_DEADLINE", value_name = "TIME", default_value = "10ms",
        value_parser = positive_duration)]
    pub(super) store_deadline: Duration,

    /// Answer for limits without `on_store_failure` when the store is unavailable: local, allow, deny or error.
    ///
    /// local decides by buckets in this process, each with this replica's share of the limit. Until the number of
    /// replicas is known, it answers as error does: with a gRPC error, for which Envoy's failure_mode_deny decides.
    #[arg(long, env = "TOLLGATE_ON_STORE_FAILURE", value_name = "ANSWER", default_value = "local",
        hide_possible_values = true, ignore_case = true, value_parser = on_store_failure())]
    pub(super) on_store_failure: OnStoreFailure,

    /// Number of replicas that share the store, for local answers [default: replicas count themselves in Redis].
    #[arg(long, env = "TOLLGATE_REPLICAS", value_name = "COUNT")]
    pub(super) replicas: Option<NonZeroU32>,

    /// Maximum number of buckets that this process keeps in memory, for the memory store or for local answers.
    #[arg(long, env = "TOLLGATE_MEMORY_BUCKETS", value_name = "COUNT", default_value_t = MOST_BUCKETS)]
    pub(super) memory_buckets: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Response headers and body")]
pub(super) struct Answers {
    #[command(flatten)]
    headers: Headers,

    /// Maximum share of the wait, from 0 to 1, that is added to Retry-After at random, so that clients do not all
    /// return at once.
    #[arg(long, env = "TOLLGATE_JITTER", value_name = "SHARE", default_value = "0.2")]
    jitter: Jitter,

    /// Maximum that --jitter adds to Retry-After, however long the wait is, in whole seconds; 0s adds nothing.
    #[arg(long, env = "TOLLGATE_JITTER_MOST", value_name = "TIME", default_value = "30s",
        value_parser = duration::parse)]
    jitter_most: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Switches for all limits")]
pub(super) struct Switches {
    #[command(flatten)]
    deciding: Deciding,

    /// Send dynamic metadata: the descriptors, and for those that passed their rules' metadata. The variable
    /// RESPONSE_DYNAMIC_METADATA does the same.
    #[arg(long, env = "TOLLGATE_DYNAMIC_METADATA", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = values::switch)]
    dynamic_metadata: Option<bool>,
}

/// The switches that change decisions; `tollgate explain` has them too.
#[derive(Debug, Args)]
pub(in crate::cli) struct Deciding {
    /// Answer OK to every request; limits are still charged, counted and reported. The variable SHADOW_MODE does the
    /// same.
    #[arg(long, env = "TOLLGATE_SHADOW_MODE", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = values::switch)]
    shadow_mode: Option<bool>,

    /// Deny a request only when all of its limits are used up. The variable QUOTA_MODE does the same.
    #[arg(long, env = "TOLLGATE_QUOTA_MODE", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = values::switch)]
    quota_mode: Option<bool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(super) struct Process {
    /// Address for Envoy's gRPC requests; port 0 takes any free port.
    #[arg(long, env = "TOLLGATE_GRPC_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8081",
        value_parser = values::address)]
    pub(super) grpc_listen: SocketAddr,

    /// Address of the admin port, HTTP for operators: /healthcheck, /ready and /metrics.
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080",
        value_parser = values::address)]
    pub(super) admin_listen: SocketAddr,

    /// Number of runtimes, which are the threads that serve requests; at most 1024 [default: one per core].
    #[arg(long, env = "TOLLGATE_RUNTIMES", value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub(super) runtimes: Option<u16>,

    /// How long to keep accepting connections after SIGTERM or SIGHUP, while health checks already fail, so that load
    /// balancers can send traffic elsewhere.
    #[arg(long, env = "TOLLGATE_DRAIN_WAIT", value_name = "TIME", default_value = "5s",
        value_parser = duration::parse)]
    pub(super) drain_wait: Duration,

    /// How long after that to keep answering requests in flight, before connections are cut.
    #[arg(long, env = "TOLLGATE_DRAIN_TIMEOUT", value_name = "TIME", default_value = "10s",
        value_parser = duration::parse)]
    pub(super) drain_timeout: Duration,

    #[command(flatten)]
    pub(super) connections: Connections,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connections of Envoy")]
pub(super) struct Connections {
    /// Age at which a client is told to open a new connection, give or take a tenth, so that new replicas get their
    /// share; 0s: never.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTION_AGE", value_name = "TIME", default_value = "10m",
        value_parser = duration::parse)]
    max_connection_age: Duration,

    /// How long requests in flight may take after that, before the connection is cut.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTION_AGE_GRACE", value_name = "TIME", default_value = "10s",
        value_parser = duration::parse)]
    max_connection_age_grace: Duration,

    /// How long a client may be silent before it is asked whether it is still there. If it does not answer within 10 s,
    /// its connection is cut. 0s: it is never asked.
    #[arg(long, env = "TOLLGATE_KEEPALIVE", value_name = "TIME", default_value = "30s",
        value_parser = duration::parse)]
    keepalive: Duration,

    /// Maximum number of open connections; further ones are closed at once. Each takes a file descriptor.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", value_name = "COUNT", default_value = "4096",
        value_parser = value_parser!(u32).range(1..))]
    max_connections: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs (to stderr)")]
pub(super) struct Logs {
    /// text, or json with one object per line.
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT", default_value = "text",
        hide_possible_values = true, ignore_case = true, value_parser = log_format())]
    pub(super) log_format: logging::Format,

    /// error, warn, info, debug or trace, or a filter such as tollgate=debug,h2=warn [default: RUST_LOG, or else
    /// info].
    #[arg(long, env = "TOLLGATE_LOG_LEVEL", value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// Show descriptor values in the decision log, at /live and /events, and in the log lines of tollgate::requests=debug.
    ///
    /// Those lines say which limits apply to each descriptor, or why none does. The values that clients send may be
    /// secrets, so by default only their keys are shown. Values in the limits file are part of a rule's name, and are
    /// always shown. At /live and /events, a key has a name that tells nothing, and with this flag its values as well.
    #[arg(long, env = "TOLLGATE_SHOW_VALUES", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", default_value = "off", action = ArgAction::Set, value_parser = values::switch)]
    pub(super) show_values: bool,
}

// === impl Switches, Deciding ===

impl Switches {
    /// A flag or its variable takes precedence over the variable of envoyproxy/ratelimit.
    pub(super) fn modes(&self) -> Result<Modes, ServeError> {
        let metadata = self.dynamic_metadata.map_or_else(|| reference::is_on(DYNAMIC_METADATA), Ok)?;
        let shadow = self.deciding.is_shadow()?;
        Ok(Modes { shadow, dynamic_metadata: metadata, ..Modes::default() })
    }

    pub(super) fn quota_mode(&self) -> Result<QuotaMode, ServeError> {
        self.deciding.quota_mode()
    }

    /// The flag or variable that turned shadow mode on, given that it is on.
    pub(super) fn shadow_origin(&self, origins: &Origins) -> String {
        self.deciding.shadow_mode.map_or(SHADOW_MODE.to_owned(), |_| origins.name("shadow-mode"))
    }

    /// The flag or variable that turned quota mode on, given that it is on.
    pub(super) fn quota_origin(&self, origins: &Origins) -> String {
        self.deciding.quota_mode.map_or(QUOTA_MODE.to_owned(), |_| origins.name("quota-mode"))
    }
}

impl Deciding {
    pub(in crate::cli) fn is_shadow(&self) -> Result<bool, ServeError> {
        self.shadow_mode.map_or_else(|| reference::is_on(SHADOW_MODE), Ok)
    }

    pub(in crate::cli) fn quota_mode(&self) -> Result<QuotaMode, ServeError> {
        let everywhere = self.quota_mode.map_or_else(|| reference::is_on(QUOTA_MODE), Ok)?;
        Ok(if everywhere { QuotaMode::Everywhere } else { QuotaMode::AsConfigured })
    }
}

// === impl Process, Connections, Answers ===

impl Process {
    pub(super) fn options(&self) -> server::Options {
        let asked = self.runtimes.and_then(|count| NonZeroUsize::new(count.into()));
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        server::Options {
            grpc_listen: self.grpc_listen,
            authz_http_listen: None,
            tls: None,
            admin_listen: self.admin_listen,
            debug_listen: None,
            metrics_listen: None,
            runtimes: asked.unwrap_or_else(cores),
            drain_wait: self.drain_wait,
            drain_timeout: self.drain_timeout,
            connections: self.connections.limits(),
            max_connections: self.connections.max_connections.try_into().unwrap_or(usize::MAX),
        }
    }
}

impl Connections {
    pub(super) fn limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            max_age: Some(self.max_connection_age).filter(|age| !age.is_zero()),
            max_age_grace: self.max_connection_age_grace,
            keepalive: Some(self.keepalive).filter(|interval| !interval.is_zero()),
            ..ConnectionLimits::default()
        }
    }
}

impl Answers {
    pub(super) fn groups(&self, origins: &Origins) -> Result<Vec<Group>, ServeError> {
        self.headers.groups(origins)
    }

    pub(super) fn contract(&self, origins: &Origins) -> Result<Contract, ServeError> {
        Ok(Contract::new(self.headers.groups(origins)?, self.jitter.at_most(self.jitter_most)))
    }
}

// === flags that clap cannot read by itself ===

/// Variables of envoyproxy/ratelimit that do the same as a flag.
const SHADOW_MODE: &str = "SHADOW_MODE";
const QUOTA_MODE: &str = "QUOTA_MODE";
const DYNAMIC_METADATA: &str = "RESPONSE_DYNAMIC_METADATA";

fn on_store_failure() -> impl TypedValueParser<Value = OnStoreFailure> {
    let names = OnStoreFailure::ALL.map(OnStoreFailure::name);
    PossibleValuesParser::new(names)
        .map(|name| OnStoreFailure::from_name(&name.to_ascii_lowercase()).unwrap_or_default())
}

fn log_format() -> impl TypedValueParser<Value = logging::Format> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.to_ascii_lowercase().as_str() {
        "json" => logging::Format::Json,
        _ => logging::Format::Text,
    })
}

/// With a deadline of 0, every request would fail.
fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("must be above 0".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}
