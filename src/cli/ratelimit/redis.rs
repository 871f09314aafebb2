//! The address of Redis, and what Tollgate cannot do with Redis.

use std::fmt::Write as _;

use super::reader::Reader;

/// Variables that are not read if `--store` is set otherwise.
const OF_STORE: &[&str] = &[
    "BACKEND_TYPE",
    "REDIS_URL",
    "REDIS_AUTH",
    "REDIS_SOCKET_TYPE",
    "REDIS_TYPE",
    "REDIS_SENTINEL_AUTH",
    "REDIS_TLS",
    "REDIS_TLS_CACERT",
    "REDIS_TLS_CLIENT_CERT",
    "REDIS_TLS_CLIENT_KEY",
    "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION",
];

const NO_URL: &str = "write the address of Redis, as host:port or redis://host:port/database; or set TOLLGATE_STORE, where \
    memory keeps buckets in this process";
const NO_PATH: &str = "write the path of the socket, which begins with /; or set REDIS_SOCKET_TYPE to tcp";
const NO_HOST: &str = "it is a path, and REDIS_SOCKET_TYPE is tcp: write host:port, or set that to unix";
const NETWORK: &str = "set it to tcp or to unix";
const LIST: &str = "name one Redis, as host:port; for Sentinels, set REDIS_TYPE to SENTINEL, and for the nodes of a Redis Cluster \
    to CLUSTER";
const SENTINELS: &str = "write the name of the master and then its Sentinels, as mymaster,host:port,host2:port, because REDIS_TYPE \
    is SENTINEL";
const NODES: &str =
    "write some nodes of the Redis Cluster, as host:port,host2:port, because REDIS_TYPE is CLUSTER";
const UNKNOWN_TYPE: &str = "set it to SINGLE, SENTINEL or CLUSTER";
const TLS_ON_SOCKET: &str = "a unix socket has no TLS: set it to false, or REDIS_URL to host:port";
const NO_KEY: &str = "name a file, because REDIS_TLS_CLIENT_CERT is set";
const NO_CERTIFICATE: &str = "name a file, because REDIS_TLS_CLIENT_KEY is set";
const TWO_LOGINS: &str = "REDIS_URL has a login, too: leave out one of them";
const PREFIX: &str = "Tollgate's keys begin with tg: and nothing else. Leave it empty, and give each deployment on this Redis a \
    database of its own, such as REDIS_URL=redis://host:6379/1";
const MEMCACHE: &str = "Tollgate keeps buckets in Redis: set it to redis, and give REDIS_URL";

/// The way to Redis, as the variables say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    Socket,
}

/// Sets the flags of the store.
pub(super) fn translate(reader: &mut Reader<'_>) {
    if let Some(variable) = reader.tollgate("store") {
        reader.leave_to(&variable, OF_STORE);
    } else if reader.text("BACKEND_TYPE").is_some_and(|kind| kind != "redis") {
        reader.refuse("BACKEND_TYPE", MEMCACHE);
    } else {
        match reader.text("REDIS_TYPE").map(str::to_ascii_lowercase).as_deref() {
            None | Some("single") => store(reader),
            Some("sentinel") => sentinels(reader),
            Some("cluster") => cluster(reader),
            Some(_) => reader.refuse("REDIS_TYPE", UNKNOWN_TYPE),
        }
    }
    if reader.text("CACHE_KEY_PREFIX").is_some() {
        reader.refuse("CACHE_KEY_PREFIX", PREFIX);
    }
}

fn store(reader: &mut Reader<'_>) {
    let Some(text) = reader.text("REDIS_URL") else {
        reader.refuse("REDIS_URL", NO_URL);
        return;
    };
    if text.contains(',') {
        reader.refuse("REDIS_URL", LIST);
        return;
    }
    let Some(way) = way(text, reader) else { return };
    let file = reader.tollgate("store-password-file");
    let auth = reader.text("REDIS_AUTH").filter(|_| file.is_none());
    if let Some(variable) = file {
        reader.leave_to(&variable, &["REDIS_AUTH"]);
    }
    match url(text, way, auth) {
        Some(url) => reader.put(
            "store",
            url,
            &["REDIS_URL", "REDIS_AUTH", "REDIS_SOCKET_TYPE", "REDIS_TYPE", "REDIS_TLS"],
        ),
        None => reader.refuse("REDIS_AUTH", TWO_LOGINS),
    }
    if way == Way::Tls {
        tls(reader);
    }
}

