//! An authority that signs certificates for one test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The years of a certificate that holds, and of one that has expired.
const AGES: (i32, i32) = (1975, 4096);
const EXPIRED: (i32, i32) = (2019, 2020);

pub(crate) struct Authority {
    pem: String,
    issuer: Option<Issuer<'static, KeyPair>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Some(Issuer::new(params, key)) }
    }

    /// One that signs nothing, and is known by its certificate.
    pub(crate) fn trusting(file: &Path) -> Authority {
        Authority { pem: fs::read_to_string(file).expect("a certificate"), issuer: None }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")).expect("a root");
        roots
    }

    /// A certificate for 127.0.0.1, and its key as PEM.
    pub(crate) fn sign(&self, name: &str) -> (CertificateDer<'static>, String) {
        let (signed, key) = self.certify(name, AGES);
        (signed.der().clone(), key)
    }

    /// The same, but the certificate expired in 2020.
    pub(crate) fn sign_expired(&self, name: &str) -> (CertificateDer<'static>, String) {
        let (signed, key) = self.certify(name, EXPIRED);
        (signed.der().clone(), key)
    }

    /// The files of a certificate for 127.0.0.1 and its key.
    pub(crate) fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        self.write(name, AGES)
    }

    pub(crate) fn expired_files(&self, name: &str) -> (PathBuf, PathBuf) {
        self.write(name, EXPIRED)
    }

    /// A certificate for this host, and its key as PEM.
    pub(crate) fn sign_for(&self, name: &str, host: &str) -> (CertificateDer<'static>, String) {
        let (signed, key) = self.certify_for(name, host, AGES);
        (signed.der().clone(), key)
    }

    fn certify(&self, name: &str, years: (i32, i32)) -> (Certificate, String) {
        self.certify_for(name, "127.0.0.1", years)
    }

    fn certify_for(&self, name: &str, host: &str, (from, until): (i32, i32)) -> (Certificate, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, self.issuer.as_ref().expect("it signs")).expect("a certificate");
        (signed, key.serialize_pem())
    }

    fn write(&self, name: &str, years: (i32, i32)) -> (PathBuf, PathBuf) {
        let (signed, key) = self.certify(name, years);
        (write(&format!("{name}.pem"), &signed.pem()), write(&format!("{name}.key"), &key))
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        write(&format!("{name}.pem"), &self.pem)
    }
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
    fs::write(&path, text).expect("can be written");
    path
}
