//! The variables of envoyproxy/ratelimit, for operators who come from there: a few are
//! read, and others are warned about.

use tracing::{info, warn};

use super::ServeError;
use crate::cli::{values, variables};

/// Variables by which a manifest of envoyproxy/ratelimit is recognized. Tollgate reads none of them.
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
    values::switch(&value).map_err(|source| ServeError::NotASwitch { name, value, source })
}

/// Without `--store` buckets are kept in memory, which an operator who has set `REDIS_URL` does not expect. The
/// variables' values are not logged, because some are passwords.
pub(super) fn announce_memory() {
    let set: Vec<&str> = NOT_READ.into_iter().filter(|name| variables::value(name).is_some()).collect();
    if set.is_empty() {
        info!(
            "no --store was given: buckets are kept in this process's memory, are lost when it ends, and are \
             not shared with other replicas"
        );
    } else {
        warn!(
            "no --store was given: buckets are kept in this process's memory, and are not shared with other \
             replicas. These variables of envoyproxy/ratelimit are set, but Tollgate does not read them: {}. \
             Set --store redis://host:port or TOLLGATE_STORE",
            set.join(", ")
        );
    }
}