/// `REDIS_URL` is the name of the master, and then the addresses of its Sentinels.
fn sentinels(reader: &mut Reader<'_>) {
    let parts = reader.text("REDIS_URL").and_then(|text| text.split_once(','));
    let Some((master, hosts)) = parts.filter(|(master, hosts)| !master.contains(':') && !hosts.is_empty())
    else {
        reader.refuse("REDIS_URL", SENTINELS);
        return;
    };
    let is_tls = reader.is_on("REDIS_TLS");
    let scheme = if is_tls { "rediss+sentinel" } else { "redis+sentinel" };
    let login = reader.text("REDIS_AUTH").map(|auth| format!("{}@", login(auth))).unwrap_or_default();
    let mut url = format!("{scheme}://{login}{hosts}/{}", encoded(master));
    if let Some(auth) = reader.text("REDIS_SENTINEL_AUTH") {
        let (user, password) = auth.split_once(':').unwrap_or(("", auth));
        let user = if user.is_empty() { String::new() } else { format!("sentinel_user={}&", encoded(user)) };
        // A String takes everything.
        let _ = write!(url, "?{user}sentinel_password={}", encoded(password));
    }
    reader.put("store", url, &["REDIS_URL", "REDIS_AUTH", "REDIS_SENTINEL_AUTH", "REDIS_TYPE", "REDIS_TLS"]);
    if is_tls {
        tls(reader);
    }
}

/// `REDIS_URL` is the addresses of some nodes.
fn cluster(reader: &mut Reader<'_>) {
    let Some(text) = reader.text("REDIS_URL").filter(|text| !text.contains('/') || text.contains("://"))
    else {
        reader.refuse("REDIS_URL", NODES);
        return;
    };
    let (scheme, nodes) = text.split_once("://").unwrap_or(("redis", text));
    let is_tls = reader.is_on("REDIS_TLS") || matches!(scheme, "rediss" | "valkeys");
    let auth = reader.text("REDIS_AUTH");
    if auth.is_some() && nodes.contains('@') {
        reader.refuse("REDIS_AUTH", TWO_LOGINS);
        return;
    }
    let login = auth.map(|auth| format!("{}@", login(auth))).unwrap_or_default();
    let scheme = if is_tls { "rediss+cluster" } else { "redis+cluster" };
    let url = format!("{scheme}://{login}{nodes}");
    reader.put("store", url, &["REDIS_URL", "REDIS_AUTH", "REDIS_TYPE", "REDIS_TLS"]);
    if is_tls {
        tls(reader);
    }
}

/// None if the variables contradict each other, which is noted.
fn way(text: &str, reader: &mut Reader<'_>) -> Option<Way> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_path = text.starts_with('/') || scheme.as_deref().is_some_and(|scheme| scheme.contains("unix"));
    match reader.text("REDIS_SOCKET_TYPE") {
        Some("unix") if !is_path => reader.refuse("REDIS_URL", NO_PATH),
        Some("tcp" | "tcp4" | "tcp6") if is_path => reader.refuse("REDIS_URL", NO_HOST),
        None | Some("unix" | "tcp" | "tcp4" | "tcp6") => {
            let is_on = reader.is_on("REDIS_TLS");
            let is_tls = is_on || matches!(scheme.as_deref(), Some("rediss" | "valkeys"));
            match (is_path, is_tls) {
                (true, true) => reader.refuse("REDIS_TLS", TLS_ON_SOCKET),
                (true, false) => return Some(Way::Socket),
                (false, true) => return Some(Way::Tls),
                (false, false) => return Some(Way::Plain),
            }
        }
        Some(_) => reader.refuse("REDIS_SOCKET_TYPE", NETWORK),
    }
    None
}

fn tls(reader: &mut Reader<'_>) {
    let (certificate, key) = ("REDIS_TLS_CLIENT_CERT", "REDIS_TLS_CLIENT_KEY");
    match (reader.text(certificate), reader.text(key)) {
        (Some(_), None) => reader.refuse(key, NO_KEY),
        (None, Some(_)) => reader.refuse(certificate, NO_CERTIFICATE),
        (None, None) | (Some(_), Some(_)) => {}
    }
    reader.put_text("store-ca", &["REDIS_TLS_CACERT"]);
    reader.put_text("store-cert", &["REDIS_TLS_CLIENT_CERT"]);
    reader.put_text("store-key", &["REDIS_TLS_CLIENT_KEY"]);
    let skip: &[&str] = &["REDIS_TLS_SKIP_HOSTNAME_VERIFICATION"];
    if reader.is_on(skip[0]) {
        reader.put("store-tls-verify", "ca", skip);
    } else {
        reader.honour(skip);
    }
}

/// As `--store` takes it. None if there are two logins.
fn url(text: &str, way: Way, auth: Option<&str>) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("redis", text));
    let scheme = match way {
        // A scheme that Tollgate does not know is left as it is, and refused with words.
        Way::Tls if matches!(scheme, "redis" | "valkey") => "rediss",
        Way::Socket if text.starts_with('/') => "unix",
        _ => scheme,
    };
    // In Go, no host means this one.
    let host = if rest.starts_with(':') && !rest.contains('@') { "127.0.0.1" } else { "" };
    let Some(auth) = auth else { return Some(format!("{scheme}://{host}{rest}")) };
    if rest.contains('@') {
        return None;
    }
    Some(format!("{scheme}://{}@{host}{rest}", login(auth)))
}

/// `user:password` or `password`, for a URL.
fn login(auth: &str) -> String {
    let (user, password) = auth.split_once(':').unwrap_or(("", auth));
    format!("{}:{}", encoded(user), encoded(password))
}

/// Percent-encodes everything that might end a part of a URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            // A String takes everything.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
