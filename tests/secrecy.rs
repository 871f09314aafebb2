//! What is a secret stays one: values of requests and the store's password are in no key, log, page or error.
//!
//! Each secret is a word that occurs nowhere else, so that it is enough to look for it. All are sent the ways
//! that they really go, with the log at its loudest, through whatever can go wrong on the way.

mod support;

use std::{fs, path::Path, time::Duration};

use ::http::uri::PathAndQuery;
use deadpool_redis::redis::{Connection, cmd};
use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use prost::Message as _;
use support::seen::{Seen, shows};
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

// Short enough to lie whole in the 16 bytes that name a bucket.
const VALUE: &str = "canary-key";
const UNMATCHED: &str = "canary-stray";
const DOMAIN: &str = "canary-home";
const PASSWORD: &str = "canary-pass";
const MEMBER: &str = "canary-paid";
const OVERRIDDEN: &str = "canary-own";
const MALFORMED: &str = "canary-junk";
const CANARIES: [&str; 7] = [VALUE, UNMATCHED, DOMAIN, PASSWORD, MEMBER, OVERRIDDEN, MALFORMED];

const LIMITS: &str = "
domain: edge
tiers:
  free: [{ unit: day, requests_per_unit: 1 }]
  paid: [{ unit: day, requests_per_unit: 2 }]
members: { file: secrecy-members.yaml, key: member, default: free }
descriptors:
- { key: api_key, rate_limit: { unit: day, requests_per_unit: 1 } }
- { key: member, tier: from_members }
";
const WITHIN: Duration = Duration::from_secs(20);

// === the service ===

struct Service {
    process: Tollgate,
    channel: Channel,
    seen: Seen,
}

impl Service {
    async fn start(limits: &Path, store: String) -> Service {
        let args = ["--log-level", "trace", "--store-deadline", "5s", "--drain-wait", "0s"];
        let process = Tollgate::start(&Serve::new(limits).store(store).args(&args)).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let channel = channel.connect().await.expect("connects");
        Service { process, channel, seen: Seen::default() }
    }

