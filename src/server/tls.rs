//! TLS on the gRPC port: its files, and the handshake.
//!
//! The files are followed: the next handshake uses a renewed certificate. Files with a mistake are refused with a log
//! line, and the last good ones stay. There is one certificate for every name and address, so clients need not say
//! which name they want (SNI).

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};
use tracing::{error, info, warn};

use crate::{
    certificates::{self, CertificateError},
    clock,
    config::Look,
    error::chain,
    logging::hourly::Hourly,
    tasks::{self, Task},
};

/// The pause between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// HTTP/2, the only protocol of this port.
const ALPN: &[u8] = b"h2";

const EXPIRED: &str = "the certificate of the gRPC port has expired. A client that verifies it refuses it, and if that is an \
    Envoy, its requests may pass unlimited: put a new certificate into the file";

const UNFINISHED: &str = "the client did not finish it in time";

/// What operators choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead to its root, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The roots of clients' certificates. None: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// TLS as it is used for the next handshake, shared by all runtimes.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// When the certificate expires, in seconds since 1970.
    expires_s: AtomicI64,
    /// Whether the files were refused the last time.
    stale: AtomicI64,
    expired: Hourly,
}

/// What was made of the files.
struct Loaded {
    config: ServerConfig,
    expires_s: i64,
}

// === impl Tls ===

impl Tls {
    /// Fails if the files cannot be used.
    pub fn load(files: TlsFiles) -> Result<Tls, CertificateError> {
        let Loaded { config, expires_s } = files.load()?;
        let current = RwLock::new(Arc::new(config));
        let (expires_s, stale, expired) = (AtomicI64::new(expires_s), AtomicI64::new(0), Hourly::new());
        Ok(Tls { files, current, expires_s, stale, expired })
    }

    /// When the certificate expires, in seconds since 1970.
    pub fn expires_s(&self) -> i64 {
        self.expires_s.load(Ordering::Relaxed)
    }

    /// Whether changed files were refused, so that older ones are in use.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed) != 0
    }

    /// Follows the files for as long as the runtime lives that this is called in.
    pub(super) fn follow(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        tasks::keep(Task::Certificates, move || {
            let tls = Arc::clone(&tls);
            async move {
                let mut read = tls.files.look();
                let mut last = read.clone();
                loop {
                    time::sleep(LOOK_EVERY).await;
                    let now = tls.files.look();
                    // A certificate and its key are written one after the other, so both must have settled.
                    let has_settled = now == last;
                    last = now;
                    if has_settled && last != read {
                        read.clone_from(&last);
                        tls.reload();
                    }
                    tls.warn_if_expired(clock::unix_us());
                }
            }
        });
    }

    fn reload(&self) {
        match self.files.load() {
            Ok(Loaded { config, expires_s }) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                self.expires_s.store(expires_s, Ordering::Relaxed);
                self.stale.store(0, Ordering::Relaxed);
                info!(certificate = %self.files.certificate.display(), "changed TLS files are used from now on");
            }
            Err(refused) => {
                self.stale.store(1, Ordering::Relaxed);
                error!(
                    error = chain(&refused),
                    "changed TLS files are refused, and the last good ones stay in use"
                );
            }
        }
    }

    fn warn_if_expired(&self, now_us: u64) {
        let expired = u64::try_from(self.expires_s()).unwrap_or(0) <= now_us / 1_000_000;
        if expired && self.expired.occurs(now_us).is_some() {
            warn!(certificate = %self.files.certificate.display(), "{EXPIRED}");
        }
    }

    /// Makes the handshake. A client that has begun it and has not finished it until then has failed as well.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        until: time::Instant,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let accepted = time::timeout_at(until, TlsAcceptor::from(config).accept(stream)).await;
        accepted.unwrap_or_else(|_elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, UNFINISHED)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

// === impl TlsFiles ===

impl TlsFiles {
    fn look(&self) -> Vec<Look> {
        let all = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        all.into_iter().flatten().map(|path| Look::at(path)).collect()
    }

    fn load(&self) -> Result<Loaded, CertificateError> {
        let setup = |error| CertificateError::Setup(Box::new(error));
        let chain = certificates::chain(&self.certificate)?;
        let expires_s =
            chain.first().map_or(Ok(0), |first| certificates::expires_s(&self.certificate, first))?;
        let key = certificates::key(&self.key)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(setup)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refused = |source| CertificateError::Roots { path: Some(path.clone()), source };
                let roots = Arc::new(certificates::roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|source| CertificateError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source: Box::new(source),
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(setup)?;
        Ok(Loaded { config, expires_s })
    }
}
