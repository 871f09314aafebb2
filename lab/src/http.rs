//! Requests over HTTP/1.1, for tests, for Envoy's admin pages, and for clients that the demo plays.

use std::{io, net::SocketAddr};

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot connect to {addr}")]
    Connect { addr: SocketAddr, source: io::Error },
    #[error("{method} {path}: no such request")]
    Request { method: Method, path: String, source: http::Error },
    #[error("no whole answer from {addr}")]
    Exchange { addr: SocketAddr, source: hyper::Error },
}

/// The headers that a browser sends, and that Envoy adds.
pub const BROWSER: [(&str, &str); 14] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.5"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("priority", "u=0, i"),
    ("referer", "https://www.example.com/products/of/the/day"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "3f0c4a4e-6a0e-4f0e-9d58-4b8f9a4c1c7e"),
    ("x-forwarded-for", "203.0.113.7"),
];

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A client's connection, kept open from request to request and opened anew when the server closes it.
#[derive(Debug)]
pub struct Connection {
    addr: SocketAddr,
    sender: http1::SendRequest<Empty<Bytes>>,
}

/// One GET on a connection of its own. Any status is an answer.
pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
    Connection::open(addr).await?.get(path, headers).await
}

/// The same over a stream that the caller made, from an address of its choice for instance.
pub async fn get_over(stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
    let addr = stream.peer_addr().unwrap_or(SocketAddr::from(([0; 4], 0)));
    Connection::over(stream, addr).await?.get(path, headers).await
}

// === impl Connection ===

impl Connection {
    pub async fn open(addr: SocketAddr) -> Result<Connection, HttpError> {
        let stream = TcpStream::connect(addr).await.map_err(|source| HttpError::Connect { addr, source })?;
        Connection::over(stream, addr).await
    }

    /// Over a stream that the caller made, from an address of its choice for instance.
    pub async fn over(stream: TcpStream, addr: SocketAddr) -> Result<Connection, HttpError> {
        stream.set_nodelay(true).map_err(|source| HttpError::Connect { addr, source })?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| HttpError::Exchange { addr, source })?;
        // Ends with the sender; what goes wrong on it comes back from send_request and collect.
        tokio::spawn(connection);
        Ok(Connection { addr, sender })
    }

    /// Any status is an answer.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
        self.send(Method::GET, path, headers).await
    }

    /// The same with another method, and no body.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", "edge.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|source| HttpError::Request {
            method,
            path: path.to_owned(),
            source,
        })?;
        // Ready once the answer before has been read to its end; an error says that the server has closed.
        if self.sender.ready().await.is_err() {
            *self = Connection::open(self.addr).await?;
        }
        let addr = self.addr;
        read(&mut self.sender, request).await.map_err(|source| HttpError::Exchange { addr, source })
    }
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