    /// What is answered, message and headers or error, is noted.
    async fn ask(&mut self, domain: &str, descriptors: Vec<RateLimitDescriptor>) -> Result<Overall, Status> {
        let request = RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 0 };
        let answer = RateLimitServiceClient::new(self.channel.clone()).should_rate_limit(request).await;
        self.note(answer)
    }

    /// Sends text where the protocol has descriptors.
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
                self.seen.note("the headers of an answer", format!("{:?}", answer.metadata()));
                self.seen.note("an answer", answer.get_ref().encode_to_vec());
                Ok(answer.get_ref().overall_code())
            }
            Err(status) => {
                self.seen.note("an error", format!("{status:?}"));
                self.seen.note("the message of an error", status.message());
                self.seen.note("the details of an error", status.details());
                Err(status)
            }
        }
    }

    /// What is no HTTP/2 at all, on the gRPC port.
    async fn write(&mut self, bytes: &str) {
        let mut stream = TcpStream::connect(self.process.grpc()).await.expect("connects");
        stream.write_all(bytes.as_bytes()).await.expect("can be sent");
        let mut answer = Vec::new();
        // Reset or closed, either is an end.
        let _ = stream.read_to_end(&mut answer).await;
        self.seen.note("the answer to what is no HTTP/2", answer);
    }

    async fn page(&self, path: &str) -> String {
        http::get(self.process.admin(), path, &[]).await.expect("an answer").text()
    }

    async fn until(&self, path: &str, wanted: &str) {
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

    async fn note_pages(&mut self, when: &str) {
        for path in ["/", "/healthcheck", "/ready", "/metrics", "/nowhere"] {
            let page = self.page(path).await;
            self.seen.note(format_args!("{path} {when}"), page);
        }
    }

    /// Every kind of request that carries a secret.
    async fn ask_everything(&mut self) {
        for _ in 0..3 {
            // Whatever the answer is: it depends on the store.
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
    /// Changes the files, for each mistake with a message of its own.
    async fn refuse_files(&mut self, limits: &Path, members: &Path) {
        let mistakes = [
            (members, format!("paid: [{MEMBER}, {MEMBER}, sha256:{MEMBER}, {MEMBER}: 1]\n{MEMBER}: paid\n")),
            (members, format!("paid: [!{MEMBER} x]\n")),
            (members, format!("paid: [*{MEMBER}]\n")),
            (members, format!("paid: [{MEMBER}\n")),
            (limits, LIMITS.replace("unit: day", "unit: eon")),
        ];
        for (nth, (file, text)) in mistakes.iter().enumerate() {
            fs::write(file, text).expect("can be written");
            let refused = format!("tollgate_config_reloads_total{{result=\"refused\"}} {}\n", nth + 1);
            self.until("/metrics", &refused).await;
        }
    }

    /// Ends it, for the whole of its log.
    async fn end(mut self) -> Seen {
        self.process.terminate(WITHIN).await.expect("ends");
        let log = self.process.log_text();
        for said in [" TRACE ", "cannot reach the store", "is refused"] {
            assert!(log.contains(said), "the log never says {said:?}");
        }
        for line in log.lines() {
            self.seen.note("the log", line);
        }
        self.seen
    }
}

/// A request whose descriptors are text.
#[derive(Clone, PartialEq, prost::Message)]
struct Nonsense {
    #[prost(string, tag = "2")]
    descriptors: String,
}

fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}

fn overridden(unit: i32) -> RateLimitDescriptor {
    let limit = RateLimitOverride { requests_per_unit: 1, unit, unit_multiplier: None };
    RateLimitDescriptor { limit: Some(limit), ..descriptor("api_key", OVERRIDDEN) }
}

// === Redis ===

/// From now on this is the password of the user that Tollgate logs in as.
fn let_in_with(password: &str, admin: &mut Connection) {
    let user = ["SETUSER", "tollgate", "on", "resetpass", &format!(">{password}"), "~*", "+@all"];
    let () = cmd("ACL").arg(&user).query(admin).expect("a user");
}

fn note_redis(seen: &mut Seen, admin: &mut Connection) -> usize {
    // Else DUMP shows long values compressed.
    let () = cmd("CONFIG").arg(&["SET", "rdbcompression", "no"]).query(admin).expect("is set");
    let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(admin).expect("keys");
    for key in &keys {
        let value: Vec<u8> = cmd("DUMP").arg(key).query(admin).unwrap_or_default();
        seen.note(format_args!("the value of {}", key.escape_ascii()), value);
        seen.note("a key", key.clone());
    }
    keys.len()
}

// === the promises ===

#[tokio::test]
async fn no_value_of_a_request_and_no_password_shows_in_any_key_log_page_or_error() {
    let Some(mut redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let members = support::file("secrecy-members.yaml", &format!("paid: [{MEMBER}]\n"));
    let limits = support::file("secrecy.yaml", LIMITS);
    let store = format!("redis://tollgate:{PASSWORD}@{}", redis.addr());
    let mut service = Service::start(&limits, store).await;
    service.until("/ready", "cannot reach").await;
    service.note_pages("with a password that is wrong").await;

    let_in_with(PASSWORD, &mut admin);
    service.until("/ready", "OK").await;
    service.ask_everything().await;
    let denied = service.ask("edge", vec![descriptor("api_key", VALUE)]).await;
    assert_eq!(denied.expect("an answer"), Overall::OverLimit);
    service.note_pages("in good days").await;
    assert!(note_redis(&mut service.seen, &mut admin) >= 3, "a bucket is missing in Redis");

    let_in_with("another", &mut admin);
    let () = cmd("CLIENT").arg(&["KILL", "USER", "tollgate"]).query(&mut admin).expect("kills");
    service.until("/ready", "cannot reach").await;
    service.ask_everything().await;
    service.note_pages("with a password that was changed").await;

    service.refuse_files(&limits, &members).await;
    redis.kill();
    service.until("/ready", "refused").await;
    service.ask_everything().await;
    service.note_pages("without Redis").await;
    service.end().await.assert_free_of(&CANARIES);
}

#[test]
fn a_secret_is_found_in_plain_as_numbers_in_hex_and_in_base64() {
    // The last three are what base64 makes of it behind none, one and two bytes of zero.
    for text in [
        "key=canary-key.",
        "[0, 99, 97, 110, 97, 114, 121, 45, 107, 101, 121]",
        "0x63616e6172792d6b6579",
        "Y2FuYXJ5LWtleQ",
        "AGNhbmFyeS1rZXk=",
        "AABjYW5hcnkta2V5",
    ] {
        assert!(shows(text.as_bytes(), "canary-key"), "{text}");
        assert!(!shows(text.as_bytes(), "canary-xey"), "{text}");
    }
}

#[tokio::test]
async fn a_value_shows_in_the_metrics_where_the_rule_asks_for_it() {
    let limits = "
domain: edge
descriptors:
- { key: api_key, detailed_metric: true, rate_limit: { unit: day, requests_per_unit: 1 } }
";
    let limits = support::file("secrecy-detailed.yaml", limits);
    let mut service = Service::start(&limits, "memory".to_owned()).await;
    service.ask("edge", vec![descriptor("api_key", VALUE)]).await.expect("an answer");
    let page = service.page("/metrics").await;
    assert!(shows(page.as_bytes(), VALUE), "{page}");
}
