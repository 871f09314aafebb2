//! One connection to the server: TCP, TLS and HTTP/2.
//!
//! The files of TLS are read for each connection. The server is asked whether it is still there only after six minutes
//! of silence: gRPC servers close connections that ask more than once in five.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc, task, time::Duration};

use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinHandle, time};
use tokio_rustls::{
    TlsConnector,
    rustls::pki_types::{InvalidDnsNameError, ServerName},
};
use tonic::body::Body;
use tower_service::Service;

use super::Options;
use crate::{
    certificates::{CertificateError, ClientTls},
    error::SystemError,
};

/// For the connection and its handshakes together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ASK_AFTER: Duration = Duration::from_secs(360);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An open connection, which is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    requests: Requests,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

/// Sends requests over a connection.
#[derive(Debug, Clone)]
pub(super) struct Requests(SendRequest<Body>);

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("cannot connect")]
    Tcp(#[source] SystemError),
    #[error("no connection within {CONNECT_WITHIN:?}")]
    TooLate,
    #[error("TLS cannot be used")]
    Files(#[from] CertificateError),
    #[error("{name:?} is not a name that a certificate can have")]
    Name { name: String, source: InvalidDnsNameError },
    #[error("the TLS handshake failed")]
    Handshake(#[source] SystemError),
    #[error("the server does not speak HTTP/2{}", .tls.then_some("").unwrap_or("; if it expects TLS, set --xds-tls on"))]
    Http { tls: bool, source: hyper::Error },
}

// === impl Connection ===

impl Connection {
    /// Connects. Fails after ten seconds at the latest.
    pub(super) async fn open(options: &Options) -> Result<Connection, ConnectError> {
        time::timeout(CONNECT_WITHIN, open(options)).await.unwrap_or(Err(ConnectError::TooLate))
    }

    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Why it broke. None if it has not.
    pub(super) async fn broken(&mut self) -> Option<hyper::Error> {
        // It ends as soon as its call does, if it is broken.
        let ended = time::timeout(Duration::from_millis(100), &mut self.driver).await;
        ended.ok()?.ok()?.err()
    }

    async fn start(
        io: impl Read + Write + Unpin + Send + 'static,
        tls: bool,
    ) -> Result<Connection, ConnectError> {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(ASK_AFTER)
            .keep_alive_timeout(ANSWER_WITHIN)
            .keep_alive_while_idle(true)
            .handshake(io);
        let (requests, connection) = handshake.await.map_err(|source| ConnectError::Http { tls, source })?;
        let driver = tokio::spawn(connection);
        Ok(Connection { requests: Requests(requests), driver })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn open(options: &Options) -> Result<Connection, ConnectError> {
    let tcp = TcpStream::connect(&options.server).await.map_err(|error| ConnectError::Tcp(error.into()))?;
    tcp.set_nodelay(true).map_err(|error| ConnectError::Tcp(error.into()))?;
    let Some(tls) = &options.tls else { return Connection::start(TokioIo::new(tcp), false).await };
    let (connector, name) = (connector(tls)?, server_name(options)?);
    let stream = connector.connect(name, tcp).await.map_err(|error| ConnectError::Handshake(error.into()))?;
    Connection::start(TokioIo::new(stream), true).await
}

fn connector(tls: &ClientTls) -> Result<TlsConnector, CertificateError> {
    let mut config = tls.config()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name to ask for, and to verify if names are verified.
fn server_name(options: &Options) -> Result<ServerName<'static>, ConnectError> {
    let host = options.server.rsplit_once(':').map_or(options.server.as_str(), |(host, _)| host);
    let name = options.server_name.as_deref().unwrap_or(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    let named = ServerName::try_from(bare.to_owned());
    named.map_err(|source| ConnectError::Name { name: name.to_owned(), source })
}

// === for tonic ===

impl Service<http::Request<Body>> for Requests {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
