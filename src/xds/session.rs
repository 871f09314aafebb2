//! One stream on a connection: sends requests, and hands over the bytes of answers.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use http::{Uri, uri::PathAndQuery};
use prost_types::{Struct, Value, value::Kind};
use tokio::{sync::mpsc, time};
use tonic::{
    Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder},
    codegen::tokio_stream::wrappers::ReceiverStream,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
};
use tonic_prost::ProstEncoder;

use super::{Options, connection::Requests, ended::Ended, stream::Stream};
use crate::{
    clock,
    pb::{
        core::{Node, node::UserAgentVersionType},
        discovery::DiscoveryRequest,
    },
};

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// Requests that wait to be sent.
const MOST_REQUESTS: usize = 4;
/// For a server to make room for one more.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// More answers in a second are left in the network, so that a server that sends without end costs little.
const MOST_ANSWERS: usize = 10;

pub(super) struct Session {
    answers: Answers,
    requests: mpsc::Sender<DiscoveryRequest>,
    stream: Stream,
    pace: Pace,
    answered: u64,
}

enum Answers {
    /// A server may answer with nothing, not even headers, until it has rules.
    Called(Pin<Box<dyn Future<Output = Result<Streaming<Bytes>, Status>> + Send>>),
    Open(Box<Streaming<Bytes>>),
}

/// When the last answers came.
#[derive(Debug, Default)]
struct Pace(VecDeque<Instant>);

// === impl Session ===

impl Session {
    /// Calls the server. It has to be told nothing but who asks.
    pub(super) fn open(connection: Requests, options: &Options) -> Session {
        let (stream, first) = Stream::open(node(options));
        let (requests, queue) = mpsc::channel(MOST_REQUESTS);
        // The queue is empty, and its other end is open.
        let _ = requests.try_send(first);
        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        for (name, value) in &options.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<AsciiMetadataKey>(), value.parse::<AsciiMetadataValue>())
            {
                request.metadata_mut().append(name, value);
            }
        }
        let mut grpc =
            Grpc::with_origin(connection, origin(options)).max_decoding_message_size(options.max_message);
        let call = async move {
            let answers = grpc.streaming(request, PathAndQuery::from_static(PATH), AnswerCodec).await;
            answers.map(tonic::Response::into_inner)
        };
        Session {
            answers: Answers::Called(Box::pin(call)),
            requests,
            stream,
            pace: Pace::default(),
            answered: 0,
        }
    }

    /// The next answer, but not too soon after others. If this is dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Bytes, Ended> {
        if let Some(due) = self.pace.due() {
            time::sleep_until(due.into()).await;
        }
        if let Answers::Called(call) = &mut self.answers {
            self.answers = Answers::Open(Box::new(call.await.map_err(Ended::Status)?));
        }
        let Answers::Open(answers) = &mut self.answers else { return Err(Ended::Closed) };
        let answer = answers.message().await.map_err(Ended::Status)?.ok_or(Ended::Closed)?;
        self.pace.add(clock::monotonic());
        self.answered += 1;
        Ok(answer)
    }

    /// The number of answers so far.
    pub(super) fn answers(&self) -> u64 {
        self.answered
    }

    /// Tells the server that its answer is in force.
    pub(super) async fn accept(&mut self, version: String, nonce: String) -> Result<(), Ended> {
        let request = self.stream.accept(version, nonce);
        self.send(request).await
    }

    /// Tells the server after a pause that its answer was refused.
    pub(super) fn refuse(&mut self, now: Instant, nonce: String, message: String) {
        self.stream.refuse(now, nonce, message);
    }

    /// When [`Session::send_due`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stream.due()
    }

    pub(super) async fn send_due(&mut self, now: Instant) -> Result<(), Ended> {
        match self.stream.take_due(now) {
            Some(refusal) => self.send(refusal).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, request: DiscoveryRequest) -> Result<(), Ended> {
        let sent = time::timeout(READ_WITHIN, self.requests.send(request)).await;
        sent.map_err(|_elapsed| Ended::NotRead)?.map_err(|_closed| Ended::Closed)
    }
}

fn node(options: &Options) -> Node {
    let text = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
    let fields = options.node_metadata.iter().map(|(key, value)| (key.clone(), text(value)));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Node {
        id: options.node_id.clone(),
        metadata: Some(Struct { fields: fields.collect() }),
        user_agent_name: "tollgate".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(version)),
    }
}

/// The scheme, and the address for `:authority`.
fn origin(options: &Options) -> Uri {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let origin = Uri::builder().scheme(scheme).authority(options.server.as_str()).path_and_query("/");
    origin.build().unwrap_or_default()
}

// === impl Pace ===

impl Pace {
    fn add(&mut self, now: Instant) {
        if self.0.len() >= MOST_ANSWERS {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// When the next answer may be read; none if it may be now.
    fn due(&self) -> Option<Instant> {
        let first = self.0.front().filter(|_| self.0.len() >= MOST_ANSWERS)?;
        Some(*first + Duration::from_secs(1))
    }
}

// === codec ===

/// Writes requests, and hands over the bytes of answers.
#[derive(Debug)]
struct AnswerCodec;

#[derive(Debug)]
struct AnswerDecoder;

impl Codec for AnswerCodec {
    type Encode = DiscoveryRequest;
    type Decode = Bytes;
    type Encoder = ProstEncoder<DiscoveryRequest>;
    type Decoder = AnswerDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> AnswerDecoder {
        AnswerDecoder
    }
}

impl Decoder for AnswerDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}
