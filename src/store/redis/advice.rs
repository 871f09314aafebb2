//! Warns operators of settings of this Redis that they should know, once for each process.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use redis::{RedisError, aio::MultiplexedConnection, cmd};
use tokio::time::timeout;

use crate::store::refusal::Complaint;

/// The time for each answer. It may be long, since no request waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared by the runtimes of a process.
#[derive(Debug, Default)]
pub(super) struct Advice {
    is_given: AtomicBool,
}

impl Advice {
    /// Asks Redis for its settings and warns. Without an answer, it asks again at the next connection.
    pub(super) async fn give(&self, connection: &mut MultiplexedConnection) {
        if self.is_given.swap(true, Ordering::Relaxed) {
            return;
        }
        // Tollgate works without both commands, so a refusal is only worth a warning. To PING, a refusal is an answer.
        if let Ok(Err(error)) = timeout(PATIENCE, cmd("PING").query_async::<()>(connection)).await {
            warn_of_refused("PING", &error, "each PING adds an entry to this Redis' ACL log");
        }
        let info = timeout(PATIENCE, cmd("INFO").arg("memory").query_async::<String>(connection)).await;
        let info = match info {
            Ok(Ok(info)) => info,
            Ok(Err(error)) if error.code().is_some() => {
                return warn_of_refused(
                    "INFO",
                    &error,
                    "Tollgate cannot warn if this Redis may evict buckets",
                );
            }
            _ => return self.is_given.store(false, Ordering::Relaxed),
        };
        if let Some(policy) = evicting(&info) {
            tracing::warn!(
                maxmemory_policy = policy,
                "this Redis may evict buckets when its memory is full, and each evicted bucket admits another burst: set \
                 maxmemory-policy noeviction, with which a full Redis is a store failure"
            );
        }
    }
}

fn warn_of_refused(command: &str, error: &RedisError, consequence: &str) {
    let Some(code) = error.code() else { return };
    let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
    tracing::warn!(
        code = complaint.refusal.code(),
        "this Redis refuses {command}; {consequence}: {}",
        complaint.help()
    );
}

/// The policy, if it may evict buckets. All buckets expire, so every policy but `noeviction` may.
fn evicting(info: &str) -> Option<&str> {
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let is_bounded = value("maxmemory")?.trim() != "0";
    let policy = value("maxmemory_policy")?.trim();
    (is_bounded && policy != "noeviction").then_some(policy)
}

#[cfg(test)]
mod tests {
    use super::evicting;

    #[test]
    fn only_a_redis_that_may_evict_is_worth_a_word() {
        let info = |most: &str, policy: &str| {
            format!(
                "# Memory\r\nused_memory:1\r\nmaxmemory:{most}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        assert_eq!(evicting(&info("0", "allkeys-lru")), None);
        assert_eq!(evicting(&info("1000", "noeviction")), None);
        assert_eq!(evicting(&info("1000", "volatile-ttl")), Some("volatile-ttl"));
        assert_eq!(evicting("nothing"), None);
    }
}
