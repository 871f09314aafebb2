//! Follows the server: connects, asks, takes answers in, and connects again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use http::uri::PathAndQuery;
use thiserror::Error;
use tokio::{select, sync::mpsc, time};
use tonic::{
    Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder},
    codegen::tokio_stream::wrappers::ReceiverStream,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
};
use tonic_prost::ProstEncoder;
use tracing::{info, warn};

use super::{
    Options,
    connection::{ConnectError, Connection},
    health::Health,
    intake::{Intake, Reply},
    pauses::Pauses,
    stream::Stream,
};
use crate::{
    clock,
    config::shorten,
    error::chain,
    pb::{
        core::{Node, node::UserAgentVersionType},
        discovery::DiscoveryRequest,
    },
    protocol::wire::Malformed,
};

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// Requests that wait to be sent. The server has to read them before it gets more.
const MOST_REQUESTS: usize = 4;
/// More answers in a second are left in the network, so that a server that sends without end costs little.
const MOST_ANSWERS: usize = 10;
/// A server that is silent for this long may have no rules yet, or none for this node.
const SILENT: Duration = Duration::from_secs(15);

/// Everything that outlives a connection.
pub(super) struct Client {
    options: Options,
    intake: Intake,
    health: Arc<Health>,
    pauses: Pauses,
    /// What was logged last about a connection that ended.
    told: String,
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the server has closed the stream")]
    Closed,
    #[error("{}: {}{}", .0.code(), shorten(.0.message()), hint(.0))]
    Status(Status),
    #[error("the server has sent bytes that are no DiscoveryResponse")]
    Malformed,
}

// === impl Client ===

impl Client {
    pub(super) fn new(options: Options, intake: Intake, health: Arc<Health>) -> Client {
        Client { options, intake, health, pauses: Pauses::default(), told: String::new() }
    }

    /// Never returns.
    pub(super) async fn run(&mut self) {
        loop {
            let start = clock::monotonic();
            let Err(ended) = self.connect().await;
            self.disconnected();
            let pause = self.pauses.next(start.elapsed());
            self.tell(&ended, pause);
            time::sleep(pause).await;
        }
    }

    /// Also after a panic, which may have ended anything.
    pub(super) fn disconnected(&mut self) {
        self.intake.disconnected();
        self.health.disconnected();
    }

    /// Until the connection ends.
    async fn connect(&mut self) -> Result<Never, Ended> {
        let connection = Connection::open(&self.options).await?;
        info!(server = %self.options.server, "connected to the xDS server");
        self.health.connected();
        let (stream, first) = Stream::open(self.node());
        let (requests, queue) = mpsc::channel(MOST_REQUESTS);
        // The queue is empty, and its other end is open.
        let _ = requests.try_send(first);
        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        for (name, value) in &self.options.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<AsciiMetadataKey>(), value.parse::<AsciiMetadataValue>())
            {
                request.metadata_mut().insert(name, value);
            }
        }
        let mut grpc = Grpc::with_origin(connection.requests(), self.origin())
            .max_decoding_message_size(self.options.max_message);
        let call = grpc.streaming(request, PathAndQuery::from_static(PATH), AnswerCodec);
        // A server may answer with nothing, not even headers, until it has rules.
        let mut call = std::pin::pin!(call);
        let answers = select! {
            answers = &mut call => answers,
            () = time::sleep(SILENT) => {
                self.tell_silence();
                call.await
            }
        };
        let answers = answers.map_err(Ended::Status)?.into_inner();
        self.follow(Session { answers, requests, stream, pace: Pace::default() }).await
    }

    async fn follow(&mut self, mut session: Session) -> Result<Never, Ended> {
        loop {
            let due = [session.stream.due(), self.intake.due()].into_iter().flatten().min();
            select! {
                answer = session.next() => self.take(&mut session, &answer?).await?,
                () = until(due) => {
                    let now = clock::monotonic();
                    self.intake.settle(now);
                    if let Some(refusal) = session.stream.take_due(now) {
                        session.send(refusal).await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, session: &mut Session, answer: &Bytes) -> Result<(), Ended> {
        let now = clock::monotonic();
        match self.intake.take(now, answer).map_err(|Malformed| Ended::Malformed)? {
            Reply::Accept { version, nonce } => {
                let request = session.stream.accept(version, nonce);
                session.send(request).await?;
                self.health.accepted();
                self.told.clear();
            }
            Reply::Refuse { nonce, message } => session.stream.refuse(now, nonce, message),
            Reply::Nothing => {}
        }
        Ok(())
    }

    fn node(&self) -> Node {
        let text = |text: &String| prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text.clone())),
        };
        let fields = self.options.node_metadata.iter().map(|(key, value)| (key.clone(), text(value)));
        Node {
            id: self.options.node_id.clone(),
            metadata: Some(prost_types::Struct { fields: fields.collect() }),
            user_agent_name: "tollgate".to_owned(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(
                env!("CARGO_PKG_VERSION").to_owned(),
            )),
        }
    }

    /// The scheme and the address for HTTP's `:authority`.
    fn origin(&self) -> http::Uri {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        let origin =
            http::Uri::builder().scheme(scheme).authority(self.options.server.as_str()).path_and_query("/");
        origin.build().unwrap_or_default()
    }

    fn tell_silence(&self) {
        warn!(
            server = %self.options.server, node_id = %self.options.node_id,
            "the xDS server has not answered yet: it has no rules, or none for this --xds-node-id"
        );
    }

    fn tell(&mut self, ended: &Ended, pause: Duration) {
        let error = chain(ended);
        // The same for each attempt while a server is away.
        if error != self.told {
            let server = &self.options.server;
            warn!(%server, %error, ?pause, "no connection to the xDS server; the rules in force stay, and it is tried again");
            self.told = error;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn hint(status: &Status) -> &'static str {
    match status.code() {
        tonic::Code::OutOfRange => "; --xds-max-message is the most bytes of an answer",
        tonic::Code::Unimplemented => "; the server has no AggregatedDiscoveryService",
        _ => "",
    }
}

enum Never {}

// === Session ===

/// One stream.
struct Session {
    answers: Streaming<Bytes>,
    requests: mpsc::Sender<DiscoveryRequest>,
    stream: Stream,
    pace: Pace,
}

/// When the last answers came.
#[derive(Debug, Default)]
struct Pace(VecDeque<Instant>);

impl Session {
    /// The next answer, but not too soon after others. Cancelled, it loses nothing.
    async fn next(&mut self) -> Result<Bytes, Ended> {
        if self.pace.0.len() == MOST_ANSWERS
            && let Some(first) = self.pace.0.front()
        {
            time::sleep_until((*first + Duration::from_secs(1)).into()).await;
        }
        let answer = self.answers.message().await.map_err(Ended::Status)?.ok_or(Ended::Closed)?;
        self.pace.0.truncate(MOST_ANSWERS);
        if self.pace.0.len() == MOST_ANSWERS {
            self.pace.0.pop_front();
        }
        self.pace.0.push_back(clock::monotonic());
        Ok(answer)
    }

    /// Waits for a server that does not read, for as long as the connection lives.
    async fn send(&mut self, request: DiscoveryRequest) -> Result<(), Ended> {
        self.requests.send(request).await.map_err(|_closed| Ended::Closed)
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
