//! The certificates of Envoy Gateway: first those that its own `certgen` makes, then others of a second authority.
//!
//! Every party trusts both authorities from the start, as is usual while certificates move from one to the other.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tollgate::certificates::{ClientTls, OwnFiles, Verify};

use crate::{base64, folders};

/// The file of the Secret with Envoy's certificate, among the resources.
pub(crate) const SECRET: &str = "secret.yaml";
/// The folder of a party under `certs/`, and the names in its certificate.
const PARTIES: [(&str, &str, &[&str]); 3] = [
    (
        "envoy-gateway",
        "envoy-gateway",
        &["envoy-gateway", "envoy-gateway.envoy-gateway-system", "envoy-gateway.envoy-gateway-system.svc"],
    ),
    ("envoy", "*", &["*.envoy-gateway-system"]),
    ("envoy-rate-limit", "*", &["*.envoy-gateway-system"]),
];

pub(crate) struct Certificates {
    /// Signs what comes after the rotation.
    second: Issuer<'static, KeyPair>,
}

// === impl Certificates ===

impl Certificates {
    /// Makes them for Envoy Gateway and its Envoys in its own folder, and for the rate-limit service in `/certs`.
    pub(crate) fn make(gateway: &Path) -> Certificates {
        let mut certgen = Command::new(gateway);
        certgen.args(["certgen", "--local", "--config-home", folders::CONFIG]);
        let made = certgen.output().expect("certgen runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "the second authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        for (party, ..) in PARTIES {
            let file = folder(party).join("ca.crt");
            let both = format!("{}{pem}", read(&file));
            write(&file, &both);
        }
        let certificates = Certificates { second: Issuer::new(params, key) };
        certificates.hand_out();
        certificates
    }

    /// Replaces the certificate and key of each party; the authorities stay.
    pub(crate) fn rotate(&self) {
        for (party, name, names) in PARTIES {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names).expect("names");
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().expect("a key");
            let signed = params.signed_by(&key, &self.second).expect("a certificate");
            write(&folder(party).join("tls.key"), &key.serialize_pem());
            write(&folder(party).join("tls.crt"), &signed.pem());
        }
        self.hand_out();
    }

    /// The service finds its files where its Deployment mounts them, and Envoy gets its certificate from a Secret.
    fn hand_out(&self) {
        for file in ["tls.key", "tls.crt", "ca.crt"] {
            write(&Path::new("/certs").join(file), &read(&folder("envoy-rate-limit").join(file)));
        }
        let data = |file: &str| base64::encode(read(&folder("envoy").join(file)).as_bytes());
        let (key, certificate, authority) = (data("tls.key"), data("tls.crt"), data("ca.crt"));
        let secret = format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: envoy, namespace: envoy-gateway-system}}
type: kubernetes.io/tls
data:
  tls.key: {key}
  tls.crt: {certificate}
  ca.crt: {authority}
"
        );
        write(&Path::new(folders::RESOURCES).join(SECRET), &secret);
    }
}

/// The certificate that the rate-limit service shows now.
pub(crate) async fn served_certificate() -> Vec<u8> {
    let own = |file| folder("envoy").join(file);
    let own = OwnFiles { certificate: own("tls.crt"), key: own("tls.key") };
    let config = ClientTls { own: Some(own), verify: Verify::Nothing, ..ClientTls::default() }.config();
    let connector = TlsConnector::from(Arc::new(config.expect("the files can be used")));
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
    let stream = TcpStream::connect(addr).await.expect("it listens");
    let stream = connector.connect(ServerName::from(addr.ip()), stream).await.expect("a handshake");
    let shown = stream.get_ref().1.peer_certificates().expect("a server shows one");
    shown[0].to_vec()
}

fn folder(party: &str) -> PathBuf {
    Path::new(folders::CONFIG).join("certs").join(party)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Renamed into place, because readers look at any time.
pub(crate) fn write(file: &Path, text: &str) {
    let name = file.file_name().expect("a file").to_string_lossy();
    let unfinished = file.with_file_name(format!(".{name}"));
    fs::write(&unfinished, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    fs::rename(&unfinished, file).expect("renamed");
}
