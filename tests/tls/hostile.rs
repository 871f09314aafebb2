//! Certificates that do not hold, and handshakes that are none. Each is told and counted, and nobody else waits for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lab::{http, tollgate::Tollgate};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, ClientConnection, SignatureScheme,
        client::ResolvesClientCert,
        crypto::ring::sign::any_supported_type,
        pki_types::{CertificateDer, ServerName},
        sign::CertifiedKey,
    },
};
use tollgate::pb::rate_limit_response::Code;

use super::{BOTH, client, connect, is_decided, private_key, serve, until_told};
use crate::support::authority::Authority;

const FAILED: &str = "a TLS handshake on the gRPC port failed";

/// Shows this certificate, whether or not the key belongs to it.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Sends one byte at a time.
struct Drip(TcpStream);

impl AsyncRead for Drip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Drip {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, &bytes[..bytes.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

fn showing(trusted: &Authority, chain: CertificateDer<'static>, key: &str) -> ClientConfig {
    let key = any_supported_type(&private_key(key)).expect("a key");
    let mut config = client(trusted, None, &BOTH);
    config.client_auth_cert_resolver = Arc::new(Shows(Arc::new(CertifiedKey::new(vec![chain], key))));
    config
}

async fn figure(tollgate: &Tollgate, series: &str) -> f64 {
    let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{series}: {page}"))
}

async fn failed_handshakes(tollgate: &Tollgate) -> f64 {
    figure(tollgate, "tollgate_connections_not_http2_total{kind=\"handshake\"}").await
}

/// Connections are counted after their clients have seen their ends.
async fn until_counted(tollgate: &Tollgate, count: f64) {
    for _ in 0..100 {
        if failed_handshakes(tollgate).await >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(failed_handshakes(tollgate).await, count, "{}", tollgate.log_text());
}

/// The first message of a handshake, as it is sent.
fn client_hello(trusted: &Authority) -> Vec<u8> {
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let config = Arc::new(client(trusted, None, &BOTH));
    let mut hello = Vec::new();
    ClientConnection::new(config, name).expect("a client").write_tls(&mut hello).expect("a vector takes it");
    hello
}

#[tokio::test]
async fn each_certificate_of_a_client_that_does_not_hold_is_told_apart() {
    let (server, clients) = (Authority::new("hostile-server"), Authority::new("hostile-clients"));
    // An authority of the same name, as after it was made anew.
    let swapped = Authority::new("hostile-clients");
    let (certificate, key) = server.files("hostile");
    let ca = clients.file("hostile-ca").display().to_string();
    let tollgate = serve("hostile", &certificate, &key, &["--grpc-client-ca", &ca]).await;

    let (expired, expired_key) = clients.sign_expired("expired");
    let (held, _) = clients.sign("held");
    let (of_swapped, swapped_key) = swapped.sign("swapped");
    let (_, other_key) = clients.sign("other");
    let cases = [
        (expired, expired_key, "expired"),
        (of_swapped, swapped_key, "BadSignature"),
        (held, other_key, "BadSignature"),
    ];
    for (count, (chain, key, words)) in cases.into_iter().enumerate() {
        let config = showing(&server, chain, &key);
        // With TLS 1.3 a client hears of the refusal when it reads.
        if let Ok(mut stream) = connect(tollgate.grpc(), &config).await {
            assert!(stream.read_to_end(&mut Vec::new()).await.is_err(), "{words}");
        }
        until_told(&tollgate, words).await;
        until_counted(&tollgate, count as f64 + 1.0).await;
    }
    let config = client(&server, Some(&clients), &BOTH);
    assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok));
}

#[tokio::test]
async fn an_expired_certificate_of_its_own_and_a_key_for_another_one_are_told() {
    let authority = Authority::new("own-expired");
    let (certificate, key) = authority.expired_files("own-expired");
    let tollgate = serve("own-expired", &certificate, &key, &[]).await;
    until_told(&tollgate, "the certificate of the gRPC port has expired").await;
    let config = client(&authority, None, &BOTH);
    assert!(is_decided(tollgate.grpc(), &config).await.is_err());
    until_told(&tollgate, "received fatal alert").await;

    let (good, good_key) = authority.files("own-renewed");
    std::fs::copy(good_key, &key).expect("can be copied");
    until_told(&tollgate, "cannot be used together").await;
    assert_eq!(figure(&tollgate, "tollgate_tls_stale ").await, 1.0);
    std::fs::copy(good, &certificate).expect("can be copied");
    until_told(&tollgate, "changed TLS files are used").await;
    assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok));
    assert_eq!(figure(&tollgate, "tollgate_tls_stale ").await, 0.0);
}

#[tokio::test]
async fn a_handshake_that_is_cut_short_or_garbage_is_counted_while_others_are_served() {
    let authority = Authority::new("cut");
    let (certificate, key) = authority.files("cut");
    let tollgate = serve("cut", &certificate, &key, &["--runtimes", "1"]).await;
    let config = client(&authority, None, &BOTH);
    let hello = client_hello(&authority);
    let mut count = 0.0;
    for length in (1..hello.len()).step_by(7) {
        let mut stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
        stream.write_all(&hello[..length]).await.expect("written");
        stream.shutdown().await.expect("shut down");
        // An alert may come first.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        count += 1.0;
    }
    for position in (5..hello.len()).step_by(11) {
        let mut garbage = hello.clone();
        garbage[position..].fill(0xaa);
        let mut stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
        stream.write_all(&garbage).await.expect("written");
        stream.shutdown().await.expect("shut down");
        let _ = stream.read_to_end(&mut Vec::new()).await;
        count += 1.0;
    }
    assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok));
    until_counted(&tollgate, count).await;
    let lines = tollgate.log_text().matches(FAILED).count();
    assert!((2..=20).contains(&lines), "{lines}: {}", tollgate.log_text());

    // Slow, and no mistake.
    let stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let slow = TlsConnector::from(Arc::new(config)).connect(name, Drip(stream)).await;
    assert!(slow.is_ok(), "{slow:?}", slow = slow.map(drop));
    until_counted(&tollgate, count).await;
}

#[tokio::test]
async fn hellos_without_an_end_take_little_memory_and_stopped_ones_are_counted() {
    let authority = Authority::new("endless");
    let (certificate, key) = authority.files("endless");
    let tollgate = serve("endless", &certificate, &key, &["--runtimes", "1"]).await;
    let resident = || figure(&tollgate, "process_resident_memory_bytes ");
    let before = resident().await;
    // Records of 16 KiB, which say that they belong to a ClientHello of 16 MiB.
    let mut record = vec![0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    let mut stopped = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
        for _ in 0..64 {
            if stream.write_all(&record).await.is_err() {
                break;
            }
        }
        stopped.push(stream);
    }
    let config = client(&authority, None, &BOTH);
    assert_eq!(is_decided(tollgate.grpc(), &config).await, Ok(Code::Ok));
    until_counted(&tollgate, 200.0).await;
    let taken = resident().await - before;
    assert!(taken < f64::from(32 << 20), "{taken}");

    let mut stream = TcpStream::connect(tollgate.grpc()).await.expect("connects");
    stream.write_all(&client_hello(&authority)[..50]).await.expect("written");
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 64])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    until_counted(&tollgate, 201.0).await;
    until_told(&tollgate, "the client did not finish it in time").await;
}
