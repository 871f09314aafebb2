//! The listeners: how they are opened; what the gRPC port accepts, and how it closes.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time,
};
use tracing::{debug, warn};

use super::{Port, ServerError, runtimes::Runtimes};
use crate::{error::SystemError, metrics::Metrics};

/// How long to wait before accepting again when the process is out of file descriptors or memory. Trying at
/// once would spin, and keep busy the thread that answers the admin port.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel accepts before we do. What comes beyond has to try again after a second, which is
/// longer than Envoy waits; tokio's 128 is less than what a fleet opens at once when a replica has left.
const BACKLOG: u32 = 1_024;

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    bound: Bound,
}

/// How many connections may be open, and who counts those beyond.
#[derive(Debug)]
struct Bound {
    most: usize,
    metrics: Arc<Metrics>,
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn new(listener: TcpListener, most: usize, metrics: Arc<Metrics>) -> Acceptor {
        Acceptor { listener, bound: Bound { most, metrics } }
    }

    /// Closes the listener, once the connections that the kernel has accepted already are dealt: it would reset
    /// them. One that comes between the last look and the close still is.
    pub(super) fn close(self, runtimes: &Runtimes) -> io::Result<()> {
        // Asked without the runtime, which would go by what it last heard from the kernel.
        let listener = self.listener.into_std()?;
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.bound.deal(TcpStream::from_std(stream)?, peer, runtimes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if has_gone_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deals connections until dropped.
    pub(super) async fn accept(&self, runtimes: &Runtimes) -> Infallible {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => self.bound.deal(stream, peer, runtimes),
                Err(error) if has_gone_again(&error) => {}
                Err(error) => {
                    warn!(error = %SystemError::from(error), "cannot accept connections; trying again");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

// === impl Bound ===

impl Bound {
    fn deal(&self, stream: TcpStream, peer: SocketAddr, runtimes: &Runtimes) {
        if runtimes.open() >= self.most {
            self.metrics.count_refused_connection();
            debug!(%peer, most = self.most, "connection refused: --max-connections are already open");
            return;
        }
        if let Err(error) = runtimes.deal(stream, peer) {
            debug!(%peer, error = %SystemError::from(error), "connection lost before it was served");
        }
    }
}

/// The client has, before it was accepted; nothing is wrong here.
fn has_gone_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A successor on the same port does not have to wait for connections of ours that linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

pub(super) async fn bind(address: SocketAddr, port: Port) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |error: io::Error| ServerError::Listen { address, port, source: error.into() };
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
