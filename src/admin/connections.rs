//! The connections of the ports for operators: not too many, and none whose client takes nothing.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};
use tracing::warn;

use crate::{clock::Clock, logging::hourly::Hourly};

/// The most open connections of a port; further ones are closed at once.
pub(super) const MOST_CONNECTIONS: usize = 512;
/// How long a client may take nothing of what it asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that bounds its connections.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    open: Arc<AtomicUsize>,
    clock: Clock,
    refused: Hourly,
    dropped: Arc<Hourly>,
}

/// A connection that breaks if its client takes nothing.
pub(super) struct Patient<S> {
    stream: S,
    /// Runs while there is something that the client does not take.
    waits: Option<Pin<Box<Sleep>>>,
    open: Arc<AtomicUsize>,
    clock: Clock,
    dropped: Arc<Hourly>,
}

/// The address of a client, for routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

// === impl Bounded ===

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        Bounded {
            listener,
            open: Arc::default(),
            clock: Clock::start(),
            refused: Hourly::new(),
            dropped: Arc::default(),
        }
    }
}

impl Listener for Bounded {
    type Io = Patient<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient<TcpStream>, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            if self.open.load(Ordering::Relaxed) < MOST_CONNECTIONS {
                self.open.fetch_add(1, Ordering::Relaxed);
                let (open, dropped) = (Arc::clone(&self.open), Arc::clone(&self.dropped));
                return (Patient { stream, waits: None, open, clock: self.clock, dropped }, peer);
            }
            if let Some(times) = self.refused.occurs(self.clock.now_us()) {
                warn!(
                    times,
                    "a connection to a port for operators was closed at once, because {MOST_CONNECTIONS} are open"
                );
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

// === impl Patient ===

impl<S> Patient<S> {
    /// What becomes of a write.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(waits.as_mut().poll(context));
        if let Some(times) = self.dropped.occurs(self.clock.now_us()) {
            warn!(times, "a client of a port for operators took nothing for {PATIENCE:?}, and was dropped");
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S> Drop for Patient<S> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn connection() -> (Patient<DuplexStream>, DuplexStream) {
        let (stream, client) = duplex(4);
        let (open, dropped) = (Arc::new(AtomicUsize::new(1)), Arc::default());
        (Patient { stream, waits: None, open, clock: Clock::start(), dropped }, client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_dropped() {
        let (mut connection, _client) = connection();
        let error = connection.write_all(&[0; 100]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_is_waited_for() {
        let (mut connection, mut client) = connection();
        let reading = tokio::spawn(async move {
            let mut taken = 0;
            while taken < 100 {
                sleep(PATIENCE * 9 / 10).await;
                taken += client.read(&mut [0; 4]).await.unwrap();
            }
        });
        connection.write_all(&[0; 100]).await.unwrap();
        reading.await.unwrap();
    }
}
