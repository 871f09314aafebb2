//! `tollgate serve`: its flags, and the wiring of the service.

mod announce;
mod authz;
mod decision_log;
mod flags;
mod folders;
mod gauges;
mod live;
mod pages;
mod reference;
mod source;
mod telling;
mod tls;
mod traces;
mod xds;

use std::{path::PathBuf, sync::Arc};

use clap::{ArgAction, Args, builder::PathBufValueParser};
use thiserror::Error;
use tracing::warn;

use super::{
    defaults::{DefaultFlags, LeaseFlag},
    ratelimit::Told,
    store::{StoreFlags, WrongStore},
    values::{self, Item, NotASwitch},
    variables::Origins,
};
use crate::{
    admin::{Admin, TokenError},
    certificates::CertificateError,
    config::{self, ConfigErrors},
    error::SystemError,
    fallback::{Fallback, local::Local},
    limiter::Limiter,
    logging::{self, LoggingError},
    protocol::{Doors, Modes},
    reload::Sources,
    server::{self, Server, ServerError},
    store::{Backend, TargetError},
};
use authz::Authz;
use decision_log::DecisionLogFlags;
use flags::{Answers, Logs, MetricsFlags, Process, Switches, WhenStoreFails};
pub(super) use flags::{Deciding, Headers};
use folders::FolderFlags;
use pages::PageFlags;
use source::Source;
use tls::TlsFlags;
use tollgate_core::{limit::Defaults, matcher::Matcher};
use traces::{TraceFlags, WrongTraces};
use xds::XdsFlags;

// clap wraps these lines.
const EXAMPLES: &str = "\
A flag that takes a list accepts commas, and may be repeated. Each flag can be set by an environment variable instead; \
an empty variable counts as not set. A switch is on or off; true and false, t and f, 1 and 0 mean the same.

The first SIGTERM, SIGHUP or Ctrl-C drains. A second one ends the process at once, if it comes more than a second \
after the first.

The log line \"listening grpc=… admin=… store=…\" shows the ports that were bound.

Examples:
  tollgate serve --config limits.yaml
  tollgate serve --config edge.yaml,internal.yaml --store redis://:password@10.0.0.7:6379
  TOLLGATE_CONFIG=limits.yaml TOLLGATE_LOG_FORMAT=json tollgate serve --grpc-listen 0.0.0.0:8081";

/// Answer Envoy's rate-limit requests.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// YAML file with limits, or a folder: all its *.yaml and *.yml files except those that begin with a dot.
    ///
    /// Changed files take effect within two seconds; so do files that are added to a folder or removed from it.
    /// Subfolders are not read.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "PATH", value_delimiter = ',',
        required_unless_present = "xds_server",
        value_parser = Item(PathBufValueParser::new()))]
    config: Vec<PathBuf>,

    #[command(flatten)]
    folders: FolderFlags,

    #[command(flatten)]
    defaults: DefaultFlags,

    #[command(flatten)]
    store: StoreFlags,

    /// Whether Tollgate denies from memory while Redis would still deny: on or off.
    ///
    /// The same requests are admitted either way; turn it off only to compare.
    #[arg(long, alias = "memo", env = "TOLLGATE_DENIAL_CACHE", value_name = "SWITCH", default_value = "on",
        action = ArgAction::Set, value_parser = values::switch)]
    denial_cache: bool,

    #[command(flatten)]
    lease: LeaseFlag,

    #[command(flatten)]
    when_store_fails: WhenStoreFails,

    #[command(flatten)]
    answers: Answers,

    #[command(flatten)]
    switches: Switches,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    xds: XdsFlags,

    #[command(flatten)]
    authz: Authz,

    #[command(flatten)]
    process: Process,

    #[command(flatten)]
    pages: PageFlags,

    #[command(flatten)]
    metrics: MetricsFlags,

    #[command(flatten)]
    logs: Logs,

    #[command(flatten)]
    decision_log: DecisionLogFlags,

    #[command(flatten)]
    traces: TraceFlags,

    /// Set by `Cli::read`, not by clap.
    #[arg(skip)]
    pub(super) origins: Origins,

    /// What the variables of envoyproxy/ratelimit became, if the flags were made of them. Set by `Cli::read`.
    #[arg(skip)]
    pub(super) told: Option<Told>,
}

