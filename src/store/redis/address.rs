//! The address of Redis and the login, read from a URL.
//!
//! Each part of a URL is either used, or it is an error that says what to write instead: a part that was ignored would
//! connect elsewhere than the author believes, or in plain text. No error repeats the URL, which may hold a password.

mod parse;

use std::{fmt, path::PathBuf};

use redis::{ProtocolVersion, RedisConnectionInfo};
use thiserror::Error;

use super::{
    password::{PasswordError, PasswordFile},
    tls::TlsFiles,
};
use crate::certificates::ClientTls;

/// A Redis, the Sentinels that know where it is, or a Redis Cluster. Neither `Debug` nor `Display` shows a password.
#[derive(Debug, Clone)]
pub struct RedisTarget {
    topology: Topology,
    access: Access,
}

/// How the Redis to use is found.
#[derive(Debug, Clone)]
pub(super) enum Topology {
    One(Place),
    Sentinels(Sentinels),
    /// Some nodes of a Redis Cluster, which know the others.
    Cluster(Vec<Place>),
}

/// Sentinels, all of which know the same master.
#[derive(Debug, Clone)]
pub(super) struct Sentinels {
    pub(super) places: Vec<Place>,
    /// The name of the master.
    pub(super) master: String,
    login: RedisConnectionInfo,
    password_file: Option<PasswordFile>,
}

/// How to connect, whatever the place.
#[derive(Debug, Clone)]
struct Access {
    /// None: plain text.
    tls: Option<TlsFiles>,
    login: RedisConnectionInfo,
    /// Used in place of a password in `login`.
    password_file: Option<PasswordFile>,
}

/// A server to connect to.
#[derive(Debug, Clone)]
pub(super) struct Server {
    place: Place,
    access: Access,
}

/// Where a Redis listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Host { name: String, port: u16 },
    Socket(PathBuf),
}

const FORMS: &str = "memory, redis://[user:password@]host[:port][/database], redis+sentinel://host,host/MASTER, \
                     redis+cluster://host,host, the same with rediss for TLS, or unix:///path[?db=number]";

/// The text is not the address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It has no known scheme.
    #[error("a store is {FORMS}")]
    NoRedis,
    /// It has no scheme and is otherwise sound.
    #[error("did you mean {0}? A store is {FORMS}")]
    Meant(String),
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
    #[error(
        "name one Redis; a list of Sentinels is redis+sentinel://host,host/MASTER, and the nodes of a Redis Cluster are \
         redis+cluster://host,host"
    )]
    Several,
    /// Sentinels without the name of a master.
    #[error("the name of the master is missing: redis+sentinel://host:26379,host:26379/MASTER[/database]")]
    NoMaster,
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
    /// A Redis Cluster has no databases.
    #[error(
        "a Redis Cluster has no databases; leave out what follows the hosts: redis+cluster://host:6379,host:6379"
    )]
    ClusterDatabase,
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
    #[error(
        "after `?`, only protocol=resp2 and protocol=resp3 are known, for Sentinels also sentinel_user and \
         sentinel_password; leave out everything else"
    )]
    Query,
    /// There is a fragment.
    #[error("`#` and everything after it would be ignored: leave it out, or write %23 within a password")]
    Fragment,
}

// === impl RedisTarget ===

impl RedisTarget {
    /// Reads `redis://[user:password@]host[:port][/database][?protocol=resp3]`, the same with `rediss://` for TLS,
    /// `unix://[user:password@]/path[?db=number]`, `redis+sentinel://[user:password@]host[:port],…/master[/database]`, or
    /// `redis+cluster://[user:password@]host[:port],…`.
    /// `valkey` may stand for `redis`. Fails on everything else.
    pub fn parse(text: &str) -> Result<RedisTarget, AddressError> {
        parse::target(text)
    }

    /// Whether the URL contains a password for Redis.
    pub fn has_password(&self) -> bool {
        self.access.login.password().is_some()
    }

    /// Whether the URL contains a password for the Sentinels; none if it names no Sentinels.
    pub(super) fn has_sentinel_password(&self) -> Option<bool> {
        match &self.topology {
            Topology::One(_) | Topology::Cluster(_) => None,
            Topology::Sentinels(sentinels) => Some(sentinels.login.password().is_some()),
        }
    }

    /// Logs in with the password that this file holds at that time.
    #[must_use]
    pub fn password_in(self, file: PasswordFile) -> RedisTarget {
        RedisTarget { access: Access { password_file: Some(file), ..self.access }, ..self }
    }

    /// Logs in to the Sentinels, if there are any, with the password that this file holds at that time.
    #[must_use]
    pub(super) fn sentinel_password_in(mut self, file: PasswordFile) -> RedisTarget {
        if let Topology::Sentinels(sentinels) = &mut self.topology {
            sentinels.password_file = Some(file);
        }
        self
    }

    /// Whether TLS is used.
    pub(super) fn uses_tls(&self) -> bool {
        self.access.tls.is_some()
    }

    /// Uses TLS like this, if the address asks for TLS.
    #[must_use]
    pub fn with_tls(self, tls: ClientTls) -> RedisTarget {
        let tls = self.access.tls.map(|_default| TlsFiles::new(tls));
        RedisTarget { access: Access { tls, ..self.access }, ..self }
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The Redis at this place.
    pub(super) fn server(&self, place: Place) -> Server {
        Server { place, access: self.access.clone() }
    }

    /// The Sentinel at this place. Sentinels have a login of their own, and no databases.
    pub(super) fn sentinel(&self, sentinels: &Sentinels, place: Place) -> Server {
        let (login, password_file) = (sentinels.login.clone(), sentinels.password_file.clone());
        // So that it can tell about a new master over the connection that is used for asking.
        let login = login.set_protocol(ProtocolVersion::RESP3);
        Server { place, access: Access { tls: self.access.tls.clone(), login, password_file } }
    }
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.uses_tls() { "rediss" } else { "redis" };
        match &self.topology {
            Topology::One(Place::Socket(path)) => write!(f, "unix://{}", path.display()),
            Topology::One(place) => write!(f, "{scheme}://{place}"),
            Topology::Sentinels(sentinels) => {
                write!(f, "{scheme}+sentinel://{}/{}", list(&sentinels.places), sentinels.master)
            }
            Topology::Cluster(places) => write!(f, "{scheme}+cluster://{}", list(places)),
        }
    }
}

// === impl Server ===

impl Server {
    /// How TLS is used; none if the connection is plain text.
    pub(super) fn tls(&self) -> Option<&TlsFiles> {
        self.access.tls.as_ref()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The login to use now. Fails if the password file cannot be read.
    pub(super) async fn login(&self) -> Result<RedisConnectionInfo, PasswordError> {
        let Access { login, password_file, .. } = &self.access;
        let Some(file) = password_file else { return Ok(login.clone()) };
        // Not on this thread: requests continue while a file system hangs.
        let password = file.read_aside().await?;
        Ok(login.clone().set_password(password))
    }
}

fn list(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Host { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Place::Host { name, port } => write!(f, "{name}:{port}"),
            Place::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
