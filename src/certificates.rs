//! Reads certificates and private keys from PEM files, for the ports of Tollgate and for its own connections.

mod client;

use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, RootCertStore,
    client::VerifierBuilderError,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use x509_cert::{Certificate, der::Decode as _};

use crate::file::{self, ReadError};
pub use client::{ClientTls, OwnFiles, Verify};

/// The most bytes of each file. A chain of certificates has some 10 kB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why a file cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are what the message shows")]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    Read { path: PathBuf, source: ReadError },
    /// The file has more bytes than any certificate needs.
    #[error("{}: more than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// The file holds no certificate.
    #[error("{}: no certificate in it; PEM is expected, beginning with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate { path: PathBuf },
    /// A certificate cannot be read.
    #[error("{}: not a valid certificate", path.display())]
    Invalid { path: PathBuf, source: x509_cert::der::Error },
    /// The file holds no private key.
    #[error(
        "{}: no private key in it; PEM is expected, such as -----BEGIN PRIVATE KEY-----, without a password",
        path.display()
    )]
    NoKey { path: PathBuf },
    /// A certificate and a key do not belong together, or are of a kind that is not known.
    #[error("{} and {} cannot be used together", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: Box<rustls::Error> },
    /// The roots cannot be used.
    #[error("{} cannot be used as the roots of certificates", path.as_deref().unwrap_or(Path::new("the system's certificates")).display())]
    Roots { path: Option<PathBuf>, source: VerifierBuilderError },
    /// This system has no list of roots.
    #[error(
        "this system has no certificates to trust; install ca-certificates, or name a file with the roots"
    )]
    NoSystemRoots,
    /// The library refuses its own settings.
    #[error("TLS cannot be set up")]
    Setup(#[source] Box<rustls::Error>),
}

/// All certificates of a file; at least one.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CertificateError::NoCertificate { path: path.to_owned() }),
    }
}

/// The private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_not_pem| CertificateError::NoKey { path: path.to_owned() })
}

/// The certificates of a file, as roots. Those that no certificate can be checked against are left out.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain(path)?);
    Ok(roots)
}

/// When a certificate of this file expires, in seconds since 1970.
pub(crate) fn expires_s(path: &Path, certificate: &CertificateDer<'_>) -> Result<i64, CertificateError> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|source| CertificateError::Invalid { path: path.to_owned(), source })?;
    let until = parsed.tbs_certificate.validity.not_after.to_unix_duration();
    Ok(i64::try_from(until.as_secs()).unwrap_or(i64::MAX))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let bytes = file::read(path, MAX_FILE_BYTES)
        .map_err(|source| CertificateError::Read { path: path.to_owned(), source })?;
    let is_too_large = bytes.len() as u64 > MAX_FILE_BYTES;
    if is_too_large { Err(CertificateError::TooLarge { path: path.to_owned() }) } else { Ok(bytes) }
}
