//! The flags for TLS on the gRPC port.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use crate::{
    certificates::CertificateError,
    cli::values,
    metrics::Metrics,
    server::{Tls, TlsFiles},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS on the gRPC port")]
pub(super) struct TlsFlags {
    /// Certificate of the gRPC port, and those that lead to its root, as PEM [default: plain text].
    ///
    /// The files of these flags are followed: a renewed certificate is used for the next connection.
    #[arg(long, env = "TOLLGATE_GRPC_TLS_CERT", value_name = "FILE", requires = "grpc_tls_key")]
    grpc_tls_cert: Option<PathBuf>,

    /// Private key of that certificate, as PEM: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, env = "TOLLGATE_GRPC_TLS_KEY", value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_tls_key: Option<PathBuf>,

    /// Certificates of those who sign clients' certificates. Clients without one that they signed are refused.
    #[arg(long, env = "TOLLGATE_GRPC_CLIENT_CA", value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_client_ca: Option<PathBuf>,

    /// Whether --grpc-client-ca is applied: on or off.
    #[arg(long, env = "TOLLGATE_GRPC_CLIENT_VERIFY", value_name = "SWITCH", default_value = "on",
        action = clap::ArgAction::Set, value_parser = values::switch)]
    grpc_client_verify: bool,
}

impl TlsFlags {
    /// None without a certificate. Fails if the files cannot be used.
    pub(super) fn load(&self) -> Result<Option<Arc<Tls>>, CertificateError> {
        let (Some(certificate), Some(key)) = (&self.grpc_tls_cert, &self.grpc_tls_key) else {
            return Ok(None);
        };
        let client_ca = self.grpc_client_ca.clone().filter(|_| self.grpc_client_verify);
        let files = TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca };
        Tls::load(files).map(|tls| Some(Arc::new(tls)))
    }
}

/// Shows when the certificate expires, and whether a later one was refused.
pub(super) fn show(metrics: &Metrics, tls: &Arc<Tls>) {
    let (expiry, stale) = (Arc::clone(tls), Arc::clone(tls));
    metrics.show(
        "tollgate_tls_certificate_expiry_seconds",
        "When the certificate of the gRPC port expires, in seconds since 1970.",
        move || expiry.expires_s(),
    );
    metrics.show(
        "tollgate_tls_stale",
        "1 while changed TLS files are refused, and older ones are in use. The log says why.",
        move || i64::from(stale.is_stale()),
    );
}
