//! The metrics of the process, and the page that Prometheus reads.
//!
//! | metric | labels | counts |
//! |---|---|---|
//! | `tollgate_decisions_total` | domain, rule, verdict, source | decisions on one bucket; a series appears with its first |
//! | `tollgate_domain_decisions_total` | domain, verdict | the same, by domain; always there |
//! | `tollgate_rule_post_paid` | domain, rule | 1 while a rule with `overdraft: auto` counts as charged after the response, else 0; a series appears when its first demand tells |
//! | `tollgate_near_limit_total` | domain, rule | decisions that allowed hits near the limit |
//! | `tollgate_limit`, `tollgate_burst` | domain, rule, tier, window, algorithm | the numbers of each limit in force |
//! | `tollgate_requests_total` | door, outcome | answers to requests |
//! | `tollgate_request_duration_seconds` | door | requests that were decided, by the time that it took |
//! | `tollgate_descriptors_without_limit_total` | kind | descriptors to which no limit applies: `unknown_domain`, `unmatched`, `exempt` or `unlimited` |
//! | `tollgate_store_duration_seconds` | | requests to the store, by the time that they took |
//! | `tollgate_store_errors_total` | kind | requests that the store did not answer |
//! | `tollgate_store_refusals_total` | code | calls that Redis refused: for requests, for the replica count, and on connecting |
//! | `tollgate_decision_log_lines_total` | result | lines of the decision log: `written` or `dropped`; only with `--decision-log` |
//! | `tollgate_spans_total` | result | spans of traces: `exported`, `dropped`, `failed` or `rejected`; only with traces |
//! | `tollgate_panics_total` | task | panics of tasks, which were restarted, and of client connections, which were closed |
//! | `tollgate_malformed_buckets_total` | | stored values that could not be read |
//! | `tollgate_config_reloads_total` | result | changed configurations: `taken` or `refused` |
//! | `tollgate_config_stale` | | 1 while the last change is refused |
//! | `tollgate_rules_version` | | the version of the rules in force, as a number |
//! | `tollgate_replicas` | | replicas that share the store; 0: not known |
//! | `tollgate_lease_hits_total` | `state` | hits of leases: reserved, spent, lapsed; only with Redis |
//! | `tollgate_store_masters` | | masters to which the store's name leads, if it has several addresses; only with one Redis |
//! | `tollgate_store_cluster_masters` | | masters of the Redis Cluster; only with one |
//! | `tollgate_store_cluster_masters_connected` | | those to which every runtime has a connection; only with a Redis Cluster |
//! | `tollgate_store_cluster_slots_unserved` | | slots that no master serves; only with a Redis Cluster |
//! | `tollgate_admin_acts_total` | act, result | acts on buckets by the admin port: `peek`, `reset` or `grant`; `done`, `failed` or `refused` |
//! | `tollgate_memory_buckets` | | buckets in this process, of the memory store and for local answers |
//! | `tollgate_connections_refused_total` | | connections closed at once, because `--max-connections` were open |
//! | `tollgate_connections_not_http2_total` | kind | connections closed at once, because they began with `http1`, `tls` or `other`; with TLS, with plain text or a handshake that failed |
//! | `tollgate_tls_certificate_expiry_seconds` | | when the certificate of the gRPC port expires; only with TLS |
//! | `tollgate_tls_stale` | | 1 while changed TLS files are refused; only with TLS |
//! | `tollgate_unknown_methods_total` | | calls of gRPC methods that Tollgate does not have |
//! | `tollgate_build_info` | version | always 1 |
//! | `ratelimit_service_…` | domain, key1, key2 | what envoyproxy/ratelimit tells, under its names; only if asked for |
//! | `tollgate_reference_rules_left_out` | | rules without series of these names |
//! | `process_…` | | what the system reports about the process, under the names that all exporters use |
//!
//! The values of labels are configured or compiled in. Values that clients send become labels only where a rule asks
//! for it, and then their number is bounded. On the request path, counting is a few relaxed atomic adds on handles
//! that exist already; nothing is looked up.

