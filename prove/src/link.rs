//! A connection to one target, HTTP/1.1 or HTTP/2, and one request on it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header, uri};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinHandle,
    time::timeout,
};

use super::args::{Header, Target};

const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Outgoing = Request<Empty<Bytes>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error("cannot look up the address")]
    Address(#[source] std::io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("no connection in time")]
    Late(#[source] tokio::time::error::Elapsed),
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("cannot agree on HTTP")]
    Handshake(#[source] hyper::Error),
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(super) enum SendError {
    /// Nothing of the request was written, so it may be sent again.
    #[error("the connection was closed before the request was written")]
    Unsent,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

#[derive(Debug)]
pub(super) struct Link {
    sender: Sender,
    driver: Arc<Driver>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// The task that moves a connection's bytes; it ends with the last link that uses it.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Link ===

impl Link {
    pub(super) async fn open(address: SocketAddr, protocol: Protocol) -> Result<Link, LinkError> {
        timeout(OPEN_TIMEOUT, Link::connect(address, protocol)).await.map_err(LinkError::Late)?
    }

    async fn connect(address: SocketAddr, protocol: Protocol) -> Result<Link, LinkError> {
        let stream = TcpStream::connect(address).await.map_err(LinkError::Connect)?;
        // Requests are smaller than a packet: waiting to fill one would only widen every span.
        stream.set_nodelay(true).map_err(LinkError::Connect)?;
        let io = TokioIo::new(stream);
        // Whatever ends a connection shows as an error of the request that it carried.
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(LinkError::Handshake)?;
                (Sender::Http1(sender), tokio::spawn(async { drop(driver.await) }))
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io);
                let (sender, driver) = handshake.await.map_err(LinkError::Handshake)?;
                (Sender::Http2(sender), tokio::spawn(async { drop(driver.await) }))
            }
        };
        Ok(Link { sender, driver: Arc::new(Driver(driver)) })
    }

    /// The same connection for another worker; none for HTTP/1.1, which carries one request at a time.
    pub(super) fn shared(&self) -> Option<Link> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => {
                Some(Link { sender: Sender::Http2(sender.clone()), driver: Arc::clone(&self.driver) })
            }
        }
    }

    /// Waits until a request can be sent; false if the connection is closed.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn send(&mut self, request: Outgoing) -> Result<Response<Incoming>, SendError> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<Outgoing>| match error.take_message() {
            Some(_) => SendError::Unsent,
            None => SendError::Broken(error.into_error()),
        })
    }
}

/// The first address of a target.
pub(super) async fn look_up(target: &Target) -> Result<SocketAddr, LinkError> {
    let found = lookup_host((target.host.as_str(), target.port)).await;
    found.map_err(LinkError::Address)?.next().ok_or(LinkError::NoAddress)
}

/// The GET that is sent to `target`. A `host` among the headers replaces the URL's.
pub(super) fn request(
    target: &Target,
    headers: &[Header],
    protocol: Protocol,
) -> Result<Outgoing, http::Error> {
    let host = headers.iter().find(|header| header.name == header::HOST);
    let host = match host {
        Some(header) => header.value.clone(),
        None => HeaderValue::from_str(target.authority.as_str())?,
    };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = match protocol {
        Protocol::Http1 => {
            request.headers_mut().insert(header::HOST, host);
            Uri::try_from(&target.path)?
        }
        Protocol::Http2 => {
            *request.version_mut() = http::Version::HTTP_2;
            let authority = uri::Authority::try_from(host.as_bytes())?;
            Uri::builder().scheme("http").authority(authority).path_and_query(target.path.as_str()).build()?
        }
    };
    for header in headers.iter().filter(|header| header.name != header::HOST) {
        request.headers_mut().append(header.name.clone(), header.value.clone());
    }
    Ok(request)
}
