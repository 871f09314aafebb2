//! TLS to the server, as Envoy Gateway has it: both sides have certificates of one authority, and names match nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::{
    Replica,
    support::{
        ads::{Ads, once_a_day},
        authority::Authority,
    },
};

/// A server with this certificate. It asks clients for one of the same authority.
fn server(authority: &Authority, (certificate, key): (CertificateDer<'static>, String)) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("known versions").with_client_cert_verifier(clients.build().expect("roots"));
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let mut config = builder.with_single_cert(vec![certificate], key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn serve(authority: &Authority) -> Ads {
    let named = authority.sign_for("xds-server", "envoy-gateway");
    Ads::start_at(([127, 0, 0, 1], 0).into(), Some(server(authority, named))).await
}

/// The files of a client.
struct Files {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(authority: &Authority, name: &str) -> Files {
        let (certificate, key) = authority.files(&format!("{name}-client"));
        Files { ca: authority.file(&format!("{name}-ca")), certificate, key }
    }

    fn args(&self) -> [String; 6] {
        let text = |path: &Path| path.display().to_string();
        ["--xds-ca", &text(&self.ca), "--xds-cert", &text(&self.certificate), "--xds-key", &text(&self.key)]
            .map(str::to_owned)
    }
}

async fn start(ads: &Ads, files: &Files, more: &[&str]) -> Replica {
    let args = files.args();
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Replica::start(ads, &args).await
}

async fn rules_come(ads: &mut Ads, replica: &mut Replica, domain: &str) {
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good("1", &[once_a_day(domain)]).await;
    assert!(replica.limits(domain, "a").await);
}

#[tokio::test]
async fn a_ca_alone_is_enough_whatever_the_name_and_a_name_is_verified_where_one_is_given() {
    let authority = Authority::new("one");
    let files = Files::of(&authority, "xds-names");
    for more in [&[][..], &["--xds-server-name", "envoy-gateway"]] {
        let mut ads = serve(&authority).await;
        let mut replica = start(&ads, &files, more).await;
        rules_come(&mut ads, &mut replica, "edge").await;
    }
    let mut ads = serve(&authority).await;
    let replica = start(&ads, &files, &["--xds-server-name", "somebody-else"]).await;
    replica.until_told("the TLS handshake failed: invalid peer certificate").await;
    ads.no_stream_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn renewed_certificates_of_another_authority_are_used_for_the_next_connection() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (files, renewed) = (Files::of(&old, "xds-rotated"), Files::of(&new, "xds-renewed"));
    let mut ads = serve(&old).await;
    let mut replica = start(&ads, &files, &[]).await;
    rules_come(&mut ads, &mut replica, "edge").await;

    let addr = ads.addr();
    drop(ads);
    let named = new.sign_for("xds-server", "envoy-gateway");
    let mut ads = Ads::start_at(addr, Some(server(&new, named))).await;
    replica.until_told("invalid peer certificate: UnknownIssuer").await;
    assert!(replica.limits("edge", "b").await, "the last rules stay");
    for (from, to) in
        [(&renewed.ca, &files.ca), (&renewed.certificate, &files.certificate), (&renewed.key, &files.key)]
    {
        fs::copy(from, to).expect("copied");
    }
    rules_come(&mut ads, &mut replica, "other").await;
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_said_in_words() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    let good = Files::of(&authority, "xds-words");

    // The server's has expired.
    let expired = Ads::start_at(
        ([127, 0, 0, 1], 0).into(),
        Some(server(&authority, authority.sign_expired("xds-expired-server"))),
    );
    let replica = start(&expired.await, &good, &[]).await;
    replica.until_told("invalid peer certificate: certificate expired").await;

    // The client's own is of another authority, and a server tells so only after the handshake.
    let (certificate, key) = other.files("xds-words-other");
    let foreign = Files { ca: authority.file("xds-words-ca2"), certificate, key };
    let ads = serve(&authority).await;
    let replica = start(&ads, &foreign, &[]).await;
    replica.until_told("received fatal alert").await;

    // Its key belongs to another certificate, and a file is not there.
    let (_, key) = authority.files("xds-words-second");
    let swapped = Files { ca: authority.file("xds-words-ca3"), certificate: good.certificate.clone(), key };
    let replica = start(&ads, &swapped, &[]).await;
    replica.until_told("cannot be used together").await;
    let absent = Files { ca: PathBuf::from("/nowhere/ca.crt"), ..swapped };
    let replica = start(&ads, &absent, &[]).await;
    replica.until_told("/nowhere/ca.crt").await;

    // Plain text against TLS.
    let replica = Replica::start(&ads, &[]).await;
    replica.until_told("if the server expects TLS, set --xds-tls on").await;
}
