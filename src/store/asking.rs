//! A question that a store is answering.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::StoreError;
use tollgate_core::decision::Answer;

/// Becomes the answer. It is written by hand because it is kept for each request under way: an `async fn` at each step down to
/// the queue would keep the request several times, in thousands of bytes.
#[must_use = "the answer must be awaited"]
pub struct Asking<'a>(State<'a>);

enum State<'a> {
    /// None once it was given.
    Answered(Option<Result<Answer, StoreError>>),
    Queued(oneshot::Receiver<Result<Answer, StoreError>>),
    /// It takes several steps, in an allocation of its own.
    Steps(Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send + 'a>>),
}

impl<'a> Asking<'a> {
    /// It is answered already.
    pub(super) fn answered(answer: Result<Answer, StoreError>) -> Asking<'a> {
        Asking(State::Answered(Some(answer)))
    }

    /// It waits for the answer of a batch. The sender is dropped unused only if the store is dropped, or if a task panics.
    pub(super) fn queued(answer: oneshot::Receiver<Result<Answer, StoreError>>) -> Asking<'a> {
        Asking(State::Queued(answer))
    }

    /// It is answered in several steps.
    pub(super) fn steps(steps: impl Future<Output = Result<Answer, StoreError>> + Send + 'a) -> Asking<'a> {
        Asking(State::Steps(Box::pin(steps)))
    }
}

impl Future for Asking<'_> {
    type Output = Result<Answer, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Answered(answer) => Poll::Ready(answer.take().unwrap_or(Err(StoreError::Abandoned))),
            State::Queued(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Abandoned)))
            }
            State::Steps(steps) => steps.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
