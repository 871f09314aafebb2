//! An HTTP request, as typed, in place of descriptors.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;
use thiserror::Error;

use tollgate_core::actions::{Header, HttpRequest};

/// The names of all flags below.
pub(super) const FLAGS: [&str; 7] =
    ["request", "envoy", "route", "header", "address", "principal", "context_extension"];

#[derive(Debug, Args)]
#[command(next_help_heading = "A request in place of descriptors")]
pub(super) struct RequestFlags {
    /// Method and path, such as 'POST /login?x=1', or with the host: 'POST http://api.example.com/login'.
    ///
    /// Its descriptors are made by `authz` of the limits files, or by the rate_limits of the file in --envoy.
    #[arg(long, value_name = "REQUEST", value_parser = RequestLine::read)]
    pub(super) request: Option<RequestLine>,

    /// Make the descriptors by the rate_limits of this Envoy configuration, in YAML [default: by `authz`].
    ///
    /// The listener is the first that has the rate-limit filter; its virtual host and route are chosen as Envoy does.
    #[arg(long, value_name = "FILE", requires = "request")]
    pub(super) envoy: Option<PathBuf>,

    /// Take the route of this name in the Envoy configuration, whatever its match says.
    #[arg(long, value_name = "NAME", requires = "envoy")]
    pub(super) route: Option<String>,

    /// Header of the request, such as 'x-api-key: abc'; may be repeated.
    #[arg(long, value_name = "HEADER", requires = "request", value_parser = header)]
    header: Vec<(String, String)>,

    /// Address of the client.
    #[arg(long, value_name = "IP", requires = "request")]
    address: Option<IpAddr>,

    /// Identity of the client from its verified certificate.
    #[arg(long, value_name = "TEXT", requires = "request")]
    principal: Option<String>,

    /// Envoy's context_extensions of the route; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", requires = "request", value_parser = pair)]
    context_extension: Vec<(String, String)>,
}

/// `METHOD PATH` or `METHOD SCHEME://HOST/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestLine {
    method: String,
    scheme: String,
    host: String,
    path: String,
}

/// A text that is not what its flag needs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NotARequest {
    #[error("write the method and the path, such as 'GET /search?q=1'")]
    Line,
    #[error("write the name, a colon and the value, such as 'x-api-key: abc'")]
    Header,
    #[error("write KEY=VALUE")]
    Pair,
}

// === impl RequestLine ===

impl RequestLine {
    fn read(text: &str) -> Result<RequestLine, NotARequest> {
        let (method, target) = text.trim().split_once(' ').ok_or(NotARequest::Line)?;
        let (method, target) = (method.to_owned(), target.trim_start());
        let (scheme, host, path) = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (scheme, &rest[..end], &rest[end..])
            }
            _ => ("", "", target),
        };
        let is_method = method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let slash = if path.starts_with('/') || path.starts_with('*') { "" } else { "/" };
        if method.is_empty() || !is_method || path.contains(' ') || (host.is_empty() && !slash.is_empty()) {
            return Err(NotARequest::Line);
        }
        let path = format!("{slash}{path}");
        Ok(RequestLine { method, scheme: scheme.to_owned(), host: host.to_owned(), path })
    }
}

fn header(text: &str) -> Result<(String, String), NotARequest> {
    // A pseudo-header begins with a colon.
    let from = usize::from(text.starts_with(':'));
    let colon = text[from..].find(':').ok_or(NotARequest::Header)? + from;
    let (name, value) = (text[..colon].trim(), text[colon + 1..].trim());
    if name.is_empty() || name.contains(' ') {
        return Err(NotARequest::Header);
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn pair(text: &str) -> Result<(String, String), NotARequest> {
    let (key, value) = text.split_once('=').ok_or(NotARequest::Pair)?;
    Ok((key.to_owned(), value.to_owned()))
}

// === impl RequestFlags ===

impl RequestFlags {
    /// Calls `with` with the request, if one was typed.
    pub(super) fn read<T>(&self, with: impl FnOnce(&HttpRequest<'_>) -> T) -> Option<T> {
        let line = self.request.as_ref()?;
        let is_host = |name: &str| name == "host" || name == ":authority";
        let typed_host = self.header.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.as_str());
        let headers = self.header.iter().filter(|(name, _)| !is_host(name));
        let headers: Vec<Header<'_>> = headers.map(as_header).collect();
        let context_extensions: Vec<Header<'_>> = self.context_extension.iter().map(as_header).collect();
        Some(with(&HttpRequest {
            method: line.method.as_bytes(),
            host: typed_host.unwrap_or(&line.host).as_bytes(),
            path: line.path.as_bytes(),
            scheme: line.scheme.as_bytes(),
            headers: &headers,
            remote_address: self.address,
            principal: self.principal.as_deref().unwrap_or_default().as_bytes(),
            context_extensions: &context_extensions,
            ..HttpRequest::default()
        }))
    }
}

fn as_header((name, value): &(String, String)) -> Header<'_> {
    Header { name: name.as_bytes(), value: value.as_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_has_a_method_and_a_path_and_may_have_a_host() {
        let read = |text| {
            let RequestLine { method, scheme, host, path } = RequestLine::read(text).unwrap();
            [method, scheme, host, path]
        };
        assert_eq!(read("POST /login?x=1"), ["POST", "", "", "/login?x=1"]);
        assert_eq!(read("GET http://a.example:80/b"), ["GET", "http", "a.example:80", "/b"]);
        assert_eq!(read("GET https://a.example?q=http://b"), ["GET", "https", "a.example", "/?q=http://b"]);
        assert_eq!(read("GET /b?to=http://c/"), ["GET", "", "", "/b?to=http://c/"]);
        assert_eq!(read("OPTIONS *"), ["OPTIONS", "", "", "*"]);
        for text in ["", "/login", "POST", "POST login", "PO:ST /", "GET /a b"] {
            assert_eq!(RequestLine::read(text), Err(NotARequest::Line), "{text:?}");
        }
    }

    #[test]
    fn a_header_is_split_at_its_first_colon_and_its_name_is_lower_case() {
        let read = |text| header(text).map(|(name, value)| format!("{name}|{value}"));
        assert_eq!(read("X-Api-Key: a:b "), Ok("x-api-key|a:b".to_owned()));
        assert_eq!(read(":authority: a"), Ok(":authority|a".to_owned()));
        assert_eq!(read("x-empty:"), Ok("x-empty|".to_owned()));
        for text in ["", "x", ":x", ": x", "a b: c"] {
            assert_eq!(read(text), Err(NotARequest::Header), "{text:?}");
        }
    }
}
