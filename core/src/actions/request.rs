//! An HTTP request as each door hands it over.

use std::{fmt::Debug, net::IpAddr};

use super::{Value, value::Writer};

/// One request, borrowed from the message that brought it. An empty field means that the value is not known.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    pub method: &'a [u8],
    /// `:authority`, or `host` of HTTP/1, as the client sent it.
    pub host: &'a [u8],
    /// The path with the query.
    pub path: &'a [u8],
    pub scheme: &'a [u8],
    /// Such as `HTTP/1.1`.
    pub protocol: &'a [u8],
    /// The lines in the order of their arrival. Pseudo-headers among them are ignored.
    pub headers: &'a [Header<'a>],
    /// The trusted address of the client.
    pub remote_address: Option<IpAddr>,
    /// The client's identity from its verified certificate.
    pub principal: &'a [u8],
    /// The operator's settings of the virtual host and the route, in any order, each key once.
    pub context_extensions: &'a [Header<'a>],
    pub metadata: &'a dyn Metadata,
}

/// One line of a header.
///
/// In `headers` of a CheckRequest, unlike in `header_map`, Envoy has joined the lines of each name with commas. The
/// joined text counts as one line and is never split, since any of its commas may be the client's. Some headers are
/// joined everywhere, also for Envoy's own ratelimit filter, because Envoy joins them as it reads a request:
/// `authorization`, `user-agent`, `accept`, `content-type`, `origin`, `referer`, `via` and a few more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Must be in lower case.
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The metadata of a request, which Envoy's filters and routes write.
pub trait Metadata: Debug + Sync {
    /// The value in that namespace under that path of keys. None if a key is missing, if a value on the way is not a
    /// structure, or if the value is null.
    fn find(&self, source: MetadataSource, namespace: &str, path: &[String]) -> Option<MetadataValue<'_>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataSource {
    /// Written by the filters before.
    #[default]
    Dynamic,
    /// Written by the operator at the route.
    Route,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue<'m> {
    Text(&'m str),
    Number(f64),
    Bool(bool),
    /// A structure or list, as JSON without blanks, with numbers as by [`write_number`](super::write_number).
    Json(String),
}

/// No metadata at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetadata;

/// The name of a header or pseudo-header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderName {
    Method,
    /// In Envoy `host` is another name for it.
    Authority,
    Path,
    Scheme,
    Other(Box<str>),
}

// === impl HttpRequest ===

impl Default for HttpRequest<'_> {
    fn default() -> Self {
        HttpRequest {
            method: b"",
            host: b"",
            path: b"",
            scheme: b"",
            protocol: b"",
            headers: &[],
            remote_address: None,
            principal: b"",
            context_extensions: &[],
            metadata: &NoMetadata,
        }
    }
}

impl<'a> HttpRequest<'a> {
    /// The lines of that header. A pseudo-header has one line, its field.
    pub(super) fn lines<'s>(&'s self, name: &'s HeaderName) -> impl Iterator<Item = &'a [u8]> + 's {
        let (field, headers, name) = match name {
            HeaderName::Method => (self.method, &[][..], ""),
            HeaderName::Authority => (self.host, &[][..], ""),
            HeaderName::Path => (self.path, &[][..], ""),
            HeaderName::Scheme => (self.scheme, &[][..], ""),
            HeaderName::Other(name) => (&b""[..], self.headers, &**name),
        };
        let lines = headers.iter().filter(move |header| header.name == name.as_bytes());
        (!field.is_empty()).then_some(field).into_iter().chain(lines.map(|header| header.value))
    }

    /// The first line of that header.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        self.lines(name).next()
    }

    /// The path without the query.
    pub fn path_without_query(&self) -> &'a [u8] {
        without_query(self.path)
    }

    pub(super) fn context_extension(&self, key: &str) -> Option<&'a [u8]> {
        let found = self.context_extensions.iter().find(|extension| extension.name == key.as_bytes());
        found.map(|extension| extension.value)
    }

    /// The host in lower case, without its port and a trailing dot, so that a client cannot pick a bucket by its
    /// spelling.
    pub(crate) fn host_name(&self) -> Option<Value<'a>> {
        let name = without_port(self.host);
        let name = name.strip_suffix(b".").unwrap_or(name);
        if !name.iter().any(u8::is_ascii_uppercase) {
            return (!name.is_empty()).then_some(Value::Borrowed(name));
        }
        let mut text = Writer::default();
        name.iter().for_each(|byte| text.put_byte(byte.to_ascii_lowercase()));
        Some(text.finish())
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    let Some(colon) = host.iter().rposition(|&byte| byte == b':') else { return host };
    let (name, port) = (&host[..colon], &host[colon + 1..]);
    let is_port = port.iter().all(u8::is_ascii_digit);
    // The colons of an IPv6 address are not followed by a port, unless the address is in brackets.
    if is_port && (name.ends_with(b"]") || !name.contains(&b':')) { name } else { host }
}

pub(super) fn without_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|&byte| byte == b'?');
    &path[..end.unwrap_or(path.len())]
}

impl Metadata for NoMetadata {
    fn find(&self, _: MetadataSource, _: &str, _: &[String]) -> Option<MetadataValue<'_>> {
        None
    }
}

// === impl HeaderName ===

impl HeaderName {
    /// None if no header can have that name.
    pub(super) fn new(name: &str) -> Option<HeaderName> {
        let name = name.to_ascii_lowercase();
        match &*name {
            ":method" => Some(HeaderName::Method),
            ":authority" | "host" => Some(HeaderName::Authority),
            ":path" => Some(HeaderName::Path),
            ":scheme" => Some(HeaderName::Scheme),
            _ if !name.is_empty() && name.bytes().all(is_token) => Some(HeaderName::Other(name.into())),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            HeaderName::Method => ":method",
            HeaderName::Authority => ":authority",
            HeaderName::Path => ":path",
            HeaderName::Scheme => ":scheme",
            HeaderName::Other(name) => name,
        }
    }
}

/// Whether RFC 9110 allows this byte in a name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
