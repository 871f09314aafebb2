//! A connector that is a function.

use std::task::{Context, Poll};

/// Calls a function for each connection.
#[derive(Clone)]
pub(crate) struct Connector<F>(pub(crate) F);

impl<F, R, U> tower_service::Service<U> for Connector<F>
where
    F: FnMut() -> R,
    R: Future,
    R: TryConnect,
{
    type Response = R::Stream;
    type Error = std::io::Error;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: U) -> R {
        (self.0)()
    }
}

/// A future of a stream.
pub(crate) trait TryConnect: Future<Output = std::io::Result<Self::Stream>> {
    type Stream;
}

impl<F: Future<Output = std::io::Result<S>>, S> TryConnect for F {
    type Stream = S;
}
