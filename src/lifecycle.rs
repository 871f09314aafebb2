//! The phase of the server: serving, leaving, draining, ended. It only moves forward.
//!
//! Each part that must act on a change waits for it by itself, so there is no list of parts to notify.

use std::{fs, future, io, sync::Arc, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use crate::clock;

/// The phases, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted and requests are answered.
    Serving,
    /// Health checks fail, so that load balancers look elsewhere. Clients that still come are served as before.
    Leaving,
    /// No connection is accepted, clients are told to leave, and calls in flight are answered.
    Draining,
    /// Connections that are still open are cut.
    Ended,
}

/// Shows the phase and advances it. All clones share it.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    phase: Arc<watch::Sender<Phase>>,
}

/// The signals that stop the process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if the process was started so that it outlives a hangup.
    hangup: Option<Signal>,
}

/// How long after the first signal another one counts as the same. `timeout` signals the process and then its group,
/// and a shell's Ctrl-C may arrive together with a SIGTERM from the program that the shell runs.
const ECHO: Duration = Duration::from_secs(1);

// === impl Lifecycle ===

impl Lifecycle {
    pub(crate) fn new() -> Lifecycle {
        Lifecycle { phase: Arc::new(watch::Sender::new(Phase::Serving)) }
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Advances to `phase`. Does nothing if that is the current phase or an earlier one.
    pub fn advance_to(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let ahead = *current < phase;
            *current = phase.max(*current);
            ahead
        });
    }

    /// Returns once the server is in `phase` or in a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.phase.subscribe();
        changes.wait_for(|current| *current >= phase).await.expect("self holds the sender");
    }
}

// === impl Signals ===

impl Signals {
    /// From here on these signals no longer end the process by themselves. Fails if the system refuses a handler.
    pub(crate) fn install() -> io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Signals { terminate, interrupt, hangup })
    }

    /// Leaves on the first signal. Ends on the next one that comes more than [`ECHO`] later.
    pub(crate) async fn drive(mut self, lifecycle: Lifecycle, drain_wait: Duration, drain_timeout: Duration) {
        let signal = self.next().await;
        let first = clock::monotonic();
        info!(
            signal,
            ?drain_wait,
            ?drain_timeout,
            "stopping: health checks fail from now on, and requests in flight are still answered"
        );
        lifecycle.advance_to(Phase::Leaving);

        let mut signal = self.next().await;
        while first.elapsed() <= ECHO {
            info!(
                signal,
                "counts as the first signal, which came less than {ECHO:?} ago; a later one ends the process at once"
            );
            signal = self.next().await;
        }
        warn!(signal, "stopping at once, on the second signal");
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

/// Whether the process was started so that it ignores a hangup, as `nohup` does. Listening for the signal would undo
/// that. False if the kernel does not tell.
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
