//! Bounds the memory of requests that have begun but do not end.
//!
//! A message that arrives in pieces is kept until it is complete, and a client may leave thousands of them unfinished.
//! Nearly every request arrives in one piece, which is not counted.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use crate::protocol::status::Failure;

/// Maximum size of all unfinished messages of one runtime. Envoy with 1,024 calls under way, each with a header of the
/// 60 kB that it lets pass, stays just below. A client of the nodes must not be able to exceed this, because its
/// requests would pass unlimited.
const MAX_UNFINISHED_BYTES: usize = 64 << 20;

/// The size of all unfinished messages of one runtime in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Unfinished(Arc<AtomicUsize>);

/// The body of one request, which fails with RESOURCE_EXHAUSTED when unfinished messages take too much memory.
#[derive(Debug)]
pub(super) struct BoundedBody<B = Incoming> {
    body: B,
    held: usize,
    all: Unfinished,
}

// === impl BoundedBody ===

impl<B> BoundedBody<B> {
    pub(super) fn new(body: B, all: &Unfinished) -> BoundedBody<B> {
        BoundedBody { body, held: 0, all: all.clone() }
    }

    /// Counts bytes of an unfinished message until this is dropped.
    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        self.held += bytes;
        let before = self.all.0.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= MAX_UNFINISHED_BYTES {
            return Ok(());
        }
        Err(Failure::Unfinished { max_bytes: MAX_UNFINISHED_BYTES }.into())
    }
}

impl<B: Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Unpin> Body for BoundedBody<B> {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if let Some(data) = frame.data_ref()
            && !self.body.is_end_stream()
        {
            let bytes = data.len();
            self.hold(bytes)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for BoundedBody<B> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.0.fetch_sub(self.held, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
    use tonic::{Code, codegen::tokio_stream};

    use super::*;

    fn in_pieces(count: usize, bytes: usize, all: &Unfinished) -> BoundedBody<BoxBody<Bytes, Infallible>> {
        let piece = Bytes::from(vec![0; bytes]);
        let frames = (0..count).map(move |_| Ok(Frame::data(piece.clone())));
        BoundedBody::new(BoxBody::new(StreamBody::new(tokio_stream::iter(frames))), all)
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_counted_until_it_is_dropped_and_a_body_in_one_piece_is_not() {
        let all = Unfinished::default();
        let mut whole = BoundedBody::new(Full::new(Bytes::from_static(&[0; 100])), &all);
        whole.frame().await.unwrap().unwrap();
        assert_eq!(all.0.load(Ordering::Relaxed), 0);

        let mut pieces = in_pieces(3, 10, &all);
        while pieces.frame().await.is_some() {}
        assert_eq!(all.0.load(Ordering::Relaxed), 30);
        drop(pieces);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_piece_beyond_the_bound_is_refused_and_later_ones_are_taken_again() {
        let all = Unfinished::default();
        let half = MAX_UNFINISHED_BYTES / 2;
        let mut held: Vec<_> = (0..2).map(|_| in_pieces(1, half, &all)).collect();
        for body in &mut held {
            body.frame().await.unwrap().unwrap();
        }
        let refused = in_pieces(1, 1, &all).frame().await.unwrap().unwrap_err();
        assert_eq!(refused.downcast::<Status>().unwrap().code(), Code::ResourceExhausted);
        held.pop();
        in_pieces(1, 1, &all).frame().await.unwrap().unwrap();
    }
}
