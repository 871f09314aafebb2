//! Opens the way to Redis: TCP or a unix socket, with TLS if the address asks for it.
//!
//! If a name has several addresses, all are tried at once, and the first in order that answers is used, so that all
//! runtimes and replicas end at the same one. Files for TLS are read for each connection.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

use super::{
    address::{Place, Server},
    tls::{self, HandshakeError},
};
use crate::{
    certificates::{CertificateError, ClientTls, Verify},
    error::SystemError,
};

/// How long an address that comes earlier in order may take after a later one has answered.
const GRACE: Duration = Duration::from_millis(50);
/// The time for a handshake. It is shorter than the time for connecting, so that a port that speaks no TLS is named.
const HANDSHAKE: Duration = Duration::from_millis(600);
/// The time for finding out what else a port speaks.
const DIAGNOSIS: Duration = Duration::from_millis(250);

/// Bytes to and from Redis.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why there is no way to Redis.
#[derive(Debug, Error)]
pub(super) enum DialError {
    #[error("the name {0} cannot be resolved")]
    Name(String, #[source] SystemError),
    #[error("the name {0} has no address")]
    NoAddress(String),
    #[error(transparent)]
    Connect(#[from] SystemError),
    #[error(transparent)]
    Files(#[from] CertificateError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("this port speaks no TLS: write redis:// in place of rediss://")]
    IsPlain,
    #[error("no answer to the TLS handshake within {} ms", HANDSHAKE.as_millis())]
    Silent,
}

/// Connects. The caller bounds the time.
pub(super) async fn dial(server: &Server) -> Result<Box<dyn Stream>, DialError> {
    match server.place() {
        Place::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(SystemError::from)?)),
        Place::Host { name, port } => {
            let addresses = addresses(name, *port).await?;
            dial_first_of(server, name, addresses).await
        }
    }
}

/// Connects to the first of these addresses of a name that answers.
pub(super) async fn dial_first_of(
    server: &Server,
    name: &str,
    addresses: Vec<SocketAddr>,
) -> Result<Box<dyn Stream>, DialError> {
    let stream = tcp(addresses).await?;
    let Some(tls) = server.tls() else { return Ok(Box::new(stream)) };
    let addr = stream.peer_addr().map_err(SystemError::from)?;
    let config = tls.config().await?;
    match timeout(HANDSHAKE, tls::handshake(Arc::new(config), name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) if error.is_of_a_certificate() => Err(error.into()),
        _ if is_plain(addr).await => Err(DialError::IsPlain),
        Ok(Err(error)) => Err(error.into()),
        Err(_late) => Err(DialError::Silent),
    }
}

async fn tcp(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    let stream = match addresses[..] {
        [only] => TcpStream::connect(only).await,
        _ => first(addresses).await,
    };
    let stream = stream.map_err(SystemError::from)?;
    // Nagle's algorithm would delay a call by 40 ms.
    stream.set_nodelay(true).map_err(SystemError::from)?;
    Ok(stream)
}

/// All addresses of a name, in order; at least one.
pub(super) async fn addresses(name: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((name, port)).await;
    let found = found.map_err(|error| DialError::Name(name.to_owned(), error.into()))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(DialError::NoAddress(name.to_owned())) } else { Ok(addresses) }
}

/// The connection to the first of these addresses that answers, in their order. Ends the other attempts.
async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (number, address) in addresses.into_iter().enumerate() {
        attempts.spawn(async move { (number, TcpStream::connect(address).await) });
    }
    let mut best: Option<(usize, TcpStream)> = None;
    let mut error = io::Error::from(io::ErrorKind::NotConnected);
    loop {
        let attempt = match &best {
            Some((0, _)) => None,
            Some(_) => timeout(GRACE, attempts.join_next()).await.unwrap_or(None),
            None => attempts.join_next().await,
        };
        match attempt {
            Some(Ok((number, Ok(stream)))) => {
                if best.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                    best = Some((number, stream));
                }
            }
            Some(Ok((_, Err(failed)))) => error = failed,
            Some(Err(panicked)) => error = io::Error::other(panicked),
            None => return best.map_or(Err(error), |(_, stream)| Ok(stream)),
        }
    }
}

/// Whether a port that ended a plain connection speaks TLS.
pub(super) async fn speaks_tls(server: &Server) -> bool {
    let (Place::Host { name, port }, None) = (server.place(), server.tls()) else { return false };
    let anybody = ClientTls { verify: Verify::Nothing, ..ClientTls::default() };
    let asked = async {
        let Ok(config) = anybody.config() else { return false };
        let Ok(addresses) = addresses(name, *port).await else { return false };
        let Ok(stream) = tcp(addresses).await else { return false };
        match tls::handshake(Arc::new(config), name, stream).await {
            Ok(_) => true,
            Err(error) => error.is_of_a_certificate(),
        }
    };
    timeout(DIAGNOSIS, asked).await.unwrap_or(false)
}

/// Whether a port answers Redis' protocol in plain text.
async fn is_plain(addr: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read_u8().await
    };
    let first = timeout(DIAGNOSIS, asked).await;
    matches!(first, Ok(Ok(b'+' | b'-')))
}
