//! TLS as a client: whom to trust, what to show, and how much of a server's certificate is verified.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};

use super::{CertificateError, chain, key, roots};

/// How a connection of Tollgate's own uses TLS. The files are read for each connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// The roots of servers' certificates. None: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate and the key to show to servers that ask for one.
    pub own: Option<OwnFiles>,
    /// What has to be right about the server's certificate.
    pub verify: Verify,
}

/// A client certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// The certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What is verified of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Its issuer, its dates and its name.
    #[default]
    Full,
    /// Its issuer and its dates, for servers whose certificates name something else than the address.
    Ca,
    /// Nothing: anybody may answer in the server's place.
    Nothing,
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files. Fails if one cannot be used.
    pub fn config(&self) -> Result<ClientConfig, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| CertificateError::Setup(Box::new(error)))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let Some(OwnFiles { certificate, key: own_key }) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        builder.with_client_auth_cert(chain(certificate)?, key(own_key)?).map_err(|source| {
            CertificateError::Pair {
                certificate: certificate.clone(),
                key: own_key.clone(),
                source: Box::new(source),
            }
        })
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, CertificateError> {
        let roots = match (&self.ca, self.verify) {
            (_, Verify::Nothing) => None,
            (Some(ca), _) => Some(roots(ca)?),
            (None, _) => Some(system_roots()?),
        };
        let provider = Arc::clone(provider);
        match (roots, self.verify) {
            (Some(roots), Verify::Full) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                Ok(verifier.map_err(|source| CertificateError::Roots { path: self.ca.clone(), source })?)
            }
            (roots, _) => Ok(Arc::new(AnyName { roots, provider })),
        }
    }
}

fn system_roots() -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(CertificateError::NoSystemRoots) } else { Ok(roots) }
}

// === verifier ===

/// Accepts a certificate that one of these roots has issued, whatever name is in it. Without roots, accepts everything.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
