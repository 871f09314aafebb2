//! The answer of ext_authz, and that of its HTTP form.

use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};
use prost::Message as _;
use prost_types::Struct;
use tonic::Code;

use super::{
    Contract, Response,
    writer::{Field, Writer},
};
use crate::limiter::Outcome;
use tollgate_core::{authz::WithoutDescriptor, decision::Verdict};

// Numbers of fields in `proto/`, by message.
const RESPONSE_STATUS: Field = 1;
const RESPONSE_DENIED: Field = 2;
const RESPONSE_OK: Field = 3;
const RESPONSE_DYNAMIC_METADATA: Field = 4;
const RESPONSE_ERROR: Field = 5;
const STATUS_CODE: Field = 1;
const DENIED_STATUS: Field = 1;
const DENIED_HEADERS: Field = 2;
const DENIED_BODY: Field = 3;
const OK_RESPONSE_HEADERS: Field = 6;
const HTTP_STATUS_CODE: Field = 1;
const OPTION_HEADER: Field = 1;
const OPTION_APPEND_ACTION: Field = 3;
const HEADER_KEY: Field = 1;
const HEADER_VALUE: Field = 2;
/// Replaces a header of the upstream, so that there is one of each. It has no effect on a denial.
const OVERWRITE_IF_EXISTS_OR_ADD: u64 = 2;

/// Enough for the headers and the body of nearly all denials.
const USUAL_LENGTH: usize = 768;

/// Tells an Envoy in front of this one not to send the request again.
const RATE_LIMITED: (&str, &str) = ("x-envoy-ratelimited", "true");
/// Seconds after which a client may try again if the store has no answer.
const RETRY_AFTER_NO_ANSWER: (&str, &str) = ("retry-after", "1");

/// What is answered to one request.
#[derive(Debug)]
pub enum Answer<'o, 'm> {
    /// The limits decided. The verdict is the one that the client is told.
    Decided(&'o Outcome<'m>, Verdict),
    /// No limit applies, because there is no descriptor.
    WithoutDescriptor(WithoutDescriptor),
    /// The store has no answer, and a limit says `error`.
    NoAnswer,
}

/// The kinds of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ok,
    RateLimited,
    Forbidden,
    NoAnswer,
}

/// What the client asks for, as far as the form of the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Http,
    /// It reads `grpc-status`.
    Grpc,
}

/// The headers and the body of a `CheckResponse`, in the message that holds them.
struct Told<'r, 'w> {
    message: &'r mut Writer<'w>,
    kind: Kind,
}

impl Response for Told<'_, '_> {
    fn header(&mut self, name: &'static str, value: &str) {
        let (field, action) = match self.kind {
            Kind::Ok => (OK_RESPONSE_HEADERS, OVERWRITE_IF_EXISTS_OR_ADD),
            Kind::RateLimited | Kind::Forbidden | Kind::NoAnswer => (DENIED_HEADERS, 0),
        };
        self.message.message(field, |option| {
            option.message(OPTION_HEADER, |header| {
                header.bytes(HEADER_KEY, name.as_bytes());
                header.bytes(HEADER_VALUE, value.as_bytes());
            });
            option.number(OPTION_APPEND_ACTION, action);
        });
    }

    fn body(&mut self, body: &[u8]) {
        self.message.bytes(DENIED_BODY, body);
    }
}

impl Contract {
    /// The answer to a `Check`: a `CheckResponse`, encoded.
    pub fn check_response(
        &self,
        answer: &Answer<'_, '_>,
        client: Client,
        metadata: Option<&Struct>,
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USUAL_LENGTH);
        let mut response = Writer::new(&mut bytes);
        let kind = answer.kind();
        response.message(RESPONSE_STATUS, |status| status.number(STATUS_CODE, kind.grpc_code()));
        let field = match kind {
            Kind::Ok => RESPONSE_OK,
            Kind::RateLimited | Kind::Forbidden => RESPONSE_DENIED,
            Kind::NoAnswer => RESPONSE_ERROR,
        };
        response.message(field, |message| {
            if kind != Kind::Ok {
                message.message(DENIED_STATUS, |status| {
                    status.number(HTTP_STATUS_CODE, kind.status().as_u16().into());
                });
            }
            self.write_answer(answer, client, &mut Told { message, kind });
        });
        if let Some(metadata) = metadata {
            response.bytes(RESPONSE_DYNAMIC_METADATA, &metadata.encode_to_vec());
        }
        bytes
    }

    /// The answer to a check by HTTP. `denied` takes the place of 429.
    pub fn http_response(
        &self,
        answer: &Answer<'_, '_>,
        client: Client,
        denied: StatusCode,
    ) -> http::Response<Vec<u8>> {
        let mut response = http::Response::new(Vec::new());
        let kind = answer.kind();
        *response.status_mut() = match kind {
            Kind::Ok => StatusCode::OK,
            Kind::RateLimited => denied,
            Kind::Forbidden | Kind::NoAnswer => kind.status(),
        };
        self.write_answer(answer, client, &mut response);
        response
    }

    fn write_answer(&self, answer: &Answer<'_, '_>, client: Client, told: &mut impl Response) {
        let kind = answer.kind();
        if kind != Kind::Ok && client == Client::Grpc {
            // Replaces Envoy's own, which says UNAVAILABLE whatever the reason is.
            told.header("grpc-status", itoa::Buffer::new().format(kind.grpc_code()));
        }
        match answer {
            Answer::Decided(outcome, verdict) => {
                self.write(outcome, *verdict, told);
                if *verdict == Verdict::Deny {
                    told.header(RATE_LIMITED.0, RATE_LIMITED.1);
                }
            }
            Answer::NoAnswer => told.header(RETRY_AFTER_NO_ANSWER.0, RETRY_AFTER_NO_ANSWER.1),
            Answer::WithoutDescriptor(_) => {}
        }
    }
}

impl Response for http::Response<Vec<u8>> {
    fn header(&mut self, name: &'static str, value: &str) {
        let headers: &mut HeaderMap = self.headers_mut();
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }

    fn body(&mut self, body: &[u8]) {
        *self.body_mut() = body.to_vec();
    }
}

impl Answer<'_, '_> {
    fn kind(&self) -> Kind {
        match self {
            Answer::Decided(_, Verdict::Allow) | Answer::WithoutDescriptor(WithoutDescriptor::Allow) => {
                Kind::Ok
            }
            Answer::Decided(_, Verdict::Deny) => Kind::RateLimited,
            Answer::WithoutDescriptor(WithoutDescriptor::Deny) => Kind::Forbidden,
            Answer::NoAnswer => Kind::NoAnswer,
        }
    }
}

impl Kind {
    fn grpc_code(self) -> u64 {
        let code = match self {
            Kind::Ok => Code::Ok,
            Kind::RateLimited => Code::ResourceExhausted,
            Kind::Forbidden => Code::PermissionDenied,
            Kind::NoAnswer => Code::Unavailable,
        };
        code as u64
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::Ok => StatusCode::OK,
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
