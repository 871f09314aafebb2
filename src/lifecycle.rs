//! How far the server is: serving, leaving, draining, ended. It only goes forward.
//!
//! Each part that must act on a change waits for it itself, so there is no list of parts to notify.

use std::{fs, future, io, sync::Arc, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use crate::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Health says no, so that load balancers look elsewhere; who comes nevertheless is served as ever.
    Leaving,
    /// Nothing new is accepted, clients are told to go, calls in flight are answered.
    Draining,
    /// What is still open is cut.
    Ended,
}

/// A shared view of the phase, and the means to advance it.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    phase: Arc<watch::Sender<Phase>>,
}

/// The signals that stop the process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where whoever started the process wants it to outlive a hangup.
    hangup: Option<Signal>,
}

/// How long after the first signal another one is taken for the same wish. `timeout` signals the process and then
/// its group, and a shell's Ctrl-C may come together with the SIGTERM of what it runs.
const ECHO: Duration = Duration::from_secs(1);

// === impl Lifecycle ===

impl Lifecycle {
    pub(crate) fn new() -> Lifecycle {
        Lifecycle { phase: Arc::new(watch::Sender::new(Phase::Serving)) }
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to `phase`; stays where it is if that lies behind.
    pub fn advance_to(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let ahead = *current < phase;
            *current = phase.max(*current);
            ahead
        });
    }

    /// Returns once `phase` is reached or behind.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.phase.subscribe();
        changes.wait_for(|current| *current >= phase).await.expect("self holds the sender");
    }
}

// === impl Signals ===

impl Signals {
    /// From here on the process is not ended by these signals any more.
    pub(crate) fn install() -> io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Signals { terminate, interrupt, hangup })
    }

    /// Leaves on the first signal, ends on the next one that is no echo of it.
    pub(crate) async fn drive(mut self, lifecycle: Lifecycle, drain_wait: Duration, drain_timeout: Duration) {
        let signal = self.next().await;
        let first = clock::monotonic();
        info!(
            signal,
            ?drain_wait,
            ?drain_timeout,
            "stopping: health says no, then what is in flight is answered"
        );
        lifecycle.advance_to(Phase::Leaving);

        let mut signal = self.next().await;
        while first.elapsed() <= ECHO {
            info!(
                signal,
                "taken for the same wish as the first, which came within {ECHO:?}; one more ends at once"
            );
            signal = self.next().await;
        }
        warn!(signal, "stopping at once");
        lifecycle.advance_to(Phase::Ended);
    }

    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => future::pending().await,
            }
        };
        select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Whether the process was started so that a hangup does nothing, as `nohup` starts it. Listening for the signal
/// would undo that. Where the kernel does not say so, it is not known.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1 << 0;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_is_reached_also_when_it_is_passed_over_and_never_left_again() {
        let lifecycle = Lifecycle::new();
        let seen = lifecycle.clone();
        let waiting = tokio::spawn(async move { seen.reached(Phase::Draining).await });
        lifecycle.advance_to(Phase::Ended);
        waiting.await.unwrap();

        lifecycle.advance_to(Phase::Draining);
        assert_eq!(lifecycle.phase(), Phase::Ended);
        lifecycle.reached(Phase::Serving).await;
    }
}
