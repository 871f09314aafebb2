//! Asks the admin port of a running Tollgate, by plain HTTP.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    str::FromStr,
    time::Duration,
};

use thiserror::Error;

use crate::{
    error::SystemError,
    hands::{
        Report,
        json::{self, NoReport},
    },
};

/// For connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than a report of the most buckets that a request can have.
const MOST_BYTES: u64 = 1 << 20;
const DEFAULT_PORT: u16 = 8080;
/// The status for a key that no limit applies to.
const NO_LIMIT: u16 = 422;

/// The address of an admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminUrl {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

/// The text is no address of an admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum NotAnAdminUrl {
    #[error(
        "the admin port speaks plain HTTP: write http://HOST:8080, and reach it by a tunnel if the way is not safe"
    )]
    Tls,
    #[error("write http://HOST:PORT, such as http://127.0.0.1:8080, without a path")]
    Other,
}

/// Why a running Tollgate did not act.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// Nothing listens there.
    #[error("cannot connect")]
    Connect(#[source] SystemError),
    /// The connection broke, or nothing arrived in time. It may have acted.
    #[error("no answer; it is not known whether it acted, which tollgate peek shows")]
    NoAnswer(#[source] SystemError),
    /// It refuses, and says why.
    #[error("{status}: {why}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The first line of its answer.
        why: String,
    },
    /// It is something else.
    #[error("this is no admin port of Tollgate")]
    NotHttp,
    /// It acted, and its report cannot be read.
    #[error(transparent)]
    Report(#[from] NoReport),
}

// === impl AdminUrl ===

impl FromStr for AdminUrl {
    type Err = NotAnAdminUrl;

    fn from_str(text: &str) -> Result<AdminUrl, NotAnAdminUrl> {
        let text = text.trim();
        let authority = match text.split_once("://") {
            Some(("http", authority)) => authority.strip_suffix('/').unwrap_or(authority),
            Some(("https", _)) => return Err(NotAnAdminUrl::Tls),
            Some(_) => return Err(NotAnAdminUrl::Other),
            None => text,
        };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(NotAnAdminUrl::Other)?)),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || ".-_:%".contains(letter);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(NotAnAdminUrl::Other);
        }
        let port =
            port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_wrong| NotAnAdminUrl::Other))?;
        Ok(AdminUrl { host: host.to_owned(), port })
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdminUrl { host, port } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}")
        } else {
            write!(f, "http://{host}:{port}")
        }
    }
}

// === post ===

/// Asks for the act of this name, with an order as its body.
pub(super) fn post(url: &AdminUrl, token: &str, act: &str, order: &str) -> Result<Report, RemoteError> {
    let connection = connected(url).map_err(|error| RemoteError::Connect(error.into()))?;
    // An answer to HTTP/1.0 is never chunked.
    let head = format!(
        "POST /buckets/{act} HTTP/1.0\r\nhost: {}:{}\r\nauthorization: Bearer {token}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n",
        url.host,
        url.port,
        order.len()
    );
    let answer =
        exchange(connection, &(head + order)).map_err(|error| RemoteError::NoAnswer(error.into()))?;
    let (status, body) = taken_apart(&answer).ok_or(RemoteError::NotHttp)?;
    if status != 200 {
        let why = String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_owned();
        return Err(RemoteError::Refused { status, why });
    }
    Ok(json::read(body)?)
}

/// The first of the host's addresses that accepts a connection.
fn connected(url: &AdminUrl) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut connection: TcpStream, request: &str) -> io::Result<Vec<u8>> {
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(MOST_BYTES).read_to_end(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// The status and the body.
fn taken_apart(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

impl RemoteError {
    /// Whether no limit applies to the key.
    pub(super) fn is_no_limit(&self) -> bool {
        matches!(self, RemoteError::Refused { status: NO_LIMIT, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_may_leave_out_what_has_a_default() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://tollgate/", "http://tollgate:8080"),
            ("127.0.0.1:7", "http://127.0.0.1:7"),
            (" http://[::1]:7\n", "http://[::1]:7"),
            ("[::1]", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<AdminUrl>().unwrap().to_string(), shown, "{text}");
        }
        assert_eq!("https://tollgate:8080".parse::<AdminUrl>(), Err(NotAnAdminUrl::Tls));
        for text in
            ["", "http://", "ftp://h", "http://h/metrics", "http://u:p@h:1", "h:port", "h:70000", "[::1]7"]
        {
            assert_eq!(text.parse::<AdminUrl>(), Err(NotAnAdminUrl::Other), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_answer_is_not_taken_for_one() {
        assert_eq!(
            taken_apart(b"HTTP/1.0 404 Not Found\r\na: b\r\n\r\nno\r\n\r\n"),
            Some((404, &b"no\r\n\r\n"[..]))
        );
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"-ERR\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 \xff\r\n\r\n",
        ] {
            assert_eq!(taken_apart(answer), None);
        }
    }
}
