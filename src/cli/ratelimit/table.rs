//! Each variable of envoyproxy/ratelimit, and what becomes of it. `docs/ratelimit.md` has the same table, word by word.

use super::go;

/// One variable.
#[derive(Debug)]
pub(in crate::cli) struct Row {
    /// Its name. A `*` at the end stands for the rest of a name.
    pub(in crate::cli) name: &'static str,
    pub(super) kind: Kind,
    pub(in crate::cli) becomes: Becomes,
    /// What an operator should know of it: Markdown, which is part of the table in the docs.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds the docs to it"))]
    pub(super) says: &'static str,
}

/// What a value has to look like. One that does not ends the start, as in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A text that no message repeats.
    Secret,
    Switch,
    Time,
    Whole,
    Port,
    Fraction,
    Map,
    /// A map that no message repeats.
    SecretMap,
}

/// What becomes of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Becomes {
    /// This flag of `serve`, alone or together with other variables.
    Flag(&'static str),
    /// Nothing is left to do for a value that Tollgate can honour; any other ends the start.
    Checked,
    /// Nothing: it changes neither what is limited nor who is answered.
    Nothing,
}

use Becomes::{Checked, Flag, Nothing};
use Kind::{Fraction, Map, Port, Secret, SecretMap, Switch, Text, Time, Whole};

const fn row(name: &'static str, kind: Kind, becomes: Becomes, says: &'static str) -> Row {
    Row { name, kind, becomes, says }
}

const IN_METRICS: &str = "Metrics are for Prometheus only: scrape `/metrics`.";
const NO_MEMCACHED: &str = "Tollgate does not use memcached.";
const ONE_CONNECTION: &str = "Each runtime has one connection to Redis, on which it batches calls.";
const PER_SECOND: &str = "Limits per second are kept in the Redis of `REDIS_URL`, too.";
const XDS_PACE: &str = "Tollgate connects again after 0.2 s to 15 s, at random.";

