//! A socket without vectored writes, so that small answers are sent together.
//!
//! If the socket supports vectored writes, h2 writes each DATA frame of 256 bytes or more by itself. If it does not,
//! h2 copies frames below 1,024 bytes into one buffer (`CHAIN_THRESHOLD` in its `codec/framed_write.rs`). A denial
//! with its body lies between the two: with vectored writes each would cost a system call of its own, and twice the
//! CPU.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A TCP stream whose writes are not vectored.
#[derive(Debug)]
pub(super) struct Unvectored(TokioIo<TcpStream>);

impl Unvectored {
    pub(super) fn new(stream: TcpStream) -> Unvectored {
        Unvectored(TokioIo::new(stream))
    }
}

impl Read for Unvectored {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

/// `is_write_vectored` keeps its default, which is false.
impl Write for Unvectored {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
