//! Bad input on the wire gets a defined answer: never a panic, and never UNKNOWN as the overall code.

mod support;

use http::uri::PathAndQuery;
use lab::tollgate::{Serve, Tollgate};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
    rate_limit_response::Code as Overall, rate_limit_service_client::RateLimitServiceClient,
};
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

const LIMITS: &str = "
domain: edge
descriptors:
- key: user
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 5 }
";

struct Service {
    client: RateLimitServiceClient<Channel>,
    channel: Channel,
    process: Tollgate,
}

async fn service() -> Service {
    let limits = support::file("bad_input.yaml", LIMITS);
    let process = Tollgate::start(&Serve::new(&limits)).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
    let channel = channel.connect().await.expect("connects");
    Service { client: RateLimitServiceClient::new(channel.clone()), channel, process }
}

fn descriptor(key: &[u8], value: &[u8]) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_vec().into(), value: value.to_vec().into() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}

fn request(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 }
}

impl Service {
    async fn ask(&mut self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        self.client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    async fn code(&mut self, request: RateLimitRequest) -> Code {
        self.ask(request).await.expect_err("an error").code()
    }

    async fn overall(&mut self, request: RateLimitRequest) -> Overall {
        self.ask(request).await.expect("an answer").overall_code()
    }

    async fn raw(&self, body: &[u8]) -> Result<(), Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.expect("ready");
        let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let path = PathAndQuery::from_static(path);
        grpc.unary(Request::new(body.to_vec()), path, Raw).await.map(|_| ())
    }
}

/// Sends bytes unchanged.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buf, &item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes::Buf::advance(buf, bytes::Buf::remaining(buf));
        Ok(Some(()))
    }
}

#[tokio::test]
async fn bad_input_gets_a_defined_answer() {
    let mut service = service().await;

    let no_domain = RateLimitRequest { domain: String::new(), ..request(vec![descriptor(b"user", b"a")]) };
    assert_eq!(service.code(no_domain).await, Code::InvalidArgument);
    assert_eq!(service.code(request(vec![])).await, Code::InvalidArgument);
    assert_eq!(service.overall(request(vec![RateLimitDescriptor::default()])).await, Overall::Ok);
    assert_eq!(service.overall(request(vec![descriptor(b"", b"")])).await, Overall::Ok);

    let huge = vec![b'x'; 60_000];
    for _ in 0..5 {
        assert_eq!(service.overall(request(vec![descriptor(b"user", &huge)])).await, Overall::Ok);
    }
    assert_eq!(service.overall(request(vec![descriptor(b"user", &huge)])).await, Overall::OverLimit);

    for value in [&b"\xff\xfe"[..], b"\xe9", b"\r\nx: y", b"\0", b"{}*?"] {
        let answer = service.ask(request(vec![descriptor(b"user", value)])).await.expect("an answer");
        assert_eq!(
            (answer.overall_code(), answer.statuses[0].limit_remaining),
            (Overall::Ok, 4),
            "{value:?}"
        );
    }
    assert_eq!(service.overall(request(vec![descriptor(b"\xff", b"")])).await, Overall::Ok);

    let mut greedy = descriptor(b"user", b"greedy");
    greedy.hits_addend = Some(u64::MAX);
    assert_eq!(service.overall(request(vec![greedy])).await, Overall::OverLimit);
    let all_hits = RateLimitRequest { hits_addend: u32::MAX, ..request(vec![descriptor(b"user", b"all")]) };
    assert_eq!(service.overall(all_hits).await, Overall::OverLimit);

    assert!(service.process.log_text().lines().all(|line| !line.contains("panicked")));
}

#[tokio::test]
async fn a_thousand_descriptors_are_an_answer_or_an_argument_that_is_invalid() {
    let mut service = service().await;
    let descriptors = |key: &str, count: u32| {
        (0..count).map(|number| descriptor(key.as_bytes(), number.to_string().as_bytes())).collect::<Vec<_>>()
    };
    let unmatched = service.ask(request(descriptors("nobody", 1_000))).await.expect("an answer");
    assert_eq!((unmatched.overall_code(), unmatched.statuses.len()), (Overall::Ok, 1_000));
    assert_eq!(service.code(request(descriptors("user", 1_000))).await, Code::InvalidArgument);

    let mut mixed = descriptors("user", 512);
    mixed.extend(descriptors("nobody", 488));
    let answer = service.ask(request(mixed)).await.expect("an answer");
    assert_eq!((answer.overall_code(), answer.statuses.len()), (Overall::Ok, 1_000));
    assert!(answer.statuses[511].current_limit.is_some() && answer.statuses[512].current_limit.is_none());
}

#[tokio::test]
async fn a_body_that_is_not_a_message_is_an_invalid_argument_and_one_too_large_is_out_of_range() {
    let service = service().await;
    for garbage in [&b"\xff\xff\xff\xff"[..], b"hello, world", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x05\x0a"] {
        let error = service.raw(garbage).await.expect_err("an error");
        assert_eq!(error.code(), Code::InvalidArgument, "{garbage:?}: {error}");
    }
    let error = service.raw(&vec![0x1a; 5 << 20]).await.expect_err("an error");
    assert!(matches!(error.code(), Code::OutOfRange | Code::ResourceExhausted), "{error}");
}

/// The peak memory of a process in bytes.
fn most_held(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn length_delimited(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [bytes, content.to_vec()].concat()
}

/// Each of these would take 128 MB when decoded, or stall its runtime for a tenth of a second.
#[tokio::test]
async fn too_much_in_one_request_is_refused_before_it_is_decoded_counted_and_told_once() {
    const MOST_GROWN: u64 = 48 << 20;
    let service = service().await;
    let before = most_held(service.process.pid());
    let two_million = |field: [u8; 2]| field.repeat(2_000_000);
    let descriptors = two_million([0x12, 0]);
    let others = [
        length_delimited(0x12, &two_million([0x0a, 0])),
        length_delimited(0x12, &length_delimited(0x0a, &two_million([0x0a, 0]))),
        two_million([0x72, 0]),
    ];
    for _ in 0..3 {
        for body in others.iter().chain([&descriptors]) {
            let error = service.raw(body).await.expect_err("an error");
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        }
        assert_eq!(service.raw(b"\xff").await.expect_err("an error").code(), Code::InvalidArgument);
        assert_eq!(service.raw(&vec![0x1a; 5 << 20]).await.expect_err("an error").code(), Code::OutOfRange);
    }
    let grown = most_held(service.process.pid()) - before;
    assert!(grown < MOST_GROWN, "{grown} bytes");

    let metrics = lab::http::get(service.process.admin(), "/metrics", &[]).await.expect("an answer").text();
    assert!(
        metrics.contains("\ntollgate_requests_total{door=\"rls\",outcome=\"invalid\"} 18\n"),
        "{metrics}"
    );
    let log = service.process.log_text();
    for reason in [
        "the request has more than 1024 descriptors",
        "more than 65536 entries, keys, values and other fields",
        "request is not a valid message",
        "message length too large",
    ] {
        let told = |line: &&str| line.contains("WARN") && line.contains(reason);
        assert_eq!(log.lines().filter(told).count(), 1, "{reason}: {log}");
    }
    assert!(log.contains("Envoy lets it pass unlimited unless failure_mode_deny is set"), "{log}");
}
