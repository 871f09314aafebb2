//! Requests without a pause, while something changes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::client::Request;

const PAUSE: Duration = Duration::from_millis(5);

/// An answer: when its request was sent, and its status; none if there was no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) status: Option<u16>,
}

/// One client that sends the same request over and over.
pub(crate) struct Load {
    seen: Arc<Mutex<Vec<Seen>>>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

// === impl Load ===

impl Load {
    pub(crate) fn of(request: Request) -> Load {
        let (seen, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (Arc::clone(&seen), Arc::clone(&ends));
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                let at = Instant::now();
                let status = request.send().await.ok().map(|answer| answer.status.as_u16());
                into.lock().expect("not poisoned").push(Seen { at, status });
                tokio::time::sleep(PAUSE).await;
            }
        });
        Load { seen, ends, task }
    }

    /// Those so far that were sent at that time or later, and answered with this status.
    pub(crate) fn count(&self, since: Instant, status: u16) -> usize {
        let seen = self.seen.lock().expect("not poisoned");
        seen.iter().filter(|seen| seen.at >= since && seen.status == Some(status)).count()
    }

    pub(crate) async fn end(self) -> Vec<Seen> {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends");
        Arc::try_unwrap(self.seen).expect("the task is gone").into_inner().expect("not poisoned")
    }
}

/// All were answered, and all with one status.
pub(crate) fn assert_all(seen: &[Seen], status: u16) {
    assert!(seen.len() >= 100, "{} requests prove little", seen.len());
    let others: Vec<_> = seen.iter().filter(|seen| seen.status != Some(status)).collect();
    let first = seen[0].at;
    let when: Vec<_> = others.iter().take(5).map(|seen| (seen.at - first, seen.status)).collect();
    assert!(others.is_empty(), "{} of {} were not {status}: {when:?}", others.len(), seen.len());
}
