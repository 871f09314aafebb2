//! What operators choose for ext_authz.

use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use tracing::warn;

use crate::logging::subjects::{Due, Warnings};
use tollgate_core::actions::Header;

/// What operators choose for ext_authz.
#[derive(Debug, Clone)]
pub struct AuthzSettings {
    /// The header that has the client's address, in lower case. None: the TCP peer of Envoy is the client.
    pub address_header: Option<String>,
    /// The header that names the domain, in lower case; for the HTTP form.
    pub domain_header: Option<String>,
    /// Where the HTTP form finds what the client asked for.
    pub request_from: RequestFrom,
    /// The status of a denial in the HTTP form.
    pub denied_status: StatusCode,
}

/// Where the HTTP form finds what the client asked for. Never in both: where one is right, a client can choose the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestFrom {
    /// In the request line and `host`, as Envoy sends it.
    #[default]
    RequestLine,
    /// In `x-forwarded-method`, `x-forwarded-host` and `x-forwarded-uri`, as Traefik sends it, and nginx if it is told to.
    XForwarded,
}

impl Default for AuthzSettings {
    fn default() -> AuthzSettings {
        AuthzSettings {
            address_header: None,
            domain_header: None,
            request_from: RequestFrom::default(),
            denied_status: StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl RequestFrom {
    /// Both, the default first.
    pub const ALL: [RequestFrom; 2] = [RequestFrom::RequestLine, RequestFrom::XForwarded];

    /// Its name as a value of the flag.
    pub const fn name(self) -> &'static str {
        match self {
            RequestFrom::RequestLine => "request-line",
            RequestFrom::XForwarded => "x-forwarded",
        }
    }
}

impl AuthzSettings {
    /// The client's address: from the header, if one is set, else the peer's. Warns if the header does not have it.
    ///
    /// The peer never takes the place of a header that is missing: it may be a load balancer, whose bucket would then
    /// be that of many clients. Nor is one of several addresses picked: a client may have sent all but one of them.
    pub(super) fn client_address(
        &self,
        headers: &[Header<'_>],
        peer: Option<&[u8]>,
        warnings: &Warnings,
    ) -> Option<IpAddr> {
        let Some(name) = &self.address_header else { return peer.and_then(address) };
        let mut lines = headers.iter().filter(|header| header.name == name.as_bytes());
        let found = match (lines.next(), lines.next()) {
            (Some(line), None) => address(line.value),
            _ => None,
        };
        if found.is_none()
            && let Some(due) = warnings.occurs(("authz address", name))
        {
            let (Due::Subject { times } | Due::Others { times }) = due;
            warn!(header = name, times, "{NO_ADDRESS}");
        }
        found
    }
}

const NO_ADDRESS: &str = "requests have no client address, so actions such as remote_address make no descriptor of them: the \
    header of --authz-address-header is missing, repeated, or not one IP address. Let Envoy set it, and send it along \
    (allowed_headers)";

/// An IP address, which may have a port. The zone of a link-local one (`fe80::1%eth0`) is left out.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim_ascii();
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_set_gives_the_address_and_nothing_else_does() {
        let settings =
            AuthzSettings { address_header: Some("x-client".to_owned()), ..AuthzSettings::default() };
        let peer = Some(&b"10.0.0.1"[..]);
        let found = |lines: &[&str]| {
            let headers: Vec<Header<'_>> =
                lines.iter().map(|line| Header { name: b"x-client", value: line.as_bytes() }).collect();
            settings.client_address(&headers, peer, &Warnings::default()).map(|found| found.to_string())
        };
        for (lines, expected) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&[" 2001:db8::1 "], Some("2001:db8::1")),
            (&["203.0.113.7:443"], Some("203.0.113.7")),
            (&["fe80::1%eth0"], Some("fe80::1")),
            (&["203.0.113.7,198.51.100.1"], None),
            (&["203.0.113.7", "198.51.100.1"], None),
            (&["somebody"], None),
            (&[], None),
        ] {
            assert_eq!(found(lines).as_deref(), expected, "{lines:?}");
        }
        let none = AuthzSettings::default();
        let header = Header { name: b"x-client", value: b"203.0.113.7" };
        let found = none.client_address(&[header], peer, &Warnings::default());
        assert_eq!(found, Some("10.0.0.1".parse().unwrap()), "without the setting the peer is the client");
        assert_eq!(none.client_address(&[header], None, &Warnings::default()), None);
    }
}
