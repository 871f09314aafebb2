//! Why an act was not done, and the exit status for it.

use thiserror::Error;

use super::{super::explain::NotAsked, remote::RemoteError};
use crate::{
    admin::TokenError,
    config::ConfigErrors,
    error::SystemError,
    hands::HandsError,
    store::{TargetError, redis::look::LookError},
};

/// Why it was not done.
#[derive(Debug, Error)]
pub enum ActError {
    /// A limits file has errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The flags name no request.
    #[error(transparent)]
    Asked(#[from] NotAsked),
    /// There is no place where the buckets could be.
    #[error(
        "say where the buckets are: --store redis://HOST:6379, or --admin http://HOST:8080 for those of a running \
         Tollgate, which alone knows the buckets of its memory"
    )]
    Nowhere,
    /// Without limits there are no buckets.
    #[error("with --store, --config must name the limits files of tollgate serve")]
    NoConfig,
    /// The admin port wants a token.
    #[error("with --admin, --admin-token-file must name the file with the token of that Tollgate")]
    NoToken,
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The values go to the admin port as JSON.
    #[error("a value that the request has is not UTF-8, and cannot be sent to the admin port; use --store")]
    NotText,
    /// The address of the store, or a file for it, is wrong.
    #[error("{origin}")]
    Store {
        /// The flag.
        origin: String,
        /// What is wrong.
        source: TargetError,
    },
    /// Nobody can be asked whether to do it.
    #[error("reset asks before it fills buckets, and stdin is no terminal; write --yes")]
    NobodyToAsk,
    /// Whoever was asked said no.
    #[error("nothing was changed")]
    Declined,
    /// Redis did not do it, or there is nothing to do.
    #[error("{store}")]
    Redis {
        /// Its address, without a password.
        store: String,
        /// What went wrong.
        source: HandsError<LookError>,
    },
    /// The running Tollgate did not do it.
    #[error("{admin}")]
    Admin {
        /// Its address.
        admin: String,
        /// What went wrong.
        source: RemoteError,
    },
    /// No runtime could be started.
    #[error("cannot start")]
    Runtime(#[source] SystemError),
    /// The result could not be printed.
    #[error("cannot write to stdout")]
    Stdout(#[source] SystemError),
}

// === impl ActError ===

impl ActError {
    /// The exit status: 3 if no limit applies, 1 if somebody said no, or else 2.
    pub(in crate::cli) fn exit_status(&self) -> u8 {
        match self {
            ActError::Redis { source: HandsError::NoLimit(_), .. } => 3,
            ActError::Admin { source, .. } if source.is_no_limit() => 3,
            ActError::Declined => 1,
            _ => 2,
        }
    }
}
