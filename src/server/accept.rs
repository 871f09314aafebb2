//! Opens the listeners, accepts the connections of those for Envoy, and closes them.

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

/// How long to wait before accepting again when the process is out of file descriptors or memory. Trying at once would
/// spin, and starve the admin port, which this thread also serves.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of connections that the kernel accepts before the process does. A client beyond it tries again
/// after a second, which is longer than Envoy waits. tokio's 128 is less than what a fleet opens at once when a
/// replica leaves.
const BACKLOG: u32 = 1_024;

/// Accepts the connections of a port for Envoy.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    dealer: Dealer,
}

/// Deals accepted connections to the runtimes. Closes and counts those beyond the maximum.
#[derive(Debug)]
struct Dealer {
    port: Port,
    max_connections: usize,
    metrics: Arc<Metrics>,
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn new(
        listener: TcpListener,
        port: Port,
        max_connections: usize,
        metrics: Arc<Metrics>,
    ) -> Acceptor {
        Acceptor { listener, dealer: Dealer { port, max_connections, metrics } }
    }

    /// Deals the connections that the kernel has accepted already, which it would reset, and then closes the
    /// listener. A connection that arrives between the last look and the close is still reset.
    pub(super) fn close(self, runtimes: &Runtimes) -> io::Result<()> {
        // Asks the kernel itself, because tokio would answer by what it last heard from it.
        let listener = self.listener.into_std()?;
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.dealer.deal(TcpStream::from_std(stream)?, peer, runtimes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if was_aborted_by_client(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deals connections until dropped.
    pub(super) async fn accept(&self, runtimes: &Runtimes) -> Infallible {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => self.dealer.deal(stream, peer, runtimes),
                Err(error) if was_aborted_by_client(&error) => {}
                Err(error) => {
                    warn!(error = %SystemError::from(error), "cannot accept connections; trying again");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

// === impl Dealer ===

impl Dealer {
    fn deal(&self, stream: TcpStream, peer: SocketAddr, runtimes: &Runtimes) {
        if runtimes.open() >= self.max_connections {
            self.metrics.count_refused_connection();
            debug!(%peer, max_connections = self.max_connections, "connection refused: --max-connections are already open");
            return;
        }
        if let Err(error) = runtimes.deal(stream, peer, self.port) {
            debug!(%peer, error = %SystemError::from(error), "connection lost before it was served");
        }
    }
}

/// The client aborted the connection before it was accepted, which is no fault of this process.
fn was_aborted_by_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A later process can listen on the same port while connections of this one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on `address`. Returns the address that was bound, whose port differs if 0 was asked for.
pub(super) async fn bind(address: SocketAddr, port: Port) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |error: io::Error| ServerError::Listen { address, port, source: error.into() };
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
