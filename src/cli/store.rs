//! The flags that say where buckets are kept, which `serve` and `explain` share.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{StoreUrl, variables::Origins};
use crate::{
    certificates::{ClientTls, OwnFiles, Verify},
    store::{Backend, TargetError},
};

#[derive(Debug, Args)]
pub(super) struct StoreFlags {
    /// Where buckets are kept: memory, or redis://[user:password@]host[:port][/database] [default: memory]
    ///
    /// Buckets in memory are lost when the process ends, and each replica counts on its own. With rediss:// the
    /// connection uses TLS; unix:///path[?db=number] names a socket; redis+sentinel://host,host/MASTER[/database] asks
    /// Sentinels where the master is. Within the password of a URL, write @ / ? # as
    /// %40 %2F %3F %23.
    #[arg(long, env = "TOLLGATE_STORE", value_name = "STORE", hide_env_values = true)]
    pub(super) store: Option<StoreUrl>,

    /// File with the password of the store's user, instead of a password in the URL.
    ///
    /// It is read again for each connection, so a rotated password needs no restart. A newline at its end is ignored.
    #[arg(long, env = "TOLLGATE_STORE_PASSWORD_FILE", value_name = "FILE")]
    store_password_file: Option<PathBuf>,

    /// File with the password of the Sentinels, if they demand one.
    ///
    /// Their user is ?sentinel_user= in the URL. It is read again for each connection.
    #[arg(long, env = "TOLLGATE_STORE_SENTINEL_PASSWORD_FILE", value_name = "FILE")]
    store_sentinel_password_file: Option<PathBuf>,

    /// Number of Redis' replicas that must acknowledge a decision before it counts [default: 0].
    ///
    /// Then a failover forgets nothing that was admitted, and a master apart from its replicas admits nothing. A decision
    /// that they do not acknowledge within three quarters of the store deadline is a store failure.
    #[arg(
        long,
        env = "TOLLGATE_STORE_ACKS",
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    store_acks: u32,

    /// Certificates of those who sign the store's certificate, as PEM [default: those that the system trusts].
    ///
    /// The files of these flags are read again for each connection.
    #[arg(long, env = "TOLLGATE_STORE_CA", value_name = "FILE")]
    store_ca: Option<PathBuf>,

    /// Certificate to show to the store, and those that lead to its root, as PEM.
    #[arg(long, env = "TOLLGATE_STORE_CERT", value_name = "FILE", requires = "store_key")]
    store_cert: Option<PathBuf>,

    /// Private key of that certificate, as PEM: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, env = "TOLLGATE_STORE_KEY", value_name = "FILE", requires = "store_cert")]
    store_key: Option<PathBuf>,

    /// What is verified of the store's certificate: full, ca or nothing.
    ///
    /// ca leaves out the name. With nothing, anybody on the way can read the password and answer in the store's place.
    #[arg(long, env = "TOLLGATE_STORE_TLS_VERIFY", value_name = "WHAT", default_value = "full",
        hide_possible_values = true, ignore_case = true, value_parser = verify())]
    store_tls_verify: Verify,
}

/// A flag of these, or its variable, is wrong.
#[derive(Debug)]
pub(super) struct WrongStore {
    /// The flag or variable.
    pub(super) origin: String,
    pub(super) source: TargetError,
}

impl StoreFlags {
    /// The store, with at most this number of buckets if it is memory. Fails if a file cannot be used now.
    pub(super) fn backend(&self, memory_buckets: usize, origins: &Origins) -> Result<Backend, WrongStore> {
        let wrong = |flag| move |source| WrongStore { origin: origins.name(flag), source };
        let backend = match &self.store {
            None => Ok(Backend::memory(memory_buckets)),
            Some(url) => Backend::parse(url.secret()),
        };
        let backend = backend.map_err(wrong("store"))?;
        let backend = match &self.store_password_file {
            None => backend,
            Some(file) => backend.password_in(file).map_err(wrong("store-password-file"))?,
        };
        let backend = match &self.store_sentinel_password_file {
            None => backend,
            Some(file) => {
                backend.sentinel_password_in(file).map_err(wrong("store-sentinel-password-file"))?
            }
        };
        let backend = backend.acknowledged_by(self.store_acks).map_err(wrong("store-acks"))?;
        match self.first_of_tls() {
            Some(flag) => backend.with_tls(self.tls()).map_err(wrong(flag)),
            None => Ok(backend),
        }
    }

    /// Whether the store's certificate is not looked at.
    pub(super) fn trusts_anybody(&self) -> bool {
        self.store_tls_verify == Verify::Nothing
    }

    /// The first flag that says how TLS is used. Without any, `rediss://` verifies with the system's roots.
    fn first_of_tls(&self) -> Option<&'static str> {
        let given = [
            ("store-ca", self.store_ca.is_some()),
            ("store-cert", self.store_cert.is_some()),
            ("store-tls-verify", self.store_tls_verify != Verify::Full),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    fn tls(&self) -> ClientTls {
        let pair = self.store_cert.clone().zip(self.store_key.clone());
        let own = pair.map(|(certificate, key)| OwnFiles { certificate, key });
        ClientTls { ca: self.store_ca.clone(), own, verify: self.store_tls_verify }
    }
}

fn verify() -> impl TypedValueParser<Value = Verify> {
    PossibleValuesParser::new(["full", "ca", "nothing"]).map(|word| {
        match word.to_ascii_lowercase().as_str() {
            "nothing" => Verify::Nothing,
            "ca" => Verify::Ca,
            _ => Verify::Full,
        }
    })
}
