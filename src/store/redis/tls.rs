//! The TLS handshake with Redis, and what an operator can do if it fails.

use std::{error::Error, io, sync::Arc};

use redis::RedisError;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, AlertDescription, CertificateError as Wrong, ClientConfig, pki_types::ServerName},
};

use crate::{
    certificates::{CertificateError, ClientTls},
    error::SystemError,
    file::Aside,
};

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(
        "the certificate of Redis was issued by nobody whom this system, or the file of --store-ca, trusts"
    )]
    Issuer,
    #[error("the certificate of Redis is not for {0}: name Redis as its certificate does")]
    Name(String),
    #[error("the certificate of Redis has expired")]
    Expired,
    #[error("the certificate of Redis cannot be used")]
    Certificate(#[source] rustls::Error),
    #[error("Redis wants a certificate of its clients: give --store-cert and --store-key")]
    WantsCertificate,
    #[error("Redis refuses the certificate of --store-cert")]
    Refused(#[source] rustls::Error),
    #[error("the TLS handshake failed")]
    Other(#[source] SystemError),
}

/// How a target uses TLS. Its files are read for each connection.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: ClientTls,
    reading: Aside<Result<ClientConfig, CertificateError>>,
}

// === impl TlsFiles ===

impl TlsFiles {
    pub(super) fn new(tls: ClientTls) -> TlsFiles {
        TlsFiles(Arc::new(Inner { tls, reading: Aside::default() }))
    }

    /// Reads the files on a separate thread.
    pub(super) async fn config(&self) -> Result<ClientConfig, CertificateError> {
        let tls = self.0.tls.clone();
        let read = self.0.reading.read(move || tls.config()).await;
        read.unwrap_or_else(|ended| {
            Err(CertificateError::Setup(Box::new(rustls::Error::General(ended.to_string()))))
        })
    }
}

pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    name: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let shown = name.to_owned();
    let name = ServerName::try_from(shown.clone())
        .map_err(|error| HandshakeError::Other(io::Error::other(error).into()))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| HandshakeError::new(error, shown))
}

// === impl HandshakeError ===

impl HandshakeError {
    fn new(error: io::Error, name: String) -> HandshakeError {
        let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
            return HandshakeError::Other(error.into());
        };
        match cause {
            rustls::Error::InvalidCertificate(wrong) => match wrong {
                Wrong::UnknownIssuer => HandshakeError::Issuer,
                Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => HandshakeError::Name(name),
                Wrong::Expired | Wrong::ExpiredContext { .. } => HandshakeError::Expired,
                _ => HandshakeError::Certificate(cause.clone()),
            },
            rustls::Error::AlertReceived(alert) => HandshakeError::from_alert(*alert),
            _ => HandshakeError::Other(error.into()),
        }
    }

    /// With TLS 1.3, a server refuses a client's certificate only after the client's handshake has ended.
    pub(super) fn late(error: &RedisError) -> Option<HandshakeError> {
        // The crate keeps what it wraps in an `Arc`.
        let shared: &Arc<dyn Error + Send + Sync> = error.source()?.downcast_ref()?;
        match shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()? {
            rustls::Error::AlertReceived(alert) => Some(HandshakeError::from_alert(*alert)),
            _ => None,
        }
    }

    /// The meaning of an alert that Redis sends about Tollgate's own certificate.
    fn from_alert(alert: AlertDescription) -> HandshakeError {
        match alert {
            AlertDescription::CertificateRequired => HandshakeError::WantsCertificate,
            _ => HandshakeError::Refused(rustls::Error::AlertReceived(alert)),
        }
    }

    /// Whether it shows that the other side speaks TLS.
    pub(super) fn is_of_a_certificate(&self) -> bool {
        !matches!(self, HandshakeError::Other(_))
    }
}