mod acts;
mod decisions;
mod durations;
mod near;
mod open;
mod process;
mod records;
mod reference;
mod registry;
mod requests;
mod text;
mod view;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use acts::ActResult;
use decisions::Decisions;
pub use decisions::{Counted, Counts, LimitCounters, MAX_PATHS, MAX_REFERENCE_RULES, Row, RowId};
use durations::Durations;
pub use near::{BadRatio, NearLimitRatio};
pub use open::{OPEN_METRICS, TraceIds};
use process::Process;
use registry::{counter_alone, counters, counters_from_start, register};
pub use requests::Door;
use requests::Requests;
use tollgate_core::matcher::Matcher;
pub use view::StoreTimes;

/// Value of the content-type header under which [`Metrics::render`] is served.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// From 50 µs, a round trip on loopback, to 1 s, a hundred times the default store deadline.
const STORE_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_35, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

const NOT_HTTP2: &str = "Connections to the gRPC port that did not begin with plain-text HTTP/2, by what they began \
    with. An Envoy among them gets no answer and lets its requests pass. http1: set http2_protocol_options on its \
    cluster; tls: remove its transport_socket; other: a scanner, for example.";
const MALFORMED: &str = "Stored buckets that could not be read and counted as full. Something else writes under \
    Tollgate's keys, or an old version of it does.";
const REFUSED: &str = "Connections refused because --max-connections were already open. Raise it, or find out which \
    clients open so many.";
const UNKNOWN_METHODS: &str = "Calls of gRPC methods that Tollgate does not have, answered UNIMPLEMENTED. The log has \
    their paths. If the caller is an Envoy, it may let its requests pass.";
const STORE_ERRORS: &str = "Requests that the store did not answer, by reason. deadline, tripped, overload: Redis or the \
    network is slow or silent; unacknowledged: the replicas of Redis are; disconnected, unserved: see the log; refused: see tollgate_store_refusals_total; full: raise \
    --memory-buckets.";

/// All metrics of the process. Shared by all runtimes.
pub struct Metrics {
    registry: Registry,
    decisions: Decisions,
    requests: Requests,
    durations: Durations,
    near_limit: NearLimitRatio,
    has_reference_names: bool,
    store_seconds: Histogram,
    store_errors: IntCounterVec,
    malformed: IntCounter,
    refused_connections: IntCounter,
    not_http2: IntCounterVec,
    unknown_methods: IntCounter,
    reloads: IntCounterVec,
    acts: IntCounterVec,
    config_stale: IntGauge,
    /// Configurations that were read before the first request.
    loaded_at_start: AtomicU64,
    lookups: Mutex<Vec<Lookup>>,
    process: Process,
}

/// Updates a metric when the page is scraped.
type Lookup = Box<dyn Fn() + Send + Sync>;

/// What happened to a changed configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Taken,
    /// It has errors, and the last good one stays in force.
    Refused,
}

// === impl Metrics ===

impl Metrics {
    /// All metrics, at zero.
    #[expect(clippy::new_without_default, reason = "nobody would read a default set of counters")]
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = Requests::new(&registry);
        let store_errors =
            counters(&registry, Opts::new("tollgate_store_errors_total", STORE_ERRORS), &["kind"]);
        let malformed = counter_alone(&registry, "tollgate_malformed_buckets_total", MALFORMED);
        let refused_connections = counter_alone(&registry, "tollgate_connections_refused_total", REFUSED);
        let unknown_methods = counter_alone(&registry, "tollgate_unknown_methods_total", UNKNOWN_METHODS);
        let not_http2 = Opts::new("tollgate_connections_not_http2_total", NOT_HTTP2);
        let not_http2 = counters_from_start(
            &registry,
            not_http2,
            "kind",
            &["http1", "tls", "plain", "handshake", "other"],
        );
        let store_seconds = HistogramOpts::new(
            "tollgate_store_duration_seconds",
            "Time that the store took to answer a request. Near --store-deadline: Redis or the network is slow.",
        )
        .buckets(STORE_SECONDS.to_vec());
        let store_seconds = Histogram::with_opts(store_seconds).expect("the buckets ascend");
        register(&registry, &store_seconds);

