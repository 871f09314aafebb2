//! What operators can see of the connection to the server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{clock::Clock, metrics::Metrics};
use std::sync::Arc;

/// Shared by the client and the metrics.
#[derive(Debug)]
pub(super) struct Health {
    clock: Clock,
    is_connected: AtomicBool,
    /// 0: never.
    accepted_us: AtomicU64,
}

// === impl Health ===

impl Health {
    pub(super) fn new() -> Health {
        Health { clock: Clock::start(), is_connected: AtomicBool::new(false), accepted_us: AtomicU64::new(0) }
    }

    pub(super) fn connected(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
    }

    pub(super) fn disconnected(&self) {
        self.is_connected.store(false, Ordering::Relaxed);
    }

    /// An answer was accepted.
    pub(super) fn accepted(&self) {
        self.accepted_us.store(self.clock.now_us(), Ordering::Relaxed);
    }

    /// The seconds since an answer was accepted; -1 before the first.
    fn age_s(&self) -> i64 {
        match self.accepted_us.load(Ordering::Relaxed) {
            0 => -1,
            accepted => {
                i64::try_from(self.clock.now_us().saturating_sub(accepted) / 1_000_000).unwrap_or(i64::MAX)
            }
        }
    }
}

/// Adds the gauges to the page of `metrics`.
pub(super) fn show(metrics: &Metrics, health: &Arc<Health>) {
    let (connected, accepted) = (Arc::clone(health), Arc::clone(health));
    metrics.show(
        "tollgate_xds_connected",
        "1 while there is a connection to the xDS server. 0 for long: the log says why; the last rules stay in force.",
        move || i64::from(connected.is_connected.load(Ordering::Relaxed)),
    );
    metrics.show(
        "tollgate_xds_accepted_age_seconds",
        "Seconds since rules of the xDS server were accepted; -1 before the first. It grows while nothing changes.",
        move || accepted.age_s(),
    );
}
