//! Takes the text of an address apart.

use std::{net::Ipv6Addr, path::PathBuf};

use redis::{ProtocolVersion, RedisConnectionInfo};

use super::{Access, AddressError, Place, RedisTarget, Sentinels, Topology};
use crate::{certificates::ClientTls, store::redis::tls::TlsFiles};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;
/// What a scheme says about the way to Redis.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Tls,
    Socket,
    Sentinels,
    SentinelsByTls,
    Cluster,
    ClusterByTls,
}

const SCHEMES: [(&str, Way); 22] = [
    ("redis", Way::Plain),
    ("valkey", Way::Plain),
    ("rediss", Way::Tls),
    ("valkeys", Way::Tls),
    ("unix", Way::Socket),
    ("redis+unix", Way::Socket),
    ("valkey+unix", Way::Socket),
    ("redis+socket", Way::Socket),
    ("redis-socket", Way::Socket),
    ("valkey+socket", Way::Socket),
    ("redis+sentinel", Way::Sentinels),
    ("redis-sentinel", Way::Sentinels),
    ("valkey+sentinel", Way::Sentinels),
    ("rediss+sentinel", Way::SentinelsByTls),
    ("rediss-sentinel", Way::SentinelsByTls),
    ("valkeys+sentinel", Way::SentinelsByTls),
    ("redis+cluster", Way::Cluster),
    ("redis-cluster", Way::Cluster),
    ("valkey+cluster", Way::Cluster),
    ("rediss+cluster", Way::ClusterByTls),
    ("rediss-cluster", Way::ClusterByTls),
    ("valkeys+cluster", Way::ClusterByTls),
];

pub(super) fn target(text: &str) -> Result<RedisTarget, AddressError> {
    let (way, rest) = way(text)?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if behind.contains('@') {
        return Err(AddressError::RawPassword);
    }
    let (login, host) =
        authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let (topology, settings) = match way {
        Way::Socket => socket(host, behind)?,
        Way::Plain | Way::Tls => {
            let (name, port) = host_and_port(host, DEFAULT_PORT)?;
            (Topology::One(Place::Host { name, port }), settings(behind)?)
        }
        Way::Sentinels | Way::SentinelsByTls => sentinels(host, behind)?,
        Way::Cluster | Way::ClusterByTls => cluster(host, behind)?,
    };
    let login = login.map_or(Ok(settings.clone()), |login| logged_in(settings, login))?;
    let tls = matches!(way, Way::Tls | Way::SentinelsByTls | Way::ClusterByTls);
    let tls = tls.then(|| TlsFiles::new(ClientTls::default()));
    Ok(RedisTarget { topology, access: Access { tls, login, password_file: None } })
}

/// The Sentinels and the name of the master, and the settings for Redis.
fn sentinels(hosts: &str, behind: &str) -> Result<(Topology, RedisConnectionInfo), AddressError> {
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    if behind.contains('#') {
        return Err(AddressError::Fragment);
    }
    let places = places(hosts, DEFAULT_SENTINEL_PORT)?;
    let (master, number) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let master = decoded(master)?;
    if master.is_empty() {
        return Err(AddressError::NoMaster);
    }
    let (mut redis, mut login) = (RedisConnectionInfo::default(), RedisConnectionInfo::default());
    if !number.is_empty() {
        redis = redis.set_db(database(number).ok_or(AddressError::Database)?.into());
    }
    for (name, value) in parameters(query) {
        match name {
            "sentinel_user" => login = login.set_username(decoded(value)?),
            "sentinel_password" => login = login.set_password(decoded(value)?),
            _ => redis = setting(redis, name, value)?,
        }
    }
    Ok((Topology::Sentinels(Sentinels { places, master, login, password_file: None }), redis))
}

/// Some nodes of a Redis Cluster, and the settings for all of them.
fn cluster(hosts: &str, behind: &str) -> Result<(Topology, RedisConnectionInfo), AddressError> {
    let places = places(hosts, DEFAULT_PORT)?;
    let settings = settings(behind).map_err(|error| match error {
        AddressError::Database => AddressError::ClusterDatabase,
        other => other,
    })?;
    if settings.db() != 0 {
        return Err(AddressError::ClusterDatabase);
    }
    Ok((Topology::Cluster(places), settings))
}

/// At least one place, of those that commas separate.
fn places(hosts: &str, default_port: u16) -> Result<Vec<Place>, AddressError> {
    let mut places = Vec::new();
    for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        let (name, port) = host_and_port(host, default_port)?;
        places.push(Place::Host { name, port });
    }
    if places.is_empty() { Err(AddressError::NoHost) } else { Ok(places) }
}

/// The scheme, and the text after `://`.
fn way(text: &str) -> Result<(Way, &str), AddressError> {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    if text.starts_with('/') && text.len() > 1 && !text.starts_with("//") {
        return Err(AddressError::Meant(format!("unix://{text}")));
    }
    let known = SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme));
    match (rest.strip_prefix("//"), known) {
        (Some(rest), Some((_, way))) => Ok((*way, rest)),
        _ => Err(without_any(text)),
    }
}

/// The path of a socket, and its settings.
fn socket(host: &str, behind: &str) -> Result<(Topology, RedisConnectionInfo), AddressError> {
    if !host.is_empty() {
        return Err(AddressError::SocketWithHost);
    }
    if behind.contains('#') {
        return Err(AddressError::Fragment);
    }
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    let path = decoded(path)?;
    if path.trim_matches('/').is_empty() {
        return Err(AddressError::NoSocket);
    }
    let mut settings = RedisConnectionInfo::default();
    for (name, value) in parameters(query) {
        settings = match name {
            "db" => settings.set_db(database(value).ok_or(AddressError::Database)?.into()),
            _ => setting(settings, name, value)?,
        };
    }
    Ok((Topology::One(Place::Socket(PathBuf::from(path))), settings))
}

/// The error of a text without a scheme. If the rest is sound, it suggests the scheme.
fn without_any(text: &str) -> AddressError {
    // The text before an @ might be a password. In `redis:host`, redis is not a host unless a port follows.
    if text.contains("://") || text.contains('@') || !text.contains(':') {
        return AddressError::NoRedis;
    }
    let bare = text.strip_prefix("redis:").filter(|rest| number(rest).is_none()).unwrap_or(text);
    let url = format!("redis://{}", bare.trim_start_matches('/'));
    match target(&url) {
        Ok(_) => AddressError::Meant(url),
        Err(AddressError::Several) => AddressError::Several,
        Err(_) => AddressError::NoRedis,
    }
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), AddressError> {
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
        "" | ":" => default,
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
        let database = path.strip_prefix('/').and_then(database);
        settings = settings.set_db(database.ok_or(AddressError::Database)?.into());
    }
    for (name, value) in parameters(query) {
        settings = setting(settings, name, value)?;
    }
    Ok(settings)
}

fn database(digits: &str) -> Option<i32> {
    number(digits)?.parse().ok()
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let all = query.split('&').filter(|parameter| !parameter.is_empty());
    all.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

fn setting(
    settings: RedisConnectionInfo,
    name: &str,
    value: &str,
) -> Result<RedisConnectionInfo, AddressError> {
    match (name, value) {
        ("protocol", "2" | "resp2") => Ok(settings.set_protocol(ProtocolVersion::RESP2)),
        ("protocol", "3" | "resp3") => Ok(settings.set_protocol(ProtocolVersion::RESP3)),
        _ => Err(parameter_error(name)),
    }
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
