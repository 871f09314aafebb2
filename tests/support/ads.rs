//! An xDS server that says what a test tells it to say, and hands over what it is asked.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Frame, Incoming},
    header::HeaderValue,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_types::Any;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tollgate::{
    clock,
    pb::{
        discovery::{DiscoveryRequest, DiscoveryResponse},
        rules::{RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit},
    },
};

pub(crate) const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";
const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// Within this, what is expected comes, or never.
const SOON: Duration = Duration::from_secs(30);

/// Ends with its connections when it is dropped.
pub(crate) struct Ads {
    addr: SocketAddr,
    streams: UnboundedReceiver<AdsStream>,
    _accepting: JoinSet<()>,
}

/// One stream, which ends without an error when this is dropped.
pub(crate) struct AdsStream {
    pub(crate) headers: HeaderMap,
    pub(crate) began: Instant,
    requests: UnboundedReceiver<(Instant, DiscoveryRequest)>,
    answers: UnboundedSender<Bytes>,
    sent: u64,
}

/// The body of an answer: what is sent, and then a status.
struct Answers {
    frames: UnboundedReceiver<Bytes>,
    is_over: bool,
}

// === impl Ads ===

impl Ads {
    pub(crate) async fn start() -> Ads {
        Ads::start_at((Ipv4Addr::LOCALHOST, 0).into(), None).await
    }

    /// With TLS if there is a configuration for it.
    pub(crate) async fn start_at(addr: SocketAddr, tls: Option<ServerConfig>) -> Ads {
        let listener = bound(addr).await;
        let addr = listener.local_addr().expect("bound");
        let (opened, streams) = mpsc::unbounded_channel();
        let mut accepting = JoinSet::new();
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (opened, tls) = (opened.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(tcp, opened).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, opened).await;
                            }
                        }
                    }
                });
            }
        });
        Ads { addr, streams, _accepting: accepting }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next stream that is opened.
    pub(crate) async fn stream(&mut self) -> AdsStream {
        timeout(SOON, self.streams.recv()).await.expect("a stream in time").expect("it accepts")
    }

    pub(crate) async fn no_stream_within(&mut self, time: Duration) {
        assert!(timeout(time, self.streams.recv()).await.is_err(), "a stream within {time:?}");
    }
}

/// The port of a server that has just ended may be in use for a moment.
async fn bound(addr: SocketAddr) -> TcpListener {
    for _ in 0..500 {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{addr}: {error}"),
        }
    }
    panic!("{addr} stays in use")
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, opened: UnboundedSender<AdsStream>) {
    let answer = service_fn(move |request| {
        let opened = opened.clone();
        async move { Ok::<_, Infallible>(stream(request, &opened)) }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), answer).await;
}

fn stream(request: Request<Incoming>, opened: &UnboundedSender<AdsStream>) -> Response<Answers> {
    assert_eq!(request.uri().path(), PATH);
    let ((answers, frames), (asked, requests)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let (parts, body) = request.into_parts();
    tokio::spawn(read(body, asked));
    let _ = opened.send(AdsStream {
        headers: parts.headers,
        began: clock::monotonic(),
        requests,
        answers,
        sent: 0,
    });
    let mut response = Response::new(Answers { frames, is_over: false });
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

async fn read(mut body: Incoming, asked: UnboundedSender<(Instant, DiscoveryRequest)>) {
    let mut buffer = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while buffer.len() >= 5 {
            let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
            if buffer.len() < 5 + length {
                break;
            }
            buffer.advance(5);
            let request = DiscoveryRequest::decode(buffer.split_to(length)).expect("a request");
            let _ = asked.send((clock::monotonic(), request));
        }
    }
}

// === impl AdsStream ===

impl AdsStream {
    /// The next request, and when it came.
    pub(crate) async fn request_at(&mut self) -> (Instant, DiscoveryRequest) {
        timeout(SOON, self.requests.recv()).await.expect("a request in time").expect("the stream is open")
    }

    pub(crate) async fn request(&mut self) -> DiscoveryRequest {
        self.request_at().await.1
    }

    pub(crate) async fn no_request_within(&mut self, time: Duration) {
        let request = timeout(time, self.requests.recv()).await;
        assert!(request.is_err(), "within {time:?}: {request:?}");
    }

    /// Whether the client has closed the stream.
    pub(crate) async fn closed(&mut self) {
        while timeout(SOON, self.requests.recv()).await.expect("closed in time").is_some() {}
    }

    /// Sends a set, and returns its nonce.
    pub(crate) fn send(&mut self, version: &str, configs: &[RateLimitConfig]) -> String {
        let any =
            |config: &RateLimitConfig| Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() };
        self.send_any(version, configs.iter().map(any).collect())
    }

    pub(crate) fn send_any(&mut self, version: &str, resources: Vec<Any>) -> String {
        self.sent += 1;
        let nonce = format!("nonce {}", self.sent);
        let response = DiscoveryResponse {
            version_info: version.to_owned(),
            nonce: nonce.clone(),
            type_url: TYPE_URL.to_owned(),
            resources,
        };
        self.send_message(&response.encode_to_vec());
        nonce
    }

    /// Sends bytes as a message.
    pub(crate) fn send_message(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("a message");
        self.send_bytes([&[0], &length.to_be_bytes()[..], message].concat());
    }

    /// Sends bytes in the place of messages.
    pub(crate) fn send_bytes(&mut self, bytes: Vec<u8>) {
        // A client that has closed the stream gets nothing.
        let _ = self.answers.send(bytes.into());
    }

    /// Sends a set, and waits until it was accepted.
    pub(crate) async fn send_good(&mut self, version: &str, configs: &[RateLimitConfig]) {
        let nonce = self.send(version, configs);
        let accepted = self.request().await;
        assert_eq!(
            (accepted.version_info.as_str(), &accepted.response_nonce),
            (version, &nonce),
            "{accepted:?}"
        );
        assert_eq!(accepted.error_detail, None);
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.frames.poll_recv(context).map(|bytes| {
            Some(Ok(bytes.map_or_else(
                || {
                    self.is_over = true;
                    let status = [("grpc-status", "0")]
                        .map(|(name, value)| (name.parse(), HeaderValue::from_static(value)));
                    let status = status.into_iter().filter_map(|(name, value)| Some((name.ok()?, value)));
                    Frame::trailers(status.collect())
                },
                Frame::data,
            )))
        })
    }
}

// === rules ===

pub(crate) fn config(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitConfig {
    RateLimitConfig { name: domain.to_owned(), domain: domain.to_owned(), descriptors }
}

/// A descriptor with a limit.
pub(crate) fn leaf(
    key: &str,
    value: &str,
    unit: RateLimitUnit,
    requests_per_unit: u32,
) -> RateLimitDescriptor {
    let policy = RateLimitPolicy { unit: unit.into(), requests_per_unit, ..RateLimitPolicy::default() };
    RateLimitDescriptor { rate_limit: Some(policy), ..parent(key, value, Vec::new()) }
}

/// A descriptor with others below it.
pub(crate) fn parent(key: &str, value: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitDescriptor {
    RateLimitDescriptor { key: key.to_owned(), value: value.to_owned(), descriptors, ..Default::default() }
}

/// A domain in which each value of `key` may pass once a day.
pub(crate) fn once_a_day(domain: &str) -> RateLimitConfig {
    config(domain, vec![leaf("key", "", RateLimitUnit::Day, 1)])
}
