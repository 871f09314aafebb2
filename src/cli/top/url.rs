//! The address of an admin port.

use std::{fmt, str::FromStr};

use http::Uri;
use thiserror::Error;

/// Such as `http://10.0.0.7:8080`, with a path before that of the page if something rewrites it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminUrl {
    /// As in the `host` header.
    authority: String,
    /// To connect to: the port is 80 unless given.
    pub(super) host_and_port: String,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NotAnAdminUrl {
    #[error("not a URL: write http://HOST:PORT, such as http://127.0.0.1:8080")]
    Shape,
    #[error("{0}:// is not spoken by the admin port: write http://HOST:PORT")]
    Scheme(String),
    #[error("a password or user has no place here: write http://HOST:PORT")]
    User,
}

// === impl AdminUrl ===

impl AdminUrl {
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self, page: &str) -> String {
        format!("{}/{page}", self.path)
    }
}

impl FromStr for AdminUrl {
    type Err = NotAnAdminUrl;

    /// The scheme may be left out.
    fn from_str(text: &str) -> Result<AdminUrl, NotAnAdminUrl> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(NotAnAdminUrl::Scheme(scheme.chars().take(20).collect()));
        }
        let Ok(uri) = format!("http://{rest}").parse::<Uri>() else { return Err(NotAnAdminUrl::Shape) };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or(NotAnAdminUrl::Shape)?;
        if authority.as_str().contains('@') {
            return Err(NotAnAdminUrl::User);
        }
        let has_port = authority.as_str() != authority.host();
        if uri.query().is_some() || (has_port && authority.port_u16().is_none()) {
            return Err(NotAnAdminUrl::Shape);
        }
        Ok(AdminUrl {
            authority: authority.to_string(),
            host_and_port: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_can_only_be_one_thing() {
        for (text, connects, page, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", "/live", "http://127.0.0.1:8080"),
            (" http://tollgate:8080/ ", "tollgate:8080", "/live", "http://tollgate:8080"),
            ("HTTP://[::1]:9", "[::1]:9", "/live", "http://[::1]:9"),
            ("http://host/some/where/", "host:80", "/some/where/live", "http://host/some/where"),
        ] {
            let url: AdminUrl = text.parse().unwrap();
            assert_eq!((url.host_and_port.as_str(), url.path("live").as_str()), (connects, page), "{text}");
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for text in
            ["", "http://", ":8080", "a b", "http://h:99999", "https://h", "redis://h", "http://u:p@h", "h?x"]
        {
            let error = text.parse::<AdminUrl>().unwrap_err().to_string();
            assert!(error.contains("write http://HOST:PORT"), "{text}: {error}");
        }
    }
}
