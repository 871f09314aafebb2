//! A collector of traces, which decodes OTLP by the messages of OpenTelemetry's own crate.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message as _;
use tokio::net::TcpListener;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// It does not take one of the spans.
    RejectsOne,
    /// It is overloaded.
    Unavailable,
    /// It never answers.
    Silence,
}

#[derive(Debug, Default)]
struct Got {
    spans: Vec<Span>,
    resource: Option<Resource>,
    headers: HeaderMap,
    requests: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Got>>,
    answer: Arc<Mutex<Answer>>,
}

/// Frames that are all there.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

impl Collector {
    pub(crate) async fn start(protocol: Protocol) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let collector = Collector { address, got: Arc::default(), answer: Arc::new(Mutex::new(Answer::Ok)) };
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| serving.clone().take(protocol, request));
                    let io = TokioIo::new(stream);
                    // Ends when Tollgate does.
                    let _ = match protocol {
                        Protocol::Http => http1::Builder::new().serve_connection(io, service).await,
                        Protocol::Grpc => {
                            http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
                        }
                    };
                });
            }
        });
        collector
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("no panic") = answer;
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.got.lock().expect("no panic").spans.clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.got.lock().expect("no panic").requests
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let got = self.got.lock().expect("no panic");
        got.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned())
    }

    pub(crate) fn resource(&self) -> Vec<(String, String)> {
        let got = self.got.lock().expect("no panic");
        let attributes = got.resource.iter().flat_map(|resource| &resource.attributes);
        attributes.map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
    }

    /// Waits for so many spans.
    pub(crate) async fn until(&self, count: usize) -> Vec<Span> {
        for _ in 0..400 {
            let spans = self.spans();
            if spans.len() >= count {
                return spans;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} spans and not {count}: {:?}", self.spans().len(), self.spans());
    }

    async fn take(
        self,
        protocol: Protocol,
        request: Request<Incoming>,
    ) -> Result<Response<Frames>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let message = match protocol {
            Protocol::Http => {
                assert_eq!((head.uri.path(), head.method.as_str()), ("/v1/traces", "POST"));
                assert_eq!(head.headers["content-type"], "application/x-protobuf");
                body
            }
            Protocol::Grpc => {
                let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
                assert_eq!((head.uri.path(), head.headers["te"].as_bytes()), (path, &b"trailers"[..]));
                assert_eq!(head.headers["content-type"], "application/grpc");
                let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes"));
                assert_eq!((body[0], length as usize), (0, body.len() - 5));
                body.slice(5..)
            }
        };
        let answer = *self.answer.lock().expect("no panic");
        {
            let mut got = self.got.lock().expect("no panic");
            got.requests += 1;
            if answer == Answer::Ok || answer == Answer::RejectsOne {
                let request = ExportTraceServiceRequest::decode(message).expect("OTLP");
                for of_resource in request.resource_spans {
                    got.resource = of_resource.resource;
                    got.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
            }
            got.headers = head.headers;
        }
        if answer == Answer::Silence {
            std::future::pending::<()>().await;
        }
        Ok(response(protocol, answer))
    }
}

fn response(protocol: Protocol, answer: Answer) -> Response<Frames> {
    let rejects = answer == Answer::RejectsOne;
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "one is too old".into() };
    let message = ExportTraceServiceResponse { partial_success: rejects.then_some(partial) }.encode_to_vec();
    let is_away = answer == Answer::Unavailable;
    let mut frames = VecDeque::new();
    let mut response = Response::builder();
    match protocol {
        Protocol::Http if is_away => response = response.status(StatusCode::SERVICE_UNAVAILABLE),
        Protocol::Http => frames.push_back(Frame::data(message.into())),
        Protocol::Grpc => {
            response = response.header("content-type", "application/grpc");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", (if is_away { "14" } else { "0" }).parse().expect("a value"));
            if !is_away {
                let length = u32::try_from(message.len()).expect("short");
                let framed = [&[0][..], &length.to_be_bytes(), &message].concat();
                frames.push_back(Frame::data(framed.into()));
            }
            frames.push_back(Frame::trailers(trailers));
        }
    }
    response.body(Frames(frames)).expect("sound")
}

/// The text of an attribute, or its number.
pub(crate) fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn attribute(span: &Span, name: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key == name).map(|pair| text(pair.value.as_ref()))
}
