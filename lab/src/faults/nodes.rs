//! Clients at a steady pace in front of the load balancer, and what each was answered and when.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tollgate::clock::Clock;

use crate::http::Connection;

/// One request; in microseconds of one clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) key: &'static str,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// 0: no answer.
    pub(super) status: u16,
    pub(super) retry_after_s: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Load {
    clock: Clock,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: JoinSet<Vec<Visit>>,
}

impl Load {
    /// So many clients for each API key, each asking as often as that.
    pub(super) fn start(addr: SocketAddr, keys: &[&'static str], each: usize, every: Duration) -> Load {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut load = Load { clock: Clock::start(), stop, sent, clients: JoinSet::new() };
        let keys_count = keys.len();
        for (place, key) in keys.iter().copied().enumerate() {
            for number in 0..each {
                let (clock, stop, sent) = (load.clock, Arc::clone(&load.stop), Arc::clone(&load.sent));
                load.clients.spawn(async move {
                    let mut visits = Vec::new();
                    // Apart, so that they do not queue behind each other.
                    sleep(every.mul_f64(share(place * each + number, keys_count * each))).await;
                    let mut ticks = interval(every);
                    let mut connection = Connection::open(addr).await.ok();
                    while !stop.load(Ordering::Relaxed) {
                        ticks.tick().await;
                        let start_us = clock.now_us();
                        let answer = match &mut connection {
                            Some(connection) => connection.get("/", &[("x-api-key", key)]).await.ok(),
                            None => None,
                        };
                        let end_us = clock.now_us();
                        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
                        let retry_after = answer.as_ref().and_then(|answer| answer.header("retry-after"));
                        let retry_after_s = retry_after.and_then(|text| text.parse().ok());
                        visits.push(Visit { key, start_us, end_us, status, retry_after_s });
                        sent.fetch_add(1, Ordering::Relaxed);
                        if answer.is_none() {
                            connection = Connection::open(addr).await.ok();
                        }
                    }
                    visits
                });
            }
        }
        load
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(mut self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(visits) = self.clients.join_next().await {
            all.extend(visits.unwrap_or_default());
        }
        all
    }
}

#[allow(clippy::cast_precision_loss, reason = "a few clients")]
fn share(number: usize, of: usize) -> f64 {
    number as f64 / of as f64
}

/// The p-th of a hundred, in milliseconds.
pub(super) fn percentile_ms(visits: &[Visit], per_cent: usize) -> f64 {
    let mut took_us: Vec<u64> = visits.iter().map(|visit| visit.end_us - visit.start_us).collect();
    took_us.sort_unstable();
    let rank = (took_us.len() * per_cent / 100).min(took_us.len().saturating_sub(1));
    #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
    let ms = took_us.get(rank).copied().unwrap_or_default() as f64 / 1_000.0;
    ms
}

/// Over all intervals, the admitted that lie wholly inside against burst + refill · length: the largest share.
pub(super) fn worst_share(admitted: &[Visit], burst: u64, per_second: u64) -> f64 {
    let mut by_end: Vec<&Visit> = admitted.iter().collect();
    by_end.sort_unstable_by_key(|visit| visit.end_us);
    let mut worst = 0.0_f64;
    for from in admitted {
        let mut count = 0_u64;
        for visit in by_end.iter().filter(|visit| visit.start_us >= from.start_us) {
            count += 1;
            #[allow(clippy::cast_precision_loss, reason = "counts of a run")]
            let allowed =
                burst as f64 + per_second as f64 * (visit.end_us - from.start_us) as f64 / 1_000_000.0;
            #[allow(clippy::cast_precision_loss, reason = "counts of a run")]
            let share = count as f64 / allowed;
            worst = worst.max(share);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start_us: u64) -> Visit {
        Visit { key: "k", start_us, end_us: start_us + 10, status: 200, retry_after_s: None }
    }

    #[test]
    fn the_worst_interval_is_found_wherever_it_lies() {
        let steady: Vec<Visit> = (0..20).map(|n| at(n * 1_000_000)).collect();
        assert!(worst_share(&steady, 1, 1) <= 1.0);
        let mut burst = steady.clone();
        burst.extend([at(7_000_001), at(7_000_002)]);
        let share = worst_share(&burst, 1, 1);
        assert!((2.9..3.1).contains(&share), "{share}");
    }
}
