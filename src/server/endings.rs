//! How connections ended: logged and counted.
//!
//! A client can end its connection in any way it likes, as often as it likes, so that is logged at debug. Warnings and
//! errors are bounded: they come the first time, and then once an hour with the number of times.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::JoinError;
use tracing::{debug, error};

use super::{connection::ConnectionError, not_http2::NotHttp2};
use crate::{clock::Clock, logging::hourly::Hourly, metrics::Metrics, tasks::Task};

/// Shared by all runtimes of a server.
#[derive(Debug)]
pub(super) struct Endings {
    not_http2: NotHttp2,
    clock: Clock,
    panics: Hourly,
    cut: AtomicUsize,
}

// === impl Endings ===

impl Endings {
    pub(super) fn new(metrics: Arc<Metrics>) -> Endings {
        let (not_http2, panics) = (NotHttp2::new(metrics), Hourly::new());
        Endings { not_http2, clock: Clock::start(), panics, cut: AtomicUsize::new(0) }
    }

    /// Takes what a connection's task returned, or the panic that ended it.
    pub(super) fn note(&self, ended: Result<(SocketAddr, Result<(), ConnectionError>), JoinError>) {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((peer, Err(error))) => {
                match &error {
                    ConnectionError::NotHttp2(opening) => self.not_http2.note(peer, *opening),
                    ConnectionError::Unreadable(error) => self.not_http2.note_unreadable(peer, error),
                    ConnectionError::NotTls => self.not_http2.note_plain(peer),
                    ConnectionError::Handshake(error) => self.not_http2.note_handshake(peer, error),
                    ConnectionError::Cut => {
                        self.cut.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                debug!(%peer, error = &error as &dyn Error, "connection ended");
            }
            Err(panic) => {
                Task::ClientConnection.count_panic();
                if let Some(times) = self.panics.occurs(self.clock.now_us()) {
                    error!(error = &panic as &dyn Error, times, "{BUG}");
                }
            }
        }
    }

    /// The number of connections that were still open when the server ended, of runtimes that have ended.
    pub(super) fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

const BUG: &str =
    "a bug in Tollgate closed a client's connection, and failed the calls on it; please report it";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_a_bug_ends_are_all_counted_and_told_once_an_hour() {
        let endings = Endings::new(Arc::new(Metrics::new()));
        let count = || crate::tasks::panics().find(|(task, _)| *task == Task::ClientConnection.name());
        let before = count().unwrap().1;
        for _ in 0..3 {
            let ended = tokio::spawn(async { panic!("as a test wishes") }).await;
            endings.note(ended);
        }
        // Other tests of this process may count as well.
        assert!(count().unwrap().1 >= before + 3);
        assert_eq!(
            endings.panics.occurs(endings.clock.now_us()),
            None,
            "the first was told, and no other is due"
        );
    }
}