/// Why `serve` did not start, or did not end well. `origin` is the flag or variable that a value came from.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are what the message shows")]
pub enum ServeError {
    /// Logging could not be set up.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The limits files have errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The address of the store, or a file for it, is wrong.
    #[error("{origin}")]
    Store { origin: String, source: TargetError },
    /// `--headers` lists `none` and another group.
    #[error("{origin}: none cannot be combined with other groups")]
    HeadersNoneAndMore { origin: String },
    /// A variable of envoyproxy/ratelimit is neither on nor off.
    #[error("the variable {name} is {value:?}")]
    NotASwitch { name: &'static str, value: String, source: NotASwitch },
    /// `--headers` lists a group twice.
    #[error("{origin} names {name} twice")]
    HeadersTwice { origin: String, name: String },
    /// The system refused a thread.
    #[error("cannot start the thread that watches the configuration")]
    Reloader(#[source] SystemError),
    /// The system refused a thread.
    #[error("cannot start the thread that follows the xDS server")]
    Follower(#[source] SystemError),
    /// The system refused the thread of the decision log, or its signal.
    #[error("cannot start the thread that writes the decision log")]
    DecisionLog(#[source] SystemError),
    /// The system refused a thread.
    #[error("cannot start the thread that collects what the live page shows")]
    Live(#[source] SystemError),
    /// A variable of OpenTelemetry cannot be used.
    #[error(transparent)]
    Traces(WrongTraces),
    /// The system refused the thread that sends traces.
    #[error("cannot start the thread that sends traces")]
    TraceThread(#[source] SystemError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] CertificateError),
    /// The file with the admin token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The server did not start, or did not end well.
    #[error(transparent)]
    Server(#[from] ServerError),
}

// === impl ServeError ===

impl ServeError {
    /// Whether the command line is wrong by itself, whatever the machine and its files are like.
    pub fn is_misuse(&self) -> bool {
        match self {
            ServeError::HeadersNoneAndMore { .. }
            | ServeError::HeadersTwice { .. }
            | ServeError::NotASwitch { .. }
            | ServeError::Traces(_) => true,
            ServeError::Logging(error) => !matches!(error, LoggingError::Installed(_)),
            ServeError::Store { source, .. } => source.is_misuse(),
            ServeError::Config(_)
            | ServeError::Reloader(_)
            | ServeError::Follower(_)
            | ServeError::DecisionLog(_)
            | ServeError::Live(_)
            | ServeError::TraceThread(_)
            | ServeError::Tls(_)
            | ServeError::Token(_)
            | ServeError::Server(_) => false,
        }
    }
}

// === impl Serve ===

impl Serve {
    fn defaults(&self) -> Defaults {
        self.lease.defaults(self.defaults)
    }

    pub(super) fn run(&self) -> Result<(), ServeError> {
        let level = self.logs.log_level.as_deref();
        logging::init(self.logs.log_format, level.map(|level| (self.origins.name("log-level"), level)))?;
        if let Some(told) = &self.told {
            told.log();
        }
        let contract = self.answers.contract(&self.origins)?;
        let backend = self.backend()?;
        let modes = Modes { show_values: self.logs.show_values, ..self.switches.modes()? };
        let quota_mode = self.switches.quota_mode()?;
        let defaults = self.defaults();
        let in_folders = self.folders.config_folder;
        let config =
            config::load_from(&self.config, in_folders, defaults).map_err(|refused| refused.errors)?;
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let authz = self.authz.settings();
        let matcher = Matcher::new(config.domains.clone());
        let metrics = Arc::new(self.metrics.metrics());
        let publisher = source::publisher(matcher, contract, &metrics);
        let sources = Sources { paths: self.config.clone(), in_folders, defaults };
        let xds = self.xds.options(defaults);
        let source = Source::follow(xds, sources, &config, &publisher)?;

        let tls = self.tls.load()?;
        let options = server::Options {
            tls: tls.clone(),
            authz_http_listen: self.authz.authz_http_listen,
            debug_listen: self.pages.debug_listen,
            metrics_listen: self.pages.metrics_listen,
            ..self.process.options()
        };
        let server = Server::bind(options)?;
        server.stop_on_signals()?;
        let admin = self.pages.show(Admin::new(server.lifecycle(), Arc::clone(&metrics)))?;
        let (live, _collector) = self.live(&backend, &publisher, server.lifecycle())?;
        let admin = admin.store(backend.health()).rules(Arc::clone(&publisher)).live(Arc::clone(&live));
        let deadline = self.when_store_fails.store_deadline;
        let fallback = self.fallback(&backend);
        gauges::add(&metrics, &backend, &fallback, tls.as_ref());
        let telling = self.telling(modes, &metrics, &live)?;
        let backend = backend.traced(telling.tracer());
        if self.xds.waits_for_rules() && !source.wait(&server) {
            return Ok(());
        }
        let (addresses, matcher) = (server.addresses(), publisher.matcher());
        let (counting, recorders) = (Arc::clone(&metrics), Arc::clone(&live));
        let tell = telling.to_doors();
        let started = server.start(&counting, move || {
            let limiter = Limiter::open(&backend, deadline, &fallback).quota_mode(quota_mode);
            let doors = Doors::new(limiter, publisher.subscribe(), Arc::clone(&metrics));
            tell(doors.modes(modes).authz(authz.clone()).recording(recorders.recorder()))
        })?;
        self.announce(addresses, &matcher, &source);
        self.authz.announce(&config.domains);
        self.announce_modes(modes, quota_mode);
        let served = started.serve(admin);
        telling.finish();
        Ok(served?)
    }

    fn fallback(&self, backend: &Backend) -> Fallback {
        let WhenStoreFails { on_store_failure, replicas, memory_buckets, .. } = self.when_store_fails;
        let replica_count = backend.replica_count();
        let replicas = move || replicas.or_else(|| replica_count.as_ref()?.replicas());
        let local = Local::new(memory_buckets, Box::new(replicas));
        Fallback { default: on_store_failure, local: Arc::new(local) }
    }

    fn backend(&self) -> Result<Backend, ServeError> {
        let backend = self.store.backend(self.when_store_fails.memory_buckets, &self.origins);
        let backend =
            backend.map_err(|WrongStore { origin, source }| ServeError::Store { origin, source })?;
        Ok(if self.denial_cache { backend } else { backend.without_denial_cache() })
    }
}

#[cfg(test)]
mod tests;
