//! TLS on the gRPC port, with a real client and through a real Envoy.

#[path = "../support/mod.rs"]
mod support;

mod connector;
mod hostile;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use lab::{
    binaries::{self, Part},
    envoy::{Config, Envoy},
    http,
    tollgate::{Serve, Tollgate},
};
use support::authority::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Endpoint;

const LIMITS: &str = "
domain: edge
descriptors:
- { key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 3 } }
";
const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

async fn serve(name: &str, certificate: &Path, key: &Path, args: &[&str]) -> Tollgate {
    let limits = support::file(&format!("tls-{name}.yaml"), LIMITS);
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let serve = Serve::new(&limits).args(&["--grpc-tls-cert", &certificate, "--grpc-tls-key", &key]);
    Tollgate::start(&serve.args(args)).await.expect("starts")
}

/// Waits until the log has this. A connection is logged after its client has seen its end.
async fn until_told(tollgate: &Tollgate, words: &str) {
    for _ in 0..100 {
        if tollgate.log_text().contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{words}: {}", tollgate.log_text());
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key")
}

/// A client that trusts this authority, and has a certificate of it if that is asked for.
fn client(
    trusted: &Authority,
    own: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).expect("known versions");
    let builder = builder.with_root_certificates(trusted.roots());
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let (chain, key) = authority.sign("client");
            builder.with_client_auth_cert(vec![chain], private_key(&key)).expect("a client")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// By address, so without SNI.
async fn connect(addr: SocketAddr, config: &ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut stream =
        TlsConnector::from(Arc::new(config.clone())).connect(name, TcpStream::connect(addr).await?).await?;
    // With TLS 1.3 the client learns only now that its certificate is refused.
    stream.flush().await?;
    Ok(stream)
}

/// Whether a decision comes back.
async fn is_decided(addr: SocketAddr, config: &ClientConfig) -> Result<Code, String> {
    let config = config.clone();
    let connector = tower_service_fn(addr, config);
    let endpoint = Endpoint::from_static("http://tollgate");
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))?;
    let entry = Entry { key: "user".into(), value: "a".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request = RateLimitRequest { domain: "edge".into(), descriptors: vec![descriptor], hits_addend: 1 };
    let answer = RateLimitServiceClient::new(channel).should_rate_limit(request).await;
    answer.map(|answer| answer.into_inner().overall_code()).map_err(|status| format!("{status:?}"))
}

/// Connects over TLS, whatever address is asked for.
fn tower_service_fn(
    addr: SocketAddr,
    config: ClientConfig,
) -> impl tower_service::Service<
    ::http::Uri,
    Response = TokioIo<TlsStream<TcpStream>>,
    Error = std::io::Error,
    Future = impl Future<Output = std::io::Result<TokioIo<TlsStream<TcpStream>>>> + Send,
> + Send {
    connector::Connector(move || {
        let config = config.clone();
        async move { connect(addr, &config).await.map(TokioIo::new) }
    })
}

#[tokio::test]
async fn decisions_come_over_each_version_and_each_kind_of_key_without_a_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/keys");
    let own = Authority::new("kinds");
    let (certificate, key) = own.files("kinds");
    let kinds: [(&str, PathBuf, PathBuf, Authority); 3] = [
        ("pkcs8", certificate, key, own),
        (
            "pkcs1",
            folder.join("rsa.pem"),
            folder.join("rsa.key"),
            Authority::trusting(&folder.join("rsa.pem")),
        ),
        ("sec1", folder.join("ec.pem"), folder.join("ec.key"), Authority::trusting(&folder.join("ec.pem"))),
    ];
    for (name, certificate, key, trusted) in kinds {
        let tollgate = serve(name, &certificate, &key, &[]).await;
        for version in BOTH {
            let config = client(&trusted, None, &[version]);
            assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok), "{name} {version:?}");
        }
        let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
        let expiry =
            page.lines().find_map(|line| line.strip_prefix("tollgate_tls_certificate_expiry_seconds "));
        assert!(expiry.expect("it is shown").parse::<u64>().expect("a number") > 1_800_000_000, "{page}");
    }
}

#[tokio::test]
async fn only_clients_of_the_right_authority_are_served_unless_verification_is_off() {
    let (server, clients, others) =
        (Authority::new("server"), Authority::new("clients"), Authority::new("others"));
    let (certificate, key) = server.files("mutual");
    let ca = clients.file("mutual-ca").display().to_string();
    let tollgate = serve("mutual", &certificate, &key, &["--grpc-client-ca", &ca]).await;
    let of = |own| client(&server, own, &BOTH);
    assert_eq!(is_decided(tollgate.grpc(), &of(Some(&clients))).await, Ok(Code::Ok));
    for (name, own) in [("none", None), ("another", Some(&others))] {
        assert!(is_decided(tollgate.grpc(), &of(own)).await.is_err(), "{name}");
    }
    until_told(&tollgate, "peer sent no certificates").await;
    until_told(&tollgate, "invalid peer certificate: UnknownIssuer").await;
    let log = tollgate.log_text();
    assert_eq!(log.matches("a TLS handshake on the gRPC port failed").count(), 2, "{log}");

    let off = ["--grpc-client-ca", &ca, "--grpc-client-verify", "off"];
    let tollgate = serve("unverified", &certificate, &key, &off).await;
    assert_eq!(is_decided(tollgate.grpc(), &of(None)).await, Ok(Code::Ok));
}

