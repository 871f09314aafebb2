//! Requests that come by the admin port: each is handed to a runtime, which has a line to the store.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{Semaphore, mpsc::WeakUnboundedSender, oneshot};

use super::{
    routes::Routes,
    runtimes::{Dealt, Runtimes},
};
use crate::protocol::Service;

/// The most requests that are on their way at once; more would make Envoy's requests wait.
const MOST_CALLS: usize = 256;

/// Hands requests to the runtimes in turn.
pub(super) struct Aside {
    senders: Vec<WeakUnboundedSender<Dealt>>,
    next: AtomicUsize,
    room: Semaphore,
}

/// A request and who waits for its answer.
pub(super) struct JsonCall {
    body: Bytes,
    answer: oneshot::Sender<(StatusCode, String)>,
}

// === impl Aside ===

impl Aside {
    pub(super) fn to(runtimes: &Runtimes) -> Aside {
        Aside { senders: runtimes.senders(), next: AtomicUsize::new(0), room: Semaphore::new(MOST_CALLS) }
    }

    /// The status and the body of the answer.
    pub(super) async fn json(self: Arc<Aside>, body: Bytes) -> (StatusCode, String) {
        let Ok(_room) = self.room.try_acquire() else {
            return unavailable("too many requests are on their way");
        };
        let (answer, answered) = oneshot::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len().max(1);
        // What is not sent is dropped, and the channel with it.
        if let Some(sender) = self.senders.get(turn).and_then(WeakUnboundedSender::upgrade) {
            let _ = sender.send(Dealt::Json(JsonCall { body, answer }));
        }
        answered.await.unwrap_or_else(|_dropped| unavailable("stopping"))
    }
}

fn unavailable(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("Service Unavailable: {why}\n"))
}

// === impl JsonCall ===

impl JsonCall {
    pub(super) async fn answer<S: Service>(self, routes: &Routes<S>) {
        // If it fails, nobody waits any more.
        let _ = self.answer.send(routes.answer_json(&self.body).await);
    }
}
