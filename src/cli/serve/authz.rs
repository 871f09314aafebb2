//! The flags for ext_authz.

use std::net::SocketAddr;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use http::{StatusCode, header::HeaderName};
use tracing::warn;

use crate::{
    cli::values,
    protocol::authz::{AuthzSettings, RequestFrom},
};
use tollgate_core::{actions::RateLimit, rules::Domain};

#[derive(Debug, Args)]
#[command(next_help_heading = "ext_authz")]
pub(super) struct Authz {
    /// Header with the client's address, for both forms of ext_authz [default: by gRPC, the TCP peer of Envoy; by HTTP,
    /// none].
    ///
    /// Name one that the client cannot set, such as x-envoy-external-address where Envoy has use_remote_address, and have
    /// Envoy send it along. Requests that do not have it once, with one IP address, have no address.
    #[arg(long, env = "TOLLGATE_AUTHZ_ADDRESS_HEADER", value_name = "NAME", value_parser = header_name)]
    authz_address_header: Option<String>,

    /// Address for ext_authz by HTTP/1.1: Envoy's http_service, Traefik's ForwardAuth or nginx' auth_request [default:
    /// none]; port 0 takes any free port.
    ///
    /// ext_authz by gRPC is served on the port of --grpc-listen.
    #[arg(long, env = "TOLLGATE_AUTHZ_HTTP_LISTEN", value_name = "IP:PORT", value_parser = values::address)]
    pub(super) authz_http_listen: Option<SocketAddr>,

    /// Where a check by HTTP says what the client asked for: request-line, for Envoy, or x-forwarded, for Traefik and
    /// nginx.
    ///
    /// x-forwarded reads X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri. Behind Envoy these would be the
    /// client's own.
    #[arg(long, env = "TOLLGATE_AUTHZ_REQUEST_FROM", value_name = "PLACE", default_value = "request-line",
        hide_possible_values = true, ignore_case = true, value_parser = request_from())]
    authz_request_from: RequestFrom,

    /// Status of a denial by HTTP: 400 to 499. nginx passes on only 401 and 403.
    #[arg(long, env = "TOLLGATE_AUTHZ_DENIED_STATUS", value_name = "STATUS", default_value_t = 429,
        value_parser = value_parser!(u16).range(400..=499))]
    authz_denied_status: u16,

    /// Header of a check by HTTP that names the domain [default: none; the only domain that has `authz`].
    ///
    /// By gRPC it is the context extension `domain`.
    #[arg(long, env = "TOLLGATE_AUTHZ_DOMAIN_HEADER", value_name = "NAME", value_parser = header_name)]
    authz_domain_header: Option<String>,
}

// === impl Authz ===

impl Authz {
    pub(super) fn settings(&self) -> AuthzSettings {
        AuthzSettings {
            address_header: self.authz_address_header.clone(),
            domain_header: self.authz_domain_header.clone(),
            request_from: self.authz_request_from,
            denied_status: StatusCode::from_u16(self.authz_denied_status)
                .unwrap_or(StatusCode::TOO_MANY_REQUESTS),
        }
    }

    /// Warns of what these flags and the limits files together cannot do.
    pub(super) fn announce(&self, domains: &[Domain]) {
        if self.authz_http_listen.is_none() || self.authz_address_header.is_some() {
            return;
        }
        let reads_address = |domain: &&Domain| {
            domain.authz.iter().flat_map(|entry| &entry.rate_limits).any(RateLimit::reads_address)
        };
        if let Some(domain) = domains.iter().find(reads_address) {
            warn!(
                domain = domain.name,
                "by HTTP, actions such as remote_address make no descriptor, because requests carry no address: set \
                 --authz-address-header"
            );
        }
    }
}

// === values ===

fn request_from() -> impl TypedValueParser<Value = RequestFrom> {
    PossibleValuesParser::new(RequestFrom::ALL.map(RequestFrom::name)).map(|name| {
        let found = RequestFrom::ALL.into_iter().find(|from| from.name().eq_ignore_ascii_case(&name));
        found.unwrap_or_default()
    })
}

/// The name of a header, in lower case.
fn header_name(text: &str) -> Result<String, String> {
    let name = HeaderName::from_bytes(text.as_bytes());
    name.map(|name| name.as_str().to_owned()).map_err(|_invalid| "not the name of a header".to_owned())
}