// One line for each, like the table in the docs.
#[rustfmt::skip]
/// All variables that the reference reads, and one that Envoy Gateway sets though the reference does not read it.
pub(in crate::cli) const TABLE: &[Row] = &[
    // === ports ===
    row("HOST", Text, Flag("admin-listen"), "An IP address, or a name, which is looked up once. `::` and an empty one mean all of IPv4 and IPv6."),
    row("PORT", Port, Flag("admin-listen"), "The HTTP port, with `/healthcheck` and `/json`. 8080 by default."),
    row("GRPC_HOST", Text, Flag("grpc-listen"), "As `HOST`."),
    row("GRPC_PORT", Port, Flag("grpc-listen"), "8081 by default."),
    row("DEBUG_HOST", Text, Flag("debug-listen"), "As `HOST`."),
    row("DEBUG_PORT", Port, Flag("debug-listen"), "The port with `/rlconfig`. 6070 by default. There is no `/stats` and no `/debug/pprof`."),
    row("GRPC_UDS", Text, Checked, "Tollgate listens on TCP only: a path here is refused. Let Envoy connect to `GRPC_PORT`."),
    row("GRPC_MAX_CONNECTION_AGE", Time, Flag("max-connection-age"), "10 min by default, not 24 h, so that new replicas get their share. 0 means never."),
    row("GRPC_MAX_CONNECTION_AGE_GRACE", Time, Flag("max-connection-age-grace"), "10 s by default, not 1 h."),
    // === TLS ===
    row("GRPC_SERVER_USE_TLS", Switch, Flag("grpc-tls-cert"), "With it, `GRPC_SERVER_TLS_CERT` and `GRPC_SERVER_TLS_KEY` are needed."),
    row("GRPC_SERVER_TLS_CERT", Text, Flag("grpc-tls-cert"), "The file is followed: a renewed certificate is used for the next connection."),
    row("GRPC_SERVER_TLS_KEY", Text, Flag("grpc-tls-key"), "It need not lie beside the certificate."),
    row("GRPC_CLIENT_TLS_CACERT", Text, Flag("grpc-client-ca"), "Clients need a certificate that this authority has signed. Also this file is followed."),
    row("GRPC_SERVER_TLS_CA_CERT", Text, Flag("grpc-client-ca"), "Envoy Gateway sets it, and the reference does not read it. Tollgate does, where `GRPC_CLIENT_TLS_CACERT` is not set; `TOLLGATE_GRPC_CLIENT_VERIFY=off` leaves clients unverified."),
    row("GRPC_CLIENT_TLS_SAN", Text, Checked, "Tollgate checks who signed a client's certificate, not its names: a name here is refused. Use an authority that signs for Envoys only."),
    // === logs ===
    row("LOG_LEVEL", Text, Flag("log-level"), "info by default, not WARN. panic and fatal mean error."),
    row("LOG_FORMAT", Text, Flag("log-format"), "json, or else text. The fields have other names than in the reference: `timestamp`, `level`, `message`."),
    // === rules ===
    row("CONFIG_TYPE", Text, Checked, "FILE or GRPC_XDS_SOTW."),
    row("FORCE_START_WITHOUT_INITIAL_CONFIG", Switch, Flag("xds-wait-for-rules"), "Rules by xDS only. If false, the ports are open and nothing is answered on them, `/healthcheck` neither, until there are rules."),
    row("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", Switch, Flag("healthy-after"), "If true, `/healthcheck` also fails while no domain has rules."),
    row("MERGE_DOMAIN_CONFIG", Switch, Nothing, "Several files may always have rules of one domain."),
    row("RUNTIME_ROOT", Text, Flag("config"), "Files with rules are those in `RUNTIME_ROOT/RUNTIME_SUBDIRECTORY/RUNTIME_APPDIRECTORY`, and below. A file with errors, or no file at all, ends the start (the reference would run without rules); later, the last good rules stay."),
    row("RUNTIME_SUBDIRECTORY", Text, Flag("config"), "See `RUNTIME_ROOT`. It may be empty."),
    row("RUNTIME_APPDIRECTORY", Text, Flag("config"), "See `RUNTIME_ROOT`. `config` by default."),
    row("RUNTIME_IGNOREDOTFILES", Switch, Flag("config-folder"), "If true, names that begin with a dot are left out. A file that is reached by two names is read once, so a mounted ConfigMap needs it no more."),
    row("RUNTIME_WATCH_ROOT", Switch, Nothing, "Tollgate notices both: a changed file, and a link that was swapped anywhere on the way to it. Changes take effect within two seconds."),
    row("USE_CALENDAR_MONTH_RATE_LIMIT", Switch, Flag("calendar-months"), "If true, windows of one month are those of the calendar, UTC, and have not 30 days."),
    // === rules by xDS ===
    row("CONFIG_GRPC_XDS_SERVER_URL", Text, Flag("xds-server"), "localhost:18000 by default."),
    row("CONFIG_GRPC_XDS_NODE_ID", Text, Flag("xds-node-id"), "`default` by default."),
    row("CONFIG_GRPC_XDS_NODE_METADATA", Text, Flag("xds-node-metadata"), "key=value,key2=value2"),
    row("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", SecretMap, Flag("xds-header"), "name:value,name2:value2"),
    row("CONFIG_GRPC_XDS_SERVER_USE_TLS", Switch, Flag("xds-tls"), ""),
    row("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", Text, Flag("xds-ca"), "The file is read again for each connection; so are the next two."),
    row("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", Text, Flag("xds-cert"), ""),
    row("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", Text, Flag("xds-key"), ""),
    row("CONFIG_GRPC_XDS_SERVER_TLS_SAN", Text, Flag("xds-server-name"), "Without it, only the authority of the server's certificate is checked, not its names."),
    row("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", Whole, Flag("xds-max-message"), "64 MiB by default, not 4 MiB."),
    row("CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL", Time, Nothing, XDS_PACE),
    row("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", Time, Nothing, XDS_PACE),
    row("XDS_CLIENT_BACKOFF_MAX_INTERVAL", Time, Nothing, XDS_PACE),
    row("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", Fraction, Nothing, XDS_PACE),
    row("XDS_CLIENT_BACKOFF_JITTER", Switch, Nothing, XDS_PACE),
    // === answers ===
    row("SHADOW_MODE", Switch, Flag("shadow-mode"), ""),
    row("QUOTA_MODE", Switch, Flag("quota-mode"), ""),
    row("RESPONSE_DYNAMIC_METADATA", Switch, Flag("dynamic-metadata"), ""),
    row("LIMIT_RESPONSE_HEADERS_ENABLED", Switch, Flag("headers"), "If true, answers have `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset`. A 429 has `retry-after` and a body in any case; `TOLLGATE_HEADERS` changes that."),
    row("LIMIT_LIMIT_HEADER", Text, Nothing, "The name is `ratelimit-limit`. With `LIMIT_RESPONSE_HEADERS_ENABLED`, another name is warned about."),
    row("LIMIT_REMAINING_HEADER", Text, Nothing, "The name is `ratelimit-remaining`; see above."),
    row("LIMIT_RESET_HEADER", Text, Nothing, "The name is `ratelimit-reset`; see above."),
    row("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", Switch, Nothing, "A denied request is never charged."),
    // === Redis ===
    row("BACKEND_TYPE", Text, Checked, "redis. memcache is refused: give `REDIS_URL`."),
    row("REDIS_URL", Secret, Flag("store"), "`host:port`, the path of a unix socket, or `redis://user:password@host:port/database`; `rediss://` is TLS. With `REDIS_TYPE=SENTINEL`, the name of the master and its Sentinels: `mymaster,host:port,host2:port`. With `REDIS_TYPE=CLUSTER`, some of its nodes: `host:port,host2:port`. None at all is refused."),
    row("REDIS_AUTH", Secret, Flag("store"), "`password` or `user:password`."),
    row("REDIS_SOCKET_TYPE", Text, Flag("store"), "tcp, or unix for a path in `REDIS_URL`. If it is not set, `REDIS_URL` decides (in the reference it is unix)."),
    row("REDIS_TYPE", Text, Flag("store"), "SINGLE, SENTINEL or CLUSTER."),
    row("REDIS_TLS", Switch, Flag("store"), "If true, the connection to Redis uses TLS 1.2 or 1.3."),
    row("REDIS_TLS_CLIENT_CERT", Text, Flag("store-cert"), "With TLS; the key is needed, too. The files are read again for each connection."),
    row("REDIS_TLS_CLIENT_KEY", Text, Flag("store-key"), "See above."),
    row("REDIS_TLS_CACERT", Text, Flag("store-ca"), "With TLS. Only those in this file are trusted, and not those of the system, too."),
    row("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", Switch, Flag("store-tls-verify"), "With TLS: true means `ca`, which leaves out the name."),
    row("REDIS_SENTINEL_AUTH", Secret, Flag("store"), "`password` or `user:password`, with `REDIS_TYPE=SENTINEL`."),
    row("CACHE_KEY_PREFIX", Text, Checked, "Keys begin with `tg:`. A prefix is refused: give each deployment a database of its own, such as `REDIS_URL=redis://host:6379/1`."),
    row("REDIS_POOL_SIZE", Whole, Nothing, ONE_CONNECTION),
    row("REDIS_POOL_ON_EMPTY_BEHAVIOR", Text, Nothing, ONE_CONNECTION),
    row("REDIS_PIPELINE_WINDOW", Time, Nothing, ONE_CONNECTION),
    row("REDIS_PIPELINE_LIMIT", Whole, Nothing, ONE_CONNECTION),
    row("REDIS_CLUSTER_PIPELINE_PARALLELISM", Whole, Nothing, ONE_CONNECTION),
    row("REDIS_TIMEOUT", Time, Nothing, "`TOLLGATE_STORE_DEADLINE` (10 ms) says how long a request waits for Redis."),
    row("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", Switch, Nothing, "Once Redis was reached, `/healthcheck` never fails for Redis: a restart would not help. `/ready` tells."),
    row("REDIS_STARTUP_INITIAL_INTERVAL", Time, Nothing, "Tollgate listens at once, and keeps trying to reach Redis."),
    row("REDIS_STARTUP_MAX_INTERVAL", Time, Nothing, "See above."),
    row("REDIS_STARTUP_MAX_ELAPSED_TIME", Time, Nothing, "See above."),
    row("REDIS_PERSECOND", Switch, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_URL", Secret, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_AUTH", Secret, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_SENTINEL_AUTH", Secret, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_SOCKET_TYPE", Text, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_TYPE", Text, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_TLS", Switch, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_POOL_SIZE", Whole, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR", Text, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_PIPELINE_WINDOW", Time, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_PIPELINE_LIMIT", Whole, Nothing, PER_SECOND),
    row("REDIS_PERSECOND_TIMEOUT", Time, Nothing, PER_SECOND),
    row("EXPIRATION_JITTER_MAX_SECONDS", Whole, Nothing, "A bucket expires when it is full, and each at its own time."),
    row("LOCAL_CACHE_SIZE_IN_BYTES", Whole, Nothing, "The denial cache is always on, and exact; `TOLLGATE_DENIAL_CACHE=off` turns it off."),
    row("MEMCACHE_HOST_PORT", Text, Nothing, NO_MEMCACHED),
    row("MEMCACHE_SRV", Text, Nothing, NO_MEMCACHED),
    row("MEMCACHE_SRV_REFRESH", Time, Nothing, NO_MEMCACHED),
    row("MEMCACHE_MAX_IDLE_CONNS", Whole, Nothing, NO_MEMCACHED),
    row("MEMCACHE_TLS", Switch, Nothing, NO_MEMCACHED),
    row("MEMCACHE_TLS_CLIENT_CERT", Text, Nothing, NO_MEMCACHED),
    row("MEMCACHE_TLS_CLIENT_KEY", Text, Nothing, NO_MEMCACHED),
    row("MEMCACHE_TLS_CACERT", Text, Nothing, NO_MEMCACHED),
    row("MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION", Switch, Nothing, NO_MEMCACHED),
    // === metrics and traces ===
    row("USE_PROMETHEUS", Switch, Flag("metrics-listen"), "`/metrics` is on the port of `PORT` in any case. It has the reference's names and Tollgate's own."),
    row("PROMETHEUS_ADDR", Text, Flag("metrics-listen"), "With `USE_PROMETHEUS`. `:9090` by default."),
    row("PROMETHEUS_PATH", Text, Nothing, "The path is `/metrics`. With `USE_PROMETHEUS`, another one is warned about."),
    row("PROMETHEUS_MAPPER_YAML", Text, Nothing, "The names are those of the reference's own mapping."),
    row("PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS", Switch, Nothing, "Response times are in seconds."),
    row("NEAR_LIMIT_RATIO", Fraction, Flag("near-limit-ratio"), "For metrics. Only from 0 to 1."),
    row("USE_STATSD", Switch, Nothing, IN_METRICS),
    row("STATSD_HOST", Text, Nothing, IN_METRICS),
    row("STATSD_PORT", Whole, Nothing, IN_METRICS),
    row("USE_DOG_STATSD", Switch, Nothing, IN_METRICS),
    row("USE_DOG_STATSD_MOGRIFIERS", Text, Nothing, IN_METRICS),
    row("DOG_STATSD_MOGRIFIER_*", Text, Nothing, IN_METRICS),
    row("EXTRA_TAGS", Map, Nothing, "Let Prometheus add labels."),
    row("STATS_FLUSH_INTERVAL", Time, Nothing, "`/metrics` shows the counts of the moment."),
    row("DISABLE_STATS", Switch, Nothing, "`/metrics` is there in any case."),
    row("TRACING_ENABLED", Switch, Flag("traces"), "See [traces](traces.md). Without it, `OTEL_*` turns nothing on, as in the reference."),
    row("TRACING_SERVICE_NAME", Text, Flag("traces-resource"), "`service.name`. tollgate by default, not RateLimit."),
    row("TRACING_SERVICE_NAMESPACE", Text, Flag("traces-resource"), "`service.namespace`."),
    row("TRACING_SERVICE_INSTANCE_ID", Text, Flag("traces-resource"), "`service.instance.id`. Random by default."),
    row("TRACING_EXPORTER_PROTOCOL", Text, Flag("traces-protocol"), "http or grpc. http by default."),
    row("TRACING_SAMPLING_RATE", Fraction, Flag("traces-ratio"), "From 0 to 1. 1 by default. A caller that has decided goes before it."),
    row("OTEL_*", Text, Flag("traces"), "With `TRACING_ENABLED`. [Traces](traces.md) lists those that are read."),
];

/// The row of a variable. None: the reference does not know it.
pub(in crate::cli) fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| match row.name.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => row.name == name,
    })
}

// === impl Kind ===

impl Kind {
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Secret | SecretMap)
    }

    /// What to write instead, if the text is not such a value.
    pub(super) fn check(self, text: &str) -> Result<(), go::Expected> {
        match self {
            Text | Secret => Ok(()),
            Switch => go::switch(text).map(drop),
            Time => go::time(text).map(drop),
            Whole => go::whole(text).map(drop),
            Port => go::port(text).map(drop),
            Fraction => go::fraction(text).map(drop),
            Map | SecretMap => go::map(text).map(drop),
        }
    }
}