#[tokio::test]
async fn clients_that_speak_plain_text_or_stop_half_way_hold_up_nobody() {
    let authority = Authority::new("plain");
    let (certificate, key) = authority.files("plain");
    let tollgate = serve("plain", &certificate, &key, &["--runtimes", "1"]).await;
    let mut half_open = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
        // The beginning of a ClientHello.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.expect("written");
        half_open.push(stream);
    }
    let config = client(&authority, None, &BOTH);
    assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok));
    let mut plain = TcpStream::connect(tollgate.grpc()).await.expect("connects");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    until_told(&tollgate, "a client of the gRPC port does not speak TLS").await;
    // The handshakes that never end are given up.
    let ended = tokio::time::timeout(Duration::from_secs(20), half_open[0].read(&mut [0; 64])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_refused() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (certificate, key) = first.files("rotated");
    let tollgate = serve("rotated", &certificate, &key, &[]).await;
    let (by_first, by_second) = (client(&first, None, &BOTH), client(&second, None, &BOTH));
    let long = connect(tollgate.grpc(), &by_first).await.expect("it is trusted");

    second.files("rotated");
    let switched = async |config: &ClientConfig| {
        for _ in 0..100 {
            if connect(tollgate.grpc(), config).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    assert!(switched(&by_second).await, "{}", tollgate.log_text());
    assert!(connect(tollgate.grpc(), &by_first).await.is_err());
    drop(long);

    std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nbroken\n").expect("can be written");
    until_told(&tollgate, "changed TLS files are refused").await;
    assert!(connect(tollgate.grpc(), &by_second).await.is_ok(), "the last good one stays");
    let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    assert!(page.contains("tollgate_tls_stale 1\n"), "{page}");
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start_with_words() {
    let authority = Authority::new("start");
    let (certificate, key) = authority.files("start");
    let other = Authority::new("other").files("start-other").1;
    let limits = support::file("tls-start.yaml", LIMITS).display().to_string();
    let (certificate, key, other) =
        (certificate.display().to_string(), key.display().to_string(), other.display().to_string());
    for (cert, key, expected) in [
        (certificate.as_str(), other.as_str(), "cannot be used together"),
        (key.as_str(), key.as_str(), "no certificate in it"),
        (certificate.as_str(), certificate.as_str(), "no private key in it"),
        ("/nowhere.pem", key.as_str(), "/nowhere.pem: no such file or directory"),
    ] {
        let output = std::process::Command::new(binaries::tollgate().expect("built"))
            .args(["serve", "--config", &limits, "--grpc-tls-cert", cert, "--grpc-tls-key", key])
            .args(["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn envoy_asks_over_mutual_tls() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let (server, clients) = (Authority::new("envoy-server"), Authority::new("envoy-clients"));
    let (certificate, key) = server.files("envoy");
    let ca = clients.file("envoy-ca").display().to_string();
    let limits = binaries::checkout().join("examples/demo.yaml");
    let serve = Serve::new(limits)
        .args(&[
            "--grpc-tls-cert",
            &certificate.display().to_string(),
            "--grpc-tls-key",
            &key.display().to_string(),
        ])
        .args(&["--grpc-client-ca", &ca, "--jitter", "0"]);
    let tollgate = Tollgate::start(&serve).await.expect("starts");
    let upstream = Envoy::start(&Config::upstream().expect("a file")).await.expect("Envoy starts");
    let (own_certificate, own_key) = clients.files("envoy-client");
    let socket = format!(
        "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:\n        \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n        \
         common_tls_context:\n          tls_certificates: [ {{ certificate_chain: {{ filename: \"{}\" }}, private_key: {{ filename: \"{}\" }} }} ]\n          \
         validation_context: {{ trusted_ca: {{ filename: \"{}\" }} }}\n    load_assignment:\n      cluster_name: tollgate\n",
        own_certificate.display(),
        own_key.display(),
        server.file("envoy-root").display()
    );
    let config = Config::global_node("tls", upstream.listen(), &[tollgate.grpc()])
        .and_then(|config| config.patience(Duration::from_secs(5)))
        .and_then(|config| config.replace("    load_assignment:\n      cluster_name: tollgate\n", &socket));
    let node = Envoy::start(&config.expect("the file")).await.expect("Envoy starts");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let answer = http::get(node.listen(), "/login", &[("x-api-key", "k")]).await.expect("an answer");
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429], "{}", tollgate.log_text());
}