        let reloads = Opts::new(
            "tollgate_config_reloads_total",
            "Changed configurations. refused: the log has every error, and the last good one stays in force.",
        );
        let reloads = counters_from_start(&registry, reloads, "result", &["taken", "refused"]);
        let stale_help =
            "1 while the last change of the configuration is refused. `tollgate check` shows why.";
        let config_stale = IntGauge::new("tollgate_config_stale", stale_help).expect("the name is valid");
        register(&registry, &config_stale);

        let build_info = IntGaugeVec::new(
            Opts::new("tollgate_build_info", "Always 1. The label is the version of Tollgate."),
            &["version"],
        )
        .expect("the name is valid");
        register(&registry, &build_info);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        Metrics {
            acts: acts::acts(&registry),
            registry,
            decisions: Decisions::default(),
            process: Process::new(),
            requests,
            durations: Durations::default(),
            near_limit: NearLimitRatio::default(),
            has_reference_names: false,
            store_seconds,
            store_errors,
            malformed,
            refused_connections,
            not_http2,
            unknown_methods,
            reloads,
            config_stale,
            loaded_at_start: AtomicU64::new(0),
            lookups: Mutex::default(),
        }
    }

    /// The same metrics, with another part of a limit beyond which hits count as near it.
    #[must_use]
    pub fn near_limit(self, near_limit: NearLimitRatio) -> Metrics {
        Metrics { near_limit, ..self }
    }

    /// The same metrics, and those of envoyproxy/ratelimit under its names.
    #[must_use]
    pub fn with_reference_names(self) -> Metrics {
        Metrics { has_reference_names: true, ..self }
    }

    /// Counters for the decisions of these rules, to be shared by all runtimes. From here on the page shows these
    /// rules and no longer the limits that are gone. A limit whose domain and label existed before keeps its counts.
    pub fn counters_for_rules(&self, matcher: &Matcher) -> Arc<LimitCounters> {
        self.decisions.counters_for_rules(matcher)
    }

    /// Counts a connection that was refused because the maximum was open.
    pub fn count_refused_connection(&self) {
        self.refused_connections.inc();
    }

    /// Counts a client of the gRPC port that did not begin with HTTP/2. `kind` is one of a handful of fixed words.
    pub fn count_not_http2(&self, kind: &'static str) {
        self.not_http2.with_label_values(&[kind]).inc();
    }

    /// Counts a call of a gRPC method that Tollgate does not have.
    pub fn count_unknown_method(&self) {
        self.unknown_methods.inc();
    }

    /// Counts the configuration that a process begins with.
    pub fn count_first_load(&self) {
        self.loaded_at_start.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a changed configuration, and shows whether the one in force is stale.
    pub fn count_reload(&self, reload: Reload) {
        let (result, stale) = match reload {
            Reload::Taken => ("taken", 0),
            Reload::Refused => ("refused", 1),
        };
        self.reloads.with_label_values(&[result]).inc();
        self.config_stale.set(stale);
    }

    /// Adds a gauge whose value is looked up at each scrape. Panics if the name exists already.
    pub fn show(&self, name: &str, help: &str, value: impl Fn() -> i64 + Send + Sync + 'static) {
        let shown = IntGauge::new(name, help).expect("the name is valid");
        register(&self.registry, &shown);
        self.look_up(move || shown.set(value()));
    }

    /// Adds a counter whose values are kept elsewhere, one for each word of the label, and looked up at each scrape.
    /// They must never fall. Panics if the name exists already.
    pub fn show_counts(
        &self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    ) {
        let shown = counters(&self.registry, Opts::new(name, help), &[label]);
        self.look_up(move || {
            for (word, count) in counts() {
                let shown = shown.with_label_values(&[word]);
                shown.inc_by(count.saturating_sub(shown.get()));
            }
        });
    }

    fn look_up(&self, lookup: impl Fn() + Send + Sync + 'static) {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(lookup));
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        // One page at a time, because two would add the same difference twice.
        for lookup in &*self.lookups.lock().unwrap_or_else(PoisonError::into_inner) {
            lookup();
        }
        let mut page = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("a String takes all that is written");
        self.decisions.write(&mut page);
        self.decisions.write_limits(&mut page);
        self.durations.write(&mut page);
        if self.has_reference_names {
            self.write_reference(&mut page);
        }
        self.process.write(&mut page);
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
