//! The variables of envoyproxy/ratelimit, for whoever comes from there: a few are read, others missed.

use tracing::{info, warn};

use super::ServeError;
use crate::cli::{values, variables};

/// What tells a manifest of envoyproxy/ratelimit: its store, and where it finds its limits. None of them is read.
const NOT_READ: [&str; 27] = [
    "REDIS_URL",
    "REDIS_TYPE",
    "REDIS_SOCKET_TYPE",
    "REDIS_AUTH",
    "REDIS_SENTINEL_AUTH",
    "REDIS_TLS",
    "REDIS_TLS_CACERT",
    "REDIS_TLS_CLIENT_CERT",
    "REDIS_TLS_CLIENT_KEY",
    "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION",
    "REDIS_POOL_SIZE",
    "REDIS_TIMEOUT",
    "REDIS_PERSECOND",
    "REDIS_PERSECOND_URL",
    "REDIS_PERSECOND_TYPE",
    "REDIS_PERSECOND_SOCKET_TYPE",
    "REDIS_PERSECOND_AUTH",
    "BACKEND_TYPE",
    "CACHE_KEY_PREFIX",
    "MEMCACHE_HOST_PORT",
    "MEMCACHE_SRV",
    "RUNTIME_ROOT",
    "RUNTIME_SUBDIRECTORY",
    "RUNTIME_APPDIRECTORY",
    "CONFIG_TYPE",
    "CONFIG_GRPC_XDS_SERVER_URL",
    "CONFIG_GRPC_XDS_NODE_ID",
];

/// A switch of envoyproxy/ratelimit; absent or empty is off.
pub(super) fn is_on(name: &'static str) -> Result<bool, ServeError> {
    let Some(value) = variables::value(name) else { return Ok(false) };
    values::switch(&value).map_err(|source| ServeError::NoSwitch { name, value, source })
}

/// Without `--store` buckets live in memory, which somebody who has set `REDIS_URL` does not expect. Values are
/// not repeated: some are passwords.
pub(super) fn announce_memory() {
    let set: Vec<&str> = NOT_READ.into_iter().filter(|name| variables::value(name).is_some()).collect();
    if set.is_empty() {
        info!(
            "no --store given: buckets live in this process's memory; they end with it, and no other replica \
             sees them"
        );
    } else {
        warn!(
            "no --store given: buckets live in this process's memory, and no other replica sees them. \
             These variables of envoyproxy/ratelimit are set, and Tollgate does not read them: {}. \
             Say where Redis is by --store redis://host:port or TOLLGATE_STORE",
            set.join(", ")
        );
    }
}
