//! A Tollgate, and a record of everything that it writes and answers.

use std::{fs, path::Path, time::Duration};

use ::http::uri::PathAndQuery;
use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
        rate_limit_descriptor::{Entry, RateLimitOverride},
        rate_limit_response::Code as Overall,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::{DOMAIN, MALFORMED, MEMBER, OVERRIDDEN, UNMATCHED, VALUE, support::exposed::Exposed};

const WITHIN: Duration = Duration::from_secs(20);

/// Whether `--dynamic-metadata` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    Asked,
    OnlyFallbackAnswers,
}

pub(crate) struct Service {
    process: Tollgate,
    channel: Channel,
    metadata: Metadata,
    pub(crate) exposed: Exposed,
}

impl Service {
    pub(crate) async fn start(limits: &Path, store: String, metadata: Metadata) -> Service {
        let mut args = vec!["--log-level", "trace", "--store-deadline", "5s", "--drain-wait", "0s"];
        args.extend((metadata == Metadata::Asked).then_some("--dynamic-metadata"));
        let process = Tollgate::start(&Serve::new(limits).store(store).args(&args)).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let channel = channel.connect().await.expect("connects");
        Service { process, channel, metadata, exposed: Exposed::default() }
    }

    /// Records the answer: message and headers, or the error.
    pub(crate) async fn ask(
        &mut self,
        domain: &str,
        descriptors: Vec<RateLimitDescriptor>,
    ) -> Result<Overall, Status> {
        let request = RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 0 };
        let answer = RateLimitServiceClient::new(self.channel.clone()).should_rate_limit(request).await;
        self.note(answer)
    }

    /// Sends text in the place of descriptors.
    async fn ask_nonsense(&mut self, text: &str) -> Status {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
        let codec = tonic_prost::ProstCodec::<Nonsense, RateLimitResponse>::default();
        let request = Request::new(Nonsense { descriptors: text.to_owned() });
        let answer = grpc.unary(request, path, codec).await;
        self.note(answer).expect_err("it is no request")
    }

    fn note(
        &mut self,
        answer: Result<tonic::Response<RateLimitResponse>, Status>,
    ) -> Result<Overall, Status> {
        match answer {
            Ok(answer) => {
                self.exposed.note("the headers of an answer", format!("{:?}", answer.metadata()));
                let mut answer = answer.into_inner();
                if self.metadata == Metadata::Asked {
                    let fields = &mut answer.dynamic_metadata.as_mut().expect("the switch is on").fields;
                    // Dynamic metadata repeats the request if the switch says so.
                    let repeated = ["domain", "descriptors"].map(|field| fields.remove(field));
                    assert!(repeated.iter().all(Option::is_some), "{fields:?}");
                }
                self.exposed.note("an answer", answer.encode_to_vec());
                Ok(answer.overall_code())
            }
            Err(status) => {
                self.exposed.note("an error", format!("{status:?}"));
                self.exposed.note("the message of an error", status.message());
                self.exposed.note("the details of an error", status.details());
                Err(status)
            }
        }
    }

    /// Sends bytes that are not HTTP/2 to the gRPC port.
    async fn write(&mut self, bytes: &str) {
        let mut stream = TcpStream::connect(self.process.grpc()).await.expect("connects");
        stream.write_all(bytes.as_bytes()).await.expect("can be sent");
        let mut answer = Vec::new();
        // The connection may be reset or closed.
        let _ = stream.read_to_end(&mut answer).await;
        self.exposed.note("the answer to what is no HTTP/2", answer);
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        http::get(self.process.admin(), path, &[]).await.expect("an answer").text()
    }

    pub(crate) async fn until(&self, path: &str, wanted: &str) {
        let started = clock::monotonic();
        loop {
            let page = self.page(path).await;
            if page.contains(wanted) {
                return;
            }
            assert!(started.elapsed() < WITHIN, "{path} never says {wanted}: {page}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn note_pages(&mut self, when: &str) {
        for path in ["/", "/healthcheck", "/ready", "/metrics", "/events", "/nowhere"] {
            let page = self.page(path).await;
            self.exposed.note(format_args!("{path} {when}"), page);
        }
    }

    /// Sends every kind of request that carries a secret.
    pub(crate) async fn ask_everything(&mut self) {
        for _ in 0..3 {
            // Any answer will do, because it depends on the store.
            let _ = self.ask("edge", vec![descriptor("api_key", VALUE)]).await;
            let _ = self.ask("edge", vec![descriptor("member", MEMBER)]).await;
            let _ = self.ask("edge", vec![overridden(2)]).await;
        }
        let unmatched = self.ask("edge", vec![descriptor("nobody", UNMATCHED)]).await;
        assert_eq!(unmatched.expect("an answer"), Overall::Ok);
        let nowhere = self.ask(DOMAIN, vec![descriptor("api_key", VALUE)]).await;
        assert_eq!(nowhere.expect("an answer"), Overall::Ok);

        let too_many = vec![descriptor("api_key", MALFORMED); 600];
        for malformed in [too_many, vec![overridden(0)], vec![overridden(99)]] {
            let error = self.ask("edge", malformed).await.expect_err("malformed");
            assert_eq!(error.code(), Code::InvalidArgument);
        }
        let error = self.ask("", vec![descriptor("api_key", MALFORMED)]).await.expect_err("malformed");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(self.ask_nonsense(MALFORMED).await.code(), Code::InvalidArgument);
        self.write(&format!("GET /?api_key={MALFORMED} HTTP/1.1\r\nhost: {MALFORMED}\r\n\r\n")).await;
    }
}

impl Service {
    /// Changes the files to each mistake that has a message of its own.
    pub(crate) async fn refuse_files(&mut self, (limits, text): (&Path, &str), members: &Path) {
        let mistakes = [
            (members, format!("paid: [{MEMBER}, {MEMBER}, sha256:{MEMBER}, {MEMBER}: 1]\n{MEMBER}: paid\n")),
            (members, format!("paid: [!{MEMBER} x]\n")),
            (members, format!("paid: [*{MEMBER}]\n")),
            (members, format!("paid: [{MEMBER}\n")),
            (limits, text.replace("unit: day", "unit: eon")),
        ];
        for (nth, (file, text)) in mistakes.iter().enumerate() {
            fs::write(file, text).expect("can be written");
            let refused = format!("tollgate_config_reloads_total{{result=\"refused\"}} {}\n", nth + 1);
            self.until("/metrics", &refused).await;
        }
    }

    /// Ends the process, and returns its whole log.
    pub(crate) async fn end(mut self) -> Exposed {
        self.process.terminate(WITHIN).await.expect("ends");
        let log = self.process.log_text();
        for said in [" TRACE ", "cannot reach the store", "is refused"] {
            assert!(log.contains(said), "the log never says {said:?}");
        }
        for line in log.lines() {
            self.exposed.note("the log", line);
        }
        self.exposed
    }
}

/// A request whose descriptors are text.
#[derive(Clone, PartialEq, prost::Message)]
struct Nonsense {
    #[prost(string, tag = "2")]
    descriptors: String,
}

pub(crate) fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}

fn overridden(unit: i32) -> RateLimitDescriptor {
    let limit = RateLimitOverride { requests_per_unit: 1, unit, unit_multiplier: None };
    RateLimitDescriptor { limit: Some(limit), ..descriptor("api_key", OVERRIDDEN) }
}
