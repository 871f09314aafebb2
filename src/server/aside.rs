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
use crate::{
    admin::NotDone,
    hands::{Order, Report},
    protocol::Service,
};

/// The most requests that are on their way at once; more would make Envoy's requests wait.
const MOST_CALLS: usize = 256;

/// Hands requests to the runtimes in turn.
pub(super) struct Aside {
    senders: Vec<WeakUnboundedSender<Dealt>>,
    next: AtomicUsize,
    room: Semaphore,
}

/// A request, and who waits for its answer.
pub(super) enum AsideCall {
    /// To be decided, as JSON.
    Json { body: Bytes, answer: oneshot::Sender<(StatusCode, String)> },
    /// An act on the buckets that a request would ask.
    Act { order: Order, request: Bytes, answer: oneshot::Sender<Result<Report, NotDone>> },
}

// === impl Aside ===

impl Aside {
    pub(super) fn to(runtimes: &Runtimes) -> Aside {
        Aside { senders: runtimes.senders(), next: AtomicUsize::new(0), room: Semaphore::new(MOST_CALLS) }
    }

    /// The status and the body of the answer.
    pub(super) async fn json(self: Arc<Aside>, body: Bytes) -> (StatusCode, String) {
        let called = self.call(|answer| AsideCall::Json { body, answer }).await;
        called.unwrap_or_else(unavailable)
    }

    /// What was done to the buckets of the request.
    pub(super) async fn act(self: Arc<Aside>, order: Order, request: Bytes) -> Result<Report, NotDone> {
        let called = self.call(|answer| AsideCall::Act { order, request, answer }).await;
        called.unwrap_or_else(|why| Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned())))
    }

    /// Hands the call to a runtime, and waits for what it sends. Fails with the reason if none takes it.
    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> AsideCall) -> Result<T, &'static str> {
        let Ok(_room) = self.room.try_acquire() else { return Err("too many requests are on their way") };
        let (answer, answered) = oneshot::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len().max(1);
        // What is not sent is dropped, and the channel with it.
        if let Some(sender) = self.senders.get(turn).and_then(WeakUnboundedSender::upgrade) {
            let _ = sender.send(Dealt::Aside(call(answer)));
        }
        answered.await.map_err(|_dropped| "stopping")
    }
}

fn unavailable(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("Service Unavailable: {why}\n"))
}

// === impl AsideCall ===

impl AsideCall {
    pub(super) async fn answer<S: Service>(self, routes: &Routes<S>) {
        // If sending fails, nobody waits any more.
        match self {
            AsideCall::Json { body, answer } => drop(answer.send(routes.answer_json(&body).await)),
            AsideCall::Act { order, request, answer } => {
                drop(answer.send(routes.act(&order, &request).await))
            }
        }
    }
}
