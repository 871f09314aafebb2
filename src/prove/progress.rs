//! One line on standard error that says what is going on, if somebody watches.

use std::{
    future::Future,
    io::{IsTerminal, Write, stderr},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub(super) fn on_terminal() -> Progress {
        Progress { shown: stderr().is_terminal() }
    }

    pub(super) fn phase(&self, name: &str) {
        if self.shown {
            // A terminal that went away is no reason to stop a measurement.
            drop(write!(stderr(), "\r\x1b[K{name}\n"));
        }
    }

    /// Waits for `work` and shows how much was sent meanwhile.
    pub(super) async fn watch<F: Future>(&self, work: F, sent: &AtomicU64) -> F::Output {
        if !self.shown {
            return work.await;
        }
        let mut work = pin!(work);
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                output = &mut work => {
                    drop(write!(stderr(), "\r\x1b[K"));
                    return output;
                }
                _ = ticks.tick() => {
                    let sent = sent.load(Ordering::Relaxed);
                    drop(write!(stderr(), "\r\x1b[K  {sent} requests sent"));
                }
            }
        }
    }
}
