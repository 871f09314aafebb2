//! The address of Redis and the login, read from a URL.
//!
//! Each part of a URL is either used, or it is an error that says what to write instead: a part that was ignored would
//! connect elsewhere than the author believes, or in plain text. No error repeats the URL, which may hold a password.

use std::{fmt, net::Ipv6Addr};

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    io::tcp::TcpSettings,
};
use thiserror::Error;

use super::password::{PasswordError, PasswordFile};

const DEFAULT_PORT: u16 = 6379;
/// Schemes that mean Redis over TCP, without TLS.
const SCHEMES: [&str; 2] = ["redis", "valkey"];
/// Schemes that other clients support and Tollgate does not yet.
const SCHEMES_NOT_YET: [&str; 14] = [
    "rediss",
    "valkeys",
    "unix",
    "redis+unix",
    "valkey+unix",
    "redis+socket",
    "redis-socket",
    "redis+sentinel",
    "redis-sentinel",
    "rediss+sentinel",
    "rediss-sentinel",
    "redis+cluster",
    "redis-cluster",
    "rediss+cluster",
];

/// An address and a login. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone)]
pub struct RedisTarget {
    info: ConnectionInfo,
    /// Used in place of a password in `info`.
    password_file: Option<PasswordFile>,
}

/// The text is not the address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It has no known scheme.
    #[error("a store is memory or redis://[user:password@]host[:port][/database]")]
    NoRedis,
    /// It has no scheme and is otherwise sound.
    #[error("did you mean {0}? A store is memory or redis://[user:password@]host[:port][/database]")]
    Meant(String),
    /// Its scheme is one that other clients support.
    #[error("TLS, unix sockets, Sentinel and Redis Cluster are not supported yet; use redis://")]
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
    #[error("`?{0}` would be ignored, and the connection would be plain text: TLS is not supported yet")]
    Tls(String),
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
    /// Reads `redis://[user:password@]host[:port][/database][?protocol=resp3]`. Fails on everything else.
    pub fn parse(text: &str) -> Result<RedisTarget, AddressError> {
        let rest = without_scheme(text)?;
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if behind.contains('@') {
            return Err(AddressError::RawPassword);
        }
        let (login, host) =
            authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let (host, port) = host_and_port(host)?;
        let settings = settings(behind)?;
        let settings = login.map_or(Ok(settings.clone()), |login| logged_in(settings, login))?;
        let info =
            ConnectionAddr::Tcp(host, port).into_connection_info().map_err(|_never| AddressError::Host)?;
        // The redis crate does not set it, and Nagle's algorithm would delay a call by 40 ms.
        let info =
            info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(RedisTarget { info, password_file: None })
    }

    /// Whether the URL contains a password.
    pub fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// Logs in with the password that this file holds at that time.
    #[must_use]
    pub fn password_in(self, file: PasswordFile) -> RedisTarget {
        RedisTarget { password_file: Some(file), ..self }
    }

    /// The address and login to use now. Fails if the password file cannot be read.
    pub(super) async fn login(&self) -> Result<ConnectionInfo, PasswordError> {
        let Some(file) = &self.password_file else { return Ok(self.info.clone()) };
        // Not on this thread: requests continue while a file system hangs.
        let password = file.read_aside().await?;
        let settings = self.info.redis_settings().clone().set_password(password);
        Ok(self.info.clone().set_redis_settings(settings))
    }
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) if host.contains(':') => write!(f, "redis://[{host}]:{port}"),
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}"),
            other => write!(f, "redis at {other}"),
        }
    }
}

// === parsing ===

fn without_scheme(text: &str) -> Result<&str, AddressError> {
    let is_any = |names: &[&str], scheme: &str| names.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    if is_any(&SCHEMES_NOT_YET, scheme) || text.starts_with('/') {
        return Err(AddressError::NotYet);
    }
    match rest.strip_prefix("//") {
        Some(rest) if is_any(&SCHEMES, scheme) => Ok(rest),
        _ => Err(without_any(text)),
    }
}

/// The error of a text without a scheme. If the rest is sound, it suggests the scheme.
fn without_any(text: &str) -> AddressError {
    // The text before an @ might be a password. In `redis:host`, redis is not a host unless a port follows.
    if text.contains("://") || text.contains('@') || !text.contains(':') {
        return AddressError::NoRedis;
    }
    let bare = text.strip_prefix("redis:").filter(|rest| number(rest).is_none()).unwrap_or(text);
    let url = format!("redis://{}", bare.trim_start_matches('/'));
    match RedisTarget::parse(&url) {
        Ok(_) => AddressError::Meant(url),
        Err(AddressError::Several) => AddressError::Several,
        Err(_) => AddressError::NoRedis,
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), AddressError> {
    if text.contains(',') {
        return Err(AddressError::Several);
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let address: Ipv6Addr = address.parse().map_err(|_no_address| AddressError::Host)?;
            (address.to_string(), port)
        }
        None if text.matches(':').count() > 1 => return Err(AddressError::NoBrackets),
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (name.to_owned(), port)
        }
    };
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if !host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._:".contains(letter)) {
        return Err(AddressError::Host);
    }
    if ["0.0.0.0", "::"].contains(&host.as_str()) {
        return Err(AddressError::Wildcard);
    }
    let port = match port {
        "" | ":" => DEFAULT_PORT,
        port => port
            .strip_prefix(':')
            .and_then(|digits| number(digits)?.parse().ok())
            .ok_or(AddressError::Port)?,
    };
    if port == 0 { Err(AddressError::Port) } else { Ok((host, port)) }
}

/// Reads the text after the host: the database and the protocol.
fn settings(behind: &str) -> Result<RedisConnectionInfo, AddressError> {
    if behind.contains('#') {
        return Err(AddressError::Fragment);
    }
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    let mut settings = RedisConnectionInfo::default();
    if !matches!(path, "" | "/") {
        let digits = path.strip_prefix('/').and_then(number);
        let database: Option<i32> = digits.and_then(|digits| digits.parse().ok());
        settings = settings.set_db(database.ok_or(AddressError::Database)?.into());
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        settings = match (name, value) {
            ("protocol", "2" | "resp2") => settings.set_protocol(ProtocolVersion::RESP2),
            ("protocol", "3" | "resp3") => settings.set_protocol(ProtocolVersion::RESP3),
            _ => return Err(parameter_error(name)),
        };
    }
    Ok(settings)
}

/// Names only parameters that are known not to be secrets.
fn parameter_error(name: &str) -> AddressError {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "tls" | "ssl" | "usessl" | "use_ssl" | "use_tls" | "sslmode" | "ssl_cert_reqs" | "ssl_ca_certs" => {
            AddressError::Tls(lower)
        }
        "db" | "database" | "dbnum" => AddressError::DatabaseInQuery(lower),
        "user" | "username" | "pass" | "password" | "auth" => AddressError::LoginInQuery(lower),
        _ => AddressError::Query,
    }
}

fn logged_in(settings: RedisConnectionInfo, login: &str) -> Result<RedisConnectionInfo, AddressError> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    let settings = if user.is_empty() { settings } else { settings.set_username(user) };
    Ok(if password.is_empty() { settings } else { settings.set_password(password) })
}

/// The percent-decoded text. A `%` that two digits do not follow means itself.
fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(16 * high + low).expect("two hexadecimal digits"));
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_no_text| AddressError::NoText)
}

/// The text, if it consists of digits only.
fn number(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

#[cfg(test)]
mod tests;
