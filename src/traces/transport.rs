//! The connection to the collector: HTTP/1.1 or HTTP/2, with or without TLS. It is opened when it is needed and kept.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_TYPE, HOST, TE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::pki_types::{InvalidDnsNameError, ServerName},
};

use super::{Endpoint, Protocol, Settings};
use crate::{
    certificates::{CertificateError, ClientTls},
    error::SystemError,
    logging::short,
    pb::otlp::collector::trace::v1::ExportTraceServiceResponse,
};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// The most bytes of an answer that are read.
const MOST_OF_ANSWER: usize = 64 << 10;
/// What stands before a message in gRPC: whether it is compressed, and its length.
const FRAME: usize = 5;

/// Reaches the collector.
pub(super) struct Transport {
    protocol: Protocol,
    endpoint: Endpoint,
    headers: Vec<(HeaderName, HeaderValue)>,
    connection: Option<Connection>,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What the collector says of the spans that it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number of spans that it did not take.
    pub(super) rejected: u64,
    pub(super) message: String,
}

/// Why spans were not taken.
#[derive(Debug, Error)]
pub(super) enum TransportError {
    #[error("no answer within {0:?}")]
    TooLate(Duration),
    #[error("cannot connect")]
    Tcp(#[source] SystemError),
    #[error("TLS cannot be used")]
    Files(#[from] CertificateError),
    #[error("{name:?} is not a name that a certificate can have")]
    Name { name: String, source: InvalidDnsNameError },
    #[error("the TLS handshake failed; for a collector without TLS, write http:// in its address")]
    Handshake(#[source] SystemError),
    #[error("the connection broke; {}", hint(*.0))]
    Broken(Protocol, #[source] hyper::Error),
    #[error("the collector answers {status}: {text}; {}", hint(Protocol::Http))]
    Http { status: StatusCode, text: String },
    #[error("the collector answers with gRPC status {code}: {message}")]
    Grpc { code: u32, message: String },
    #[error("the collector does not answer as gRPC does (HTTP status {status}); {}", hint(Protocol::Grpc))]
    NotGrpc { status: StatusCode },
    #[error("the collector's answer has more than {MOST_OF_ANSWER} bytes")]
    TooLong,
}

/// The usual mistake: each protocol has a port of its own.
fn hint(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => {
            "by HTTP, collectors listen on port 4318; for port 4317 set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        }
        Protocol::Grpc => {
            "by gRPC, collectors listen on port 4317; for port 4318 set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        }
    }
}

// === impl TransportError ===

impl TransportError {
    /// Whether the same spans may be taken later, as OTLP says.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            TransportError::Http { status, .. } => matches!(status.as_u16(), 429 | 502..=504),
            // Cancelled, deadline, exhausted, aborted, out of range, unavailable, data loss.
            TransportError::Grpc { code, .. } => matches!(code, 1 | 4 | 8 | 10 | 11 | 14 | 15),
            TransportError::NotGrpc { status } => matches!(status.as_u16(), 429 | 502..=504),
            TransportError::TooLong => false,
            TransportError::TooLate(_)
            | TransportError::Tcp(_)
            | TransportError::Files(_)
            | TransportError::Name { .. }
            | TransportError::Handshake(_)
            | TransportError::Broken(..) => true,
        }
    }
}

// === impl Transport ===

impl Transport {
    pub(super) fn new(settings: &Settings) -> Transport {
        let Settings { protocol, endpoint, headers, .. } = settings;
        let (endpoint, headers) = (endpoint.clone(), headers.clone());
        Transport { protocol: *protocol, endpoint, headers, connection: None }
    }

    /// Sends an encoded `ExportTraceServiceRequest`.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<Sent, TransportError> {
        let is_kept = self.connection.as_ref().is_some_and(Connection::is_open);
        match self.send_over_connection(message.clone()).await {
            // The collector has closed a connection that was idle.
            Err(TransportError::Broken(..)) if is_kept => self.send_over_connection(message).await,
            sent => sent,
        }
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    async fn send_over_connection(&mut self, message: Bytes) -> Result<Sent, TransportError> {
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(&self.endpoint, self.protocol).await?,
        };
        let broken = |error| TransportError::Broken(self.protocol, error);
        let response = connection.send(self.request(message)).await.map_err(broken)?;
        let (head, body, trailers) = read(response, broken).await?;
        self.connection = Some(connection);
        match self.protocol {
            Protocol::Http => answer_by_http(head.status, &body),
            Protocol::Grpc => answer_by_grpc(&head, &body, &trailers),
        }
    }

    fn request(&self, message: Bytes) -> Request<Full<Bytes>> {
        let Endpoint { host, port, path, tls } = &self.endpoint;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let (kind, body) = match self.protocol {
            Protocol::Http => ("application/x-protobuf", message),
            Protocol::Grpc => ("application/grpc", framed(&message)),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        match self.protocol {
            Protocol::Http => {
                let authority = HeaderValue::from_str(&format!("{host}:{port}"));
                headers.insert(HOST, authority.unwrap_or(HeaderValue::from_static("collector")));
                *request.uri_mut() = path.parse().unwrap_or_default();
            }
            Protocol::Grpc => {
                headers.insert(TE, HeaderValue::from_static("trailers"));
                let scheme = if tls.is_some() { "https" } else { "http" };
                let uri = format!("{scheme}://{host}:{port}{EXPORT}");
                *request.uri_mut() = uri.parse().unwrap_or_default();
                *request.version_mut() = Version::HTTP_2;
            }
        }
        request
    }
}

fn framed(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME + message.len());
    framed.put_u8(0);
    // A batch of spans is far below 4 GiB.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

type Parts = (http::response::Parts, Bytes, HeaderMap);

async fn read(
    response: Response<Incoming>,
    broken: impl Fn(hyper::Error) -> TransportError,
) -> Result<Parts, TransportError> {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(&broken)?.into_data() {
            Ok(data) if bytes.len() + data.len() > MOST_OF_ANSWER => return Err(TransportError::TooLong),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((head, bytes.freeze(), trailers))
}

fn answer_by_http(status: StatusCode, body: &[u8]) -> Result<Sent, TransportError> {
    if status.is_success() { Ok(sent(body)) } else { Err(TransportError::Http { status, text: short(body) }) }
}

fn answer_by_grpc(
    head: &http::response::Parts,
    body: &[u8],
    trailers: &HeaderMap,
) -> Result<Sent, TransportError> {
    let of = |name: &str| trailers.get(name).or_else(|| head.headers.get(name));
    let code = of("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    match code {
        Some(0) => Ok(sent(body.get(FRAME..).unwrap_or_default())),
        Some(code) => {
            let message = of("grpc-message").map(|text| short(text.as_bytes())).unwrap_or_default();
            Err(TransportError::Grpc { code, message })
        }
        None => Err(TransportError::NotGrpc { status: head.status }),
    }
}

/// What cannot be read counts as a plain success.
fn sent(body: &[u8]) -> Sent {
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    Sent { rejected: u64::try_from(partial.rejected_spans).unwrap_or(0), message: partial.error_message }
}

// === impl Connection ===

impl Connection {
    async fn open(endpoint: &Endpoint, protocol: Protocol) -> Result<Connection, TransportError> {
        let address = (endpoint.host.as_str(), endpoint.port);
        let tcp = TcpStream::connect(address).await.map_err(|error| TransportError::Tcp(error.into()))?;
        let Some(tls) = &endpoint.tls else { return Connection::start(TokioIo::new(tcp), protocol).await };
        let (connector, name) = (connector(tls, protocol)?, server_name(&endpoint.host)?);
        let stream = connector.connect(name, tcp).await;
        let stream = stream.map_err(|error| TransportError::Handshake(error.into()))?;
        Connection::start(TokioIo::new(stream), protocol).await
    }

    /// The task that drives it ends when the connection is dropped.
    async fn start(
        io: impl Read + Write + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> Result<Connection, TransportError> {
        let broken = |error| TransportError::Broken(protocol, error);
        Ok(match protocol {
            Protocol::Http => {
                let (requests, driver) = http1::handshake(io).await.map_err(broken)?;
                tokio::spawn(driver);
                Connection::Http1(requests)
            }
            Protocol::Grpc => {
                let (requests, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
                tokio::spawn(driver);
                Connection::Http2(requests)
            }
        })
    }

    fn is_open(&self) -> bool {
        match self {
            Connection::Http1(requests) => !requests.is_closed(),
            Connection::Http2(requests) => !requests.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Connection::Http1(requests) => {
                requests.ready().await?;
                requests.send_request(request).await
            }
            Connection::Http2(requests) => {
                requests.ready().await?;
                requests.send_request(request).await
            }
        }
    }
}

fn connector(tls: &ClientTls, protocol: Protocol) -> Result<TlsConnector, CertificateError> {
    let mut config = tls.config()?;
    config.alpn_protocols = match protocol {
        Protocol::Http => vec![b"http/1.1".to_vec()],
        Protocol::Grpc => vec![b"h2".to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> Result<ServerName<'static>, TransportError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    let named = ServerName::try_from(host.to_owned());
    named.map_err(|source| TransportError::Name { name: host.to_owned(), source })
}
