//! Rounds of load on all targets: a number of requests, a length of time, or a rate.
//!
//! Workers take turns from one counter, and the turn names the target, so all targets get the same share.
//! Every round ends by itself: at its number, its end, the most requests that a run may record, or Ctrl-C.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep};
use tollgate_core::duration::micros;

use super::{
    progress::Progress,
    record::{MOST_ENTRIES, Record},
    timeline::Timeline,
    worker::{Common, Reply, Worker},
};

/// HTTP/2 connections to each target, shared by all workers.
const SHARED_CONNECTIONS: usize = 4;

/// How much one round sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    /// That many, as fast as the workers can.
    Count(u64),
    /// As fast as the workers can, for that long.
    For(Duration),
    /// At that many a second, for that long. Late ones are sent late, none is dropped.
    Paced { per_second: u32, duration: Duration },
}

#[derive(Debug)]
pub(super) struct Load {
    common: Arc<Common>,
    workers: Vec<Worker>,
    stop: watch::Receiver<bool>,
    sent: Arc<AtomicU64>,
    alone: usize,
}

struct Turn {
    number: u64,
    /// When it should have begun, if that is past.
    due_us: Option<u64>,
}

/// What the workers of one round share.
struct Round {
    schedule: Schedule,
    begin_us: u64,
    timeline: Timeline,
    next: AtomicU64,
    sent: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
}

// === impl Load ===

impl Load {
    /// Opens all connections, and sends nothing yet: the first request should find a burst right behind it.
    pub(super) async fn open(common: Common, concurrency: u16, stop: watch::Receiver<bool>) -> Load {
        let common = Arc::new(common);
        let mut first: Vec<Worker> = (0..concurrency).map(|_| Worker::new(Arc::clone(&common))).collect();
        let mut rest = first.split_off(first.len().min(SHARED_CONNECTIONS));
        let mut workers = connected(first).await;
        for (worker, other) in rest.iter_mut().zip((0..workers.len()).cycle()) {
            worker.share_links_of(&workers[other]);
        }
        workers.append(&mut connected(rest).await);
        Load { common, workers, stop, sent: Arc::default(), alone: 0 }
    }

    pub(super) fn now_us(&self) -> u64 {
        self.common.timeline.before_us()
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= MOST_ENTRIES
    }

    /// Runs all workers until the schedule is done and every answer is there.
    pub(super) async fn round(&mut self, schedule: Schedule, progress: &Progress) {
        let round = Arc::new(Round {
            schedule,
            begin_us: self.common.timeline.before_us(),
            timeline: self.common.timeline,
            next: AtomicU64::new(0),
            sent: Arc::clone(&self.sent),
            stop: self.stop.clone(),
        });
        let targets = self.common.spots.len();
        let mut working = JoinSet::new();
        for worker in self.workers.drain(..) {
            working.spawn(work(worker, Arc::clone(&round), targets));
        }
        self.workers = progress.watch(working.join_all(), &self.sent).await;
    }

    /// One request on its own, to each target in turn; none once the run is stopped.
    pub(super) async fn one(&mut self) -> Option<Reply> {
        if self.is_stopped() {
            return None;
        }
        let target = self.alone % self.common.spots.len();
        self.alone += 1;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Some(self.workers.first_mut()?.send(target, None).await)
    }

    /// Sends nothing for that long, or until the run is stopped.
    pub(super) async fn pause(&self, duration: Duration) {
        pause(duration, self.stop.clone()).await;
    }

    /// For findings that are not those of one answer alone.
    pub(super) fn record(&mut self) -> Option<&mut Record> {
        self.workers.first_mut().map(Worker::record)
    }

    pub(super) fn into_record(self) -> Record {
        self.workers.into_iter().fold(Record::default(), |mut whole, worker| {
            whole.append(worker.into_record());
            whole
        })
    }
}

async fn connected(workers: Vec<Worker>) -> Vec<Worker> {
    let mut connecting = JoinSet::new();
    for mut worker in workers {
        connecting.spawn(async move {
            worker.connect().await;
            worker
        });
    }
    connecting.join_all().await
}

async fn work(mut worker: Worker, round: Arc<Round>, targets: usize) -> Worker {
    while let Some(turn) = round.take().await {
        // A remainder by a usize fits one.
        let target = turn.number % u64::try_from(targets).unwrap_or(1);
        worker.send(usize::try_from(target).unwrap_or(0), turn.due_us).await;
    }
    worker
}

async fn pause(duration: Duration, mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left who could stop the run, which then waits to the end.
    tokio::select! {
        () = sleep(duration) => {}
        Ok(_) = stop.wait_for(|&stopped| stopped) => {}
    }
}

// === impl Round ===

impl Round {
    /// The next turn, once it is due; none when the round is over.
    async fn take(&self) -> Option<Turn> {
        if *self.stop.borrow() || self.sent.load(Ordering::Relaxed) >= MOST_ENTRIES {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due_us = match self.schedule {
            Schedule::Count(count) => (number < count).then_some(None)?,
            Schedule::For(duration) => (self.passed_us() < micros(duration)).then_some(None)?,
            Schedule::Paced { per_second, duration } => {
                let after_us = number.saturating_mul(1_000_000) / u64::from(per_second);
                if after_us >= micros(duration) {
                    return None;
                }
                let passed_us = self.passed_us();
                if after_us > passed_us {
                    pause(Duration::from_micros(after_us - passed_us), self.stop.clone()).await;
                }
                // Only what found no free worker is late; a timer that wakes late is not the limiter's doing.
                (after_us < passed_us).then_some(self.begin_us + after_us)
            }
        };
        self.sent.fetch_add(1, Ordering::Relaxed);
        Some(Turn { number, due_us })
    }

    fn passed_us(&self) -> u64 {
        self.timeline.before_us().saturating_sub(self.begin_us)
    }
}
