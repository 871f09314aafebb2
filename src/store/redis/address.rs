//! The address of Redis and the login, read from a URL.
//!
//! Each part of a URL is either used, or it is an error that says what to write instead: a part that was ignored would
//! connect elsewhere than the author believes, or in plain text. No error repeats the URL, which may hold a password.

mod parse;

use std::{fmt, path::PathBuf};

use redis::RedisConnectionInfo;
use thiserror::Error;

use super::{
    password::{PasswordError, PasswordFile},
    tls::TlsFiles,
};
use crate::certificates::ClientTls;

/// An address and a login. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone)]
pub struct RedisTarget {
    place: Place,
    /// None: plain text.
    tls: Option<TlsFiles>,
    login: RedisConnectionInfo,
    /// Used in place of a password in `login`.
    password_file: Option<PasswordFile>,
}

/// Where a Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Host { name: String, port: u16 },
    Socket(PathBuf),
}

const FORMS: &str = "memory, redis://[user:password@]host[:port][/database], the same with rediss:// for TLS, or \
                     unix:///path[?db=number]";

/// The text is not the address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It has no known scheme.
    #[error("a store is {FORMS}")]
    NoRedis,
    /// It has no scheme and is otherwise sound.
    #[error("did you mean {0}? A store is {FORMS}")]
    Meant(String),
    /// Its scheme is one that other clients support.
    #[error("Sentinel and Redis Cluster are not supported yet; name one Redis by redis:// or rediss://")]
    NotYet,
    /// The user or the password contains a character that ends them.
    #[error(
        "a user or a password with @ / ? or # in it must be percent-encoded: %40 for @, %2F for /, %3F for ?, \
         %23 for #; or put the password into a file and name it by --store-password-file"
    )]
    RawPassword,
    /// The user or the password is not UTF-8.
    #[error("the percent-decoded user or password is not UTF-8; check its percent-encoding")]
    NoText,
    /// It names no host.
    #[error("it names no host: redis://[user:password@]host[:port][/database]")]
    NoHost,
    /// It names several hosts.
    #[error("name one Redis; a list of addresses, for Sentinel or Redis Cluster, is not supported yet")]
    Several,
    /// An IPv6 address has no brackets.
    #[error("write an IPv6 address in brackets: redis://[::1]:6379")]
    NoBrackets,
    /// The host contains other characters than names and addresses do.
    #[error("the host is neither a name nor an IP address")]
    Host,
    /// The address is one that servers listen on.
    #[error("0.0.0.0 and :: are addresses to listen on; name the host that Redis runs on, such as 127.0.0.1")]
    Wildcard,
    /// The port is not a number that a server can have.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The path is not a number.
    #[error("only the number of a database may follow the host: redis://host:6379/0")]
    Database,
    /// The query asks for TLS.
    #[error("`?{0}` would be ignored, and the connection would be plain text: write rediss:// for TLS")]
    Tls(String),
    /// A host stands before the path of a unix socket.
    #[error("a unix socket has no host; write three slashes: unix:///run/redis.sock")]
    SocketWithHost,
    /// A unix socket has no path.
    #[error("it names no file: unix:///run/redis.sock[?db=2]")]
    NoSocket,
    /// The query names a database.
    #[error("write the database after the host: redis://host:6379/2, not `?{0}=2`")]
    DatabaseInQuery(String),
    /// The query names a user or a password.
    #[error("write user and password before the host: redis://user:password@host:6379, not as `?{0}=`")]
    LoginInQuery(String),
    /// The query is unknown.
    #[error("after `?`, only protocol=resp2 and protocol=resp3 are known; leave out everything else")]
    Query,
    /// There is a fragment.
    #[error("`#` and everything after it would be ignored: leave it out, or write %23 within a password")]
    Fragment,
}

// === impl RedisTarget ===

impl RedisTarget {
    /// Reads `redis://[user:password@]host[:port][/database][?protocol=resp3]`, the same with `rediss://` for TLS, or
    /// `unix://[user:password@]/path[?db=number]`. `valkey` may stand for `redis`. Fails on everything else.
    pub fn parse(text: &str) -> Result<RedisTarget, AddressError> {
        parse::target(text)
    }

    /// Whether the URL contains a password.
    pub fn has_password(&self) -> bool {
        self.login.password().is_some()
    }

    /// Logs in with the password that this file holds at that time.
    #[must_use]
    pub fn password_in(self, file: PasswordFile) -> RedisTarget {
        RedisTarget { password_file: Some(file), ..self }
    }

    /// How TLS is used; none if the connection is plain text.
    pub(super) fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// Uses TLS like this, if the address asks for TLS.
    #[must_use]
    pub fn with_tls(self, tls: ClientTls) -> RedisTarget {
        RedisTarget { tls: self.tls.map(|_default| TlsFiles::new(tls)), ..self }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The login to use now. Fails if the password file cannot be read.
    pub(super) async fn login(&self) -> Result<RedisConnectionInfo, PasswordError> {
        let Some(file) = &self.password_file else { return Ok(self.login.clone()) };
        // Not on this thread: requests continue while a file system hangs.
        let password = file.read_aside().await?;
        Ok(self.login.clone().set_password(password))
    }
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.place {
            Place::Host { name, port } if name.contains(':') => write!(f, "{scheme}://[{name}]:{port}"),
            Place::Host { name, port } => write!(f, "{scheme}://{name}:{port}"),
            Place::Socket(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
