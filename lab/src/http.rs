//! One GET, for tests and for Envoy's admin pages. Load comes from elsewhere.

use std::{io, net::SocketAddr};

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot connect to {addr}")]
    Connect { addr: SocketAddr, source: io::Error },
    #[error("GET {path}: no such request")]
    Request { path: String, source: http::Error },
    #[error("GET {path}: no whole answer")]
    Exchange { path: String, source: hyper::Error },
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One GET on a connection of its own. Any status is an answer.
pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
    let stream = TcpStream::connect(addr).await.map_err(|source| HttpError::Connect { addr, source })?;
    get_over(stream, path, headers).await
}

/// The same over a connection that the caller made, from an address of its choice for instance.
pub async fn get_over(stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
    let mut request = Request::get(path).header("host", "edge.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|source| HttpError::Request { path: path.to_owned(), source })?;

    let exchange = |source| HttpError::Exchange { path: path.to_owned(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(exchange)?;
    // Ends with the sender; what goes wrong on it comes back from the exchange.
    let driver = tokio::spawn(connection);
    let answer = read(&mut sender, request).await.map_err(exchange);
    drop(sender);
    let _ = driver.await;
    answer
}

async fn read(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}

// === impl Answer ===

impl Answer {
    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
