//! The ways to Redis: TLS and unix sockets, through a real Redis; and what is said if a way leads nowhere.

mod acks;
mod sentinels;
#[path = "../support/mod.rs"]
mod support;

use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};

use lab::{
    http, ports,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use redis::cmd;
use support::authority::Authority;
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

const LIMITS: &str = "\
domain: edge
descriptors:
- { key: user, rate_limit: { unit: day, requests_per_unit: 3, algorithm: token_bucket, on_store_failure: error } }
";
const WITHIN: Duration = Duration::from_secs(20);

/// A Redis with a port for plain text, one for TLS, and a socket.
struct Ways {
    redis: Redis,
    tls_port: u16,
    socket: PathBuf,
}

impl Ways {
    /// Redis shows this certificate, and demands one of clients if an authority is given.
    async fn start(name: &str, own: &(PathBuf, PathBuf), of_clients: Option<&Authority>) -> Ways {
        let tls_port = ports::free().expect("a free port");
        // The path of a socket has at most 107 bytes.
        let socket = std::env::temp_dir().join(format!("tollgate-{}-{name}.sock", std::process::id()));
        let (certificate, key) = (own.0.display().to_string(), own.1.display().to_string());
        let ca = of_clients
            .map_or(certificate.clone(), |of| of.file(&format!("{name}-clients")).display().to_string());
        let demands = if of_clients.is_some() { "yes" } else { "no" };
        let args =
            ["--tls-port", &tls_port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key]
                .into_iter()
                .chain(["--tls-ca-cert-file", &ca, "--tls-auth-clients", demands])
                .chain(["--unixsocket", socket.to_str().expect("text")])
                .map(str::to_owned)
                .collect::<Vec<_>>();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let redis = Redis::start_with(&args).await.expect("Redis starts");
        Ways { redis, tls_port, socket }
    }

    fn tls(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.tls_port)
    }

    fn unix(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

async fn start(store: &str, args: &[&str]) -> Tollgate {
    // Written once, since another test may read it at the same time.
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let limits = FILE.get_or_init(|| support::file("store-ways.yaml", LIMITS));
    let serve =
        Serve::new(limits).store(store).args(&["--runtimes", "2", "--store-deadline", "2s"]).args(args);
    Tollgate::start(&serve).await.expect("Tollgate starts")
}

async fn until_ready_says(tollgate: &Tollgate, status: u16, words: &str) {
    let started = clock::monotonic();
    loop {
        let answer = http::get(tollgate.admin(), "/ready", &[]).await.expect("an answer");
        let (is, said) = (answer.status.as_u16(), answer.text());
        if is == status && said.contains(words) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "/ready never says {status} {words:?}: {is} {said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(tollgate: &Tollgate) -> Code {
    let answer = try_to_ask(tollgate).await;
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", tollgate.log_text()));
    assert_eq!(answer.dynamic_metadata, None, "a fallback answer");
    answer.overall_code()
}

async fn try_to_ask(tollgate: &Tollgate) -> Result<RateLimitResponse, tonic::Status> {
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    let entry = Entry { key: "user".into(), value: "alice".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 1 };
    client.should_rate_limit(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_bucket_is_the_same_by_tls_by_a_socket_and_in_plain_text() {
    if !lab::real::available(&[lab::binaries::Part::Redis]) {
        return;
    }
    let (authority, of_clients) = (Authority::new("ways"), Authority::new("ways-clients"));
    let ways = Ways::start("ways", &authority.files("ways-redis"), Some(&of_clients)).await;
    let ca = authority.file("ways-ca").display().to_string();
    let (certificate, key) = of_clients.files("ways-tollgate");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let tls = ["--store-ca", &ca, "--store-cert", &certificate, "--store-key", &key];
    let mut codes = Vec::new();
    for (store, args) in [
        (ways.tls("127.0.0.1"), &tls[..]),
        (ways.tls("127.0.0.1").replace("rediss", "valkeys"), &tls[..]),
        (ways.unix(), &[]),
        (format!("{}?db=0&protocol=resp3", ways.unix()), &[]),
        (ways.redis.url(), &[]),
    ] {
        let tollgate = start(&store, args).await;
        until_ready_says(&tollgate, 200, "OK").await;
        codes.push(ask(&tollgate).await);
    }
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit, Code::OverLimit]);
}

#[tokio::test]
async fn a_way_that_leads_nowhere_is_named_with_what_to_write() {
    if !lab::real::available(&[lab::binaries::Part::Redis]) {
        return;
    }
    let (authority, other) = (Authority::new("named"), Authority::new("other"));
    let open = Ways::start("named", &authority.files("named-redis"), None).await;
    let old = Ways::start("named-old", &authority.expired_files("named-old"), None).await;
    let strict = Ways::start("named-strict", &authority.files("named-strict"), Some(&authority)).await;
    let ca = authority.file("named-ca").display().to_string();
    let wrong_ca = other.file("named-other-ca").display().to_string();
    let (wrong, wrong_key) = other.files("named-stranger");
    let (wrong, wrong_key) = (wrong.display().to_string(), wrong_key.display().to_string());
    let plain_port = open.redis.url().replace("redis:", "rediss:");
    let missing = format!("{}.missing", open.unix());
    for (store, args, words) in [
        (&plain_port, &["--store-ca", &ca][..], "speaks no TLS: write redis://"),
        (&open.tls("127.0.0.1").replace("rediss", "redis"), &[], "speaks TLS: write rediss://"),
        (&open.tls("127.0.0.1"), &["--store-ca", &wrong_ca], "was issued by nobody"),
        (&open.tls("127.0.0.1"), &[], "was issued by nobody"),
        (&open.tls("localhost"), &["--store-ca", &ca], "is not for localhost"),
        (&old.tls("127.0.0.1"), &["--store-ca", &ca], "has expired"),
        (&strict.tls("127.0.0.1"), &["--store-ca", &ca], "give --store-cert and --store-key"),
        (
            &strict.tls("127.0.0.1"),
            &["--store-ca", &ca, "--store-cert", &wrong, "--store-key", &wrong_key],
            "refuses the certificate of --store-cert",
        ),
        (&missing, &[], "no such file"),
    ] {
        let tollgate = start(store, args).await;
        until_ready_says(&tollgate, 503, words).await;
    }
}

#[tokio::test]
async fn less_is_verified_only_where_a_flag_says_so() {
    if !lab::real::available(&[lab::binaries::Part::Redis]) {
        return;
    }
    let (authority, other) = (Authority::new("less"), Authority::new("less-other"));
    let ways = Ways::start("less", &authority.files("less-redis"), None).await;
    let ca = authority.file("less-ca").display().to_string();
    let wrong_ca = other.file("less-other-ca").display().to_string();
    let warning = "store's certificate is not verified";
    let by_ca = start(&ways.tls("localhost"), &["--store-ca", &ca, "--store-tls-verify", "ca"]).await;
    until_ready_says(&by_ca, 200, "OK").await;
    assert!(!by_ca.log_text().contains(warning));
    let of_another =
        start(&ways.tls("localhost"), &["--store-ca", &wrong_ca, "--store-tls-verify", "ca"]).await;
    until_ready_says(&of_another, 503, "was issued by nobody").await;
    let anybody = start(&ways.tls("localhost"), &["--store-tls-verify", "nothing"]).await;
    until_ready_says(&anybody, 200, "OK").await;
    assert!(anybody.log_text().contains(warning), "{}", anybody.log_text());
}

#[tokio::test]
async fn an_authority_that_is_replaced_needs_no_restart() {
    if !lab::real::available(&[lab::binaries::Part::Redis]) {
        return;
    }
    let (old, new) = (Authority::new("turn-old"), Authority::new("turn-new"));
    let ways = Ways::start("turn", &old.files("turn-redis"), None).await;
    let ca = old.file("turn-ca");
    let tollgate = start(&ways.tls("127.0.0.1"), &["--store-ca", ca.to_str().expect("text")]).await;
    until_ready_says(&tollgate, 200, "OK").await;

    let (certificate, key) = new.files("turn-redis-new");
    let mut admin = support::connection(&ways.redis);
    let set = [
        "SET",
        "tls-cert-file",
        certificate.to_str().expect("text"),
        "tls-key-file",
        key.to_str().expect("text"),
    ];
    let () = cmd("CONFIG").arg(&set).query(&mut admin).expect("can be set");
    let _: u32 =
        cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut admin).expect("kills");
    until_ready_says(&tollgate, 200, "was issued by nobody").await;
    fs::copy(new.file("turn-ca-new"), &ca).expect("can be written");
    until_ready_says(&tollgate, 200, "OK").await;
    assert_eq!(ask(&tollgate).await, Code::Ok);
}
