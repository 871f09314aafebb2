//! ext_authz by HTTP: Envoy, Traefik or nginx repeats the request without its body, and passes on the answer.

use std::str;

use http::{HeaderMap, HeaderValue, Response, request::Parts};
use smallvec::SmallVec;
use tonic::Status;

use super::{AuthzSettings, RequestFrom, client};
use crate::{
    metrics::Door,
    protocol::{
        Doors,
        status::{self, Failure},
        traced::Call,
    },
};
use tollgate_core::actions::{Header, HttpRequest, NoMetadata};

const FORWARDED_METHOD: &str = "x-forwarded-method";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_URI: &str = "x-forwarded-uri";

impl Doors {
    /// Decides the request that these parts describe.
    pub(in crate::protocol) async fn authorize_http(
        &self,
        parts: &Parts,
    ) -> Result<Response<Vec<u8>>, Status> {
        let mut call = self.begin(Door::AuthzHttp, &parts.headers);
        let answer = self.answer_http(&mut call, parts).await.map_err(Status::from);
        let status = answer.as_ref().map_or_else(status::http, Response::status);
        self.end_http(call, &parts.method, status.as_u16());
        answer
    }

    async fn answer_http(&self, call: &mut Call<'_>, parts: &Parts) -> Result<Response<Vec<u8>>, Failure> {
        let rules = self.rules.get();
        let headers: SmallVec<[Header<'_>; 16]> = parts
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.as_str().as_bytes(), value: value.as_bytes() })
            .collect();
        let asked = asked(&self.authz, parts)?;
        let http = HttpRequest {
            method: asked.method,
            host: asked.host,
            path: asked.path,
            headers: &headers,
            remote_address: self.client_address(&rules, &headers, None),
            metadata: &NoMetadata,
            ..HttpRequest::default()
        };
        let named = match &self.authz.domain_header {
            Some(name) => named_domain(&parts.headers, name)?,
            None => None,
        };
        let client = client(&http);
        let answer = self.authorize(call, &rules, named, &http, |answer, _metadata| {
            rules.contract().http_response(answer, client, self.authz.denied_status)
        });
        answer.await
    }
}

/// What the client asked for.
struct Asked<'a> {
    method: &'a [u8],
    host: &'a [u8],
    path: &'a [u8],
}

fn asked<'a>(settings: &AuthzSettings, parts: &'a Parts) -> Result<Asked<'a>, Failure> {
    match settings.request_from {
        RequestFrom::RequestLine => Ok(Asked {
            method: parts.method.as_str().as_bytes(),
            // In the absolute form of a request line, the host is there (RFC 9112, section 3.2.2).
            host: match parts.uri.authority() {
                Some(authority) => authority.as_str().as_bytes(),
                None => parts.headers.get(http::header::HOST).map_or(&b""[..], |host| host.as_bytes()),
            },
            path: parts.uri.path_and_query().map_or(&b""[..], |path| path.as_str().as_bytes()),
        }),
        RequestFrom::XForwarded => Ok(Asked {
            method: only(&parts.headers, FORWARDED_METHOD)?,
            host: only(&parts.headers, FORWARDED_HOST)?,
            path: only(&parts.headers, FORWARDED_URI)?,
        }),
    }
}

/// The domain that a header names, if it is there and not empty. A second one may be the client's.
fn named_domain<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Failure> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    match (lines.next(), lines.next()) {
        (_, Some(_)) => Err(Failure::DomainTwice),
        (line, None) => Ok(line.filter(|name| !name.is_empty())),
    }
}

/// The value of a header that is there once. A second one may be the client's.
fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a [u8], Failure> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.as_bytes()),
        _ => Err(Failure::NotForwarded(name)),
    }
}
