//! ext_authz: makes descriptors of the request that Envoy describes, and asks the limiter.
//!
//! The limits file says which (`authz`). By gRPC Envoy sends a `CheckRequest` (`attributes`); by HTTP it sends the
//! request itself (`http`). Both become an [`HttpRequest`], and are decided here by the limiter that also answers the
//! rate-limit service.

mod attributes;
pub mod codec;
pub mod http;
mod metadata;
mod settings;

use std::net::IpAddr;

use smallvec::SmallVec;
use tonic::{Request as Asked, Response, Status};
use tracing::warn;

use self::{attributes::Attributes, codec::CheckMessage};
pub use self::{
    attributes::MAX_HEADER_LINES,
    settings::{AuthzSettings, RequestFrom},
};
use super::{Doors, explain, reply::Reply, status::Failure, traced::Call};
use crate::{
    logging::{
        short,
        subjects::{Due, Warnings},
    },
    metrics::Door,
    pb::authorization_server::Authorization,
    response::{
        check::{Answer, Client},
        dynamic,
    },
    rules::CompiledRules,
};
use tollgate_core::{
    actions::{BuiltDescriptor, Header, HttpRequest, descriptors},
    authz::{AuthzEntry, WithoutDescriptor, first_match},
    decision::Verdict,
    descriptor::Request,
    matcher::{DomainRules, Matcher},
};

/// The dynamic metadata of an answer, if it has any.
type Metadata = Option<prost_types::Struct>;

