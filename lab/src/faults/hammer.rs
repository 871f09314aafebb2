//! Clients that never pause, and the limit that they hammer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::clock::Clock;

use super::{
    FaultsError,
    asker::{Answer, Asker},
    nodes::{Visit, worst_share},
};
use crate::tollgate::Tollgate;

pub(super) const BURST: u64 = 100;
pub(super) const PER_SECOND: u64 = 20;
/// The limit of each key.
const CLIENTS: usize = 3;

pub(super) struct Hammer {
    clock: Clock,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Visit>>,
}

/// A limits file with that limit for this key. Without the store nothing is admitted.
pub(super) fn limit(key: &str, more: &str) -> String {
    format!(
        "- key: {key}\n  rate_limit: {{ unit: second, requests_per_unit: {PER_SECOND}, burst: {BURST}, \
         on_store_failure: error{more} }}\n"
    )
}

/// The largest ratio of admitted requests to burst + refill · length over all intervals, allowing for further bursts.
pub(super) fn worst_with(admitted: &[Visit], more: u64) -> f64 {
    worst_share(admitted, BURST + more, PER_SECOND)
}

// === impl Hammer ===

impl Hammer {
    pub(super) async fn on(tollgate: &Tollgate, keys: &[&'static str]) -> Result<Hammer, FaultsError> {
        let (clock, stop) = (Clock::start(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for key in keys.iter().copied() {
            for _ in 0..CLIENTS {
                let asker = Asker::connect(tollgate.grpc()).await?;
                clients.spawn(hammer(asker, key, clock, Arc::clone(&stop)));
            }
        }
        Ok(Hammer { clock, stop, clients })
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// The number of admitted requests.
    pub(super) async fn stop(mut self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(admitted) = self.clients.join_next().await {
            all.extend(admitted.unwrap_or_default());
        }
        all.sort_unstable_by_key(|visit| visit.start_us);
        all
    }
}

async fn hammer(mut asker: Asker, key: &'static str, clock: Clock, stop: Arc<AtomicBool>) -> Vec<Visit> {
    let mut admitted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start_us = clock.now_us();
        let answer = asker.ask(key, "hammered").await;
        let end_us = clock.now_us();
        if let Answer::Admitted { .. } = answer {
            admitted.push(Visit { key, start_us, end_us, status: 200, retry_after_s: None });
        }
        sleep(Duration::from_millis(1)).await;
    }
    admitted
}