impl Doors {
    /// Decides one request that came by ext_authz, and has the answer encoded.
    async fn authorize<T>(
        &self,
        call: &mut Call<'_>,
        rules: &CompiledRules,
        named_domain: Option<&[u8]>,
        http: &HttpRequest<'_>,
        encode: impl FnOnce(&Answer<'_, '_>, Metadata) -> T,
    ) -> Result<T, Failure> {
        let matcher = rules.matcher();
        let (domain, domain_rules) = domain(named_domain, matcher)?;
        let entry = first_match(&domain_rules.authz, http);
        let lists = entry.map_or(&[][..], |entry| &entry.rate_limits);
        let built: SmallVec<[BuiltDescriptor<'_>; 2]> = descriptors(lists, http).flatten().collect();
        if built.is_empty() {
            let without = self.without_descriptor(domain, entry, rules.warnings());
            self.metrics.count_without_descriptor(call.door, without);
            return Ok(encode(&Answer::WithoutDescriptor(without), None));
        }
        let request =
            Request { domain, descriptors: built.iter().map(BuiltDescriptor::as_descriptor).collect() };
        let outcome = self.limiter.decide_in(call.recorded(), matcher, &request).await?;
        self.observe(call, rules, &request, &outcome);
        let shadow = self.modes.shadow.then_some(Verdict::Allow);
        let Some(told) = shadow.or(outcome.verdict) else { return Ok(encode(&Answer::NoAnswer, None)) };
        let metadata = if self.modes.dynamic_metadata {
            Some(dynamic::metadata_of_built(&request, &built, &outcome))
        } else if outcome.has_store_error() {
            dynamic::fallback_metadata(&outcome)
        } else {
            None
        };
        Ok(encode(&Answer::Decided(&outcome, told), metadata))
    }

    /// The client's address, if some action looks for it.
    fn client_address(
        &self,
        rules: &CompiledRules,
        headers: &[Header<'_>],
        peer: Option<&[u8]>,
    ) -> Option<IpAddr> {
        let is_wanted = rules.matcher().authz_reads_address();
        is_wanted.then(|| self.authz.client_address(headers, peer, rules.warnings()))?
    }

    /// What becomes of a request without a descriptor. Warns unless the file says so itself.
    fn without_descriptor(
        &self,
        domain: &[u8],
        entry: Option<&AuthzEntry>,
        warnings: &Warnings,
    ) -> WithoutDescriptor {
        let said = match entry {
            None => None,
            // An entry without lists is there to exempt.
            Some(entry) if entry.rate_limits.is_empty() => Some(entry.without_descriptor.unwrap_or_default()),
            Some(entry) => entry.without_descriptor,
        };
        if said.is_none() {
            warn_without_descriptor(domain, entry.is_some(), warnings);
        }
        if self.modes.shadow { WithoutDescriptor::Allow } else { said.unwrap_or_default() }
    }
}

/// The name and the rules of the domain by which a request is decided.
fn domain<'r>(named: Option<&'r [u8]>, matcher: &'r Matcher) -> Result<(&'r [u8], &'r DomainRules), Failure> {
    let name = match named {
        Some(name) => name,
        None => matcher.authz_domain().ok_or(Failure::NoAuthzDomain)?.as_bytes(),
    };
    let rules = matcher.domain(name).filter(|rules| !rules.authz.is_empty());
    Ok((name, rules.ok_or_else(|| Failure::UnknownAuthzDomain(short(name)))?))
}

const NO_ENTRY: &str = "requests pass unlimited because no entry of the domain's authz matches them. If they are meant to \
    pass, add a last entry without `match` and without `rate_limits`";
const NO_DESCRIPTOR: &str = "requests pass unlimited because the matching entry of the domain's authz makes no descriptor \
    of them: what its actions look for is not there. If they are meant to pass, write `without_descriptor: allow` in the \
    entry; if not, `without_descriptor: deny`. `tollgate explain --request` shows which action finds nothing";

fn warn_without_descriptor(domain: &[u8], has_entry: bool, warnings: &Warnings) {
    let Some(due) = warnings.occurs(("authz", domain, has_entry)) else { return };
    let (Due::Subject { times } | Due::Others { times }) = due;
    let domain = short(domain);
    if has_entry {
        warn!(domain, times, "{NO_DESCRIPTOR}");
    } else {
        warn!(domain, times, "{NO_ENTRY}");
    }
}

#[tonic::async_trait]
impl Authorization for Doors {
    async fn check(&self, request: Asked<CheckMessage>) -> Result<Response<Reply>, Status> {
        let rules = self.rules.get();
        let mut call = self.begin(Door::Authz, request.metadata().as_ref());
        let answer = async {
            let attributes =
                Attributes::read(&request.get_ref().0).map_err(|_malformed| Failure::Malformed)?;
            if attributes.has_too_many_headers {
                return Err(Failure::TooManyHeaders);
            }
            let http = HttpRequest {
                method: attributes.method,
                host: attributes.host,
                path: attributes.path,
                scheme: attributes.scheme,
                protocol: attributes.protocol,
                headers: &attributes.headers,
                remote_address: self.client_address(
                    &rules,
                    &attributes.headers,
                    Some(attributes.source_address),
                ),
                principal: attributes.principal,
                context_extensions: &attributes.context_extensions,
                metadata: &attributes.contexts,
            };
            let named = attributes.context_extensions.iter().find(|extension| extension.name == b"domain");
            let named = named.map(|extension| extension.value).filter(|name| !name.is_empty());
            let client = client(&http);
            self.authorize(&mut call, &rules, named, &http, |answer, metadata| {
                Reply::from_bytes(rules.contract().check_response(answer, client, metadata.as_ref()))
            })
            .await
        };
        let answer = match answer.await {
            Ok(reply) => Ok(Response::new(reply)),
            Err(failure) => {
                if let Failure::BadRequest(bad) = &failure {
                    explain::refusal(b"", bad);
                }
                Err(failure.into())
            }
        };
        self.end(call, answer.as_ref().err());
        answer
    }
}

/// How the client is answered: gRPC by its content type.
fn client(http: &HttpRequest<'_>) -> Client {
    let content_type = http.headers.iter().find(|header| header.name == b"content-type");
    match content_type {
        Some(header) if header.value.starts_with(b"application/grpc") => Client::Grpc,
        _ => Client::Http,
    }
}
