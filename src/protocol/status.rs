//! Every error that a caller is told, and its gRPC status. No other module makes a status.
//!
//! A denial is no error: it is an answer.

use prost::{DecodeError, EncodeError};
use thiserror::Error;
use tonic::{Code, Status};

use super::rls::TooMany;
use crate::error::chain;
use tollgate_core::descriptor::BadRequest;

/// Why a call has no answer. The text becomes the message of the status.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("request is not a valid message")]
    Undecodable(#[source] DecodeError),
    /// The framing of the message is broken, cut short or missing, in tonic's words.
    #[error("{0}")]
    BrokenFrame(String),
    /// The same, found by our own reader.
    #[error("request is not a valid message")]
    Malformed,
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error("unfinished requests take more than {max_bytes} bytes")]
    Unfinished { max_bytes: usize },
    #[error("the request is not the JSON of a RateLimitRequest: {0}")]
    BadJson(String),
    /// Nothing says which domain a request of ext_authz belongs to.
    #[error(
        "the request names no domain, and not exactly one domain has `authz`: set the context extension `domain` in \
         Envoy's ext_authz filter, or --authz-domain-header"
    )]
    NoAuthzDomain,
    /// `--authz-request-from x-forwarded` needs each of three headers once.
    #[error("the header {0} is missing or repeated, and --authz-request-from is x-forwarded")]
    NotForwarded(&'static str),
    #[error("the header of --authz-domain-header is there twice")]
    DomainTwice,
    /// A check has more header lines than any client of Envoy can cause.
    #[error("the request has more than {} header lines", super::authz::MAX_HEADER_LINES)]
    TooManyHeaders,
    #[error("no limits file has `authz` for the domain {0}")]
    UnknownAuthzDomain(String),
    /// The store has no answer, and the limits say `error`.
    #[error("the store has no answer")]
    NoAnswer,
    /// For clients in this crate; answers of the service are bytes already.
    #[error("answer does not fit its buffer")]
    Unencodable(#[source] EncodeError),
}

impl Failure {
    const fn code(&self) -> Code {
        match self {
            // The fault is the caller's, so tonic's INTERNAL would blame the wrong side.
            Failure::Undecodable(_)
            | Failure::Malformed
            | Failure::BadJson(_)
            | Failure::NoAuthzDomain
            | Failure::NotForwarded(_)
            | Failure::DomainTwice
            | Failure::TooManyHeaders
            | Failure::UnknownAuthzDomain(_)
            | Failure::BrokenFrame(_)
            | Failure::TooMany(_)
            | Failure::BadRequest(_) => Code::InvalidArgument,
            Failure::Unfinished { .. } => Code::ResourceExhausted,
            Failure::NoAnswer => Code::Unavailable,
            Failure::Unencodable(_) => Code::Internal,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        Status::new(failure.code(), chain(&failure))
    }
}

/// The status of a check by HTTP that has no answer.
pub(crate) fn http(status: &Status) -> http::StatusCode {
    match status.code() {
        Code::InvalidArgument => http::StatusCode::BAD_REQUEST,
        _ => http::StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::RateLimitRequest;
    use tollgate_core::limit::LimitError;

    #[test]
    fn each_error_has_the_status_of_the_side_whose_fault_it_is() {
        let undecodable = RateLimitRequest::decode(&[0xff][..]).unwrap_err();
        let unencodable = RateLimitRequest { hits_addend: 1, ..Default::default() };
        let unencodable = unencodable.encode(&mut &mut [0_u8; 1][..]).unwrap_err();
        let is_invalid = [
            (Failure::Undecodable(undecodable), "request is not a valid message: "),
            (Failure::Malformed, "request is not a valid message"),
            (
                Failure::BadJson("empty".to_owned()),
                "the request is not the JSON of a RateLimitRequest: empty",
            ),
            (
                Failure::NoAuthzDomain,
                "the request names no domain, and not exactly one domain has `authz`: set",
            ),
            (Failure::NotForwarded("x-forwarded-uri"), "the header x-forwarded-uri is missing or repeated"),
            (Failure::DomainTwice, "the header of --authz-domain-header is there twice"),
            (Failure::TooManyHeaders, "the request has more than 16384 header lines"),
            (Failure::UnknownAuthzDomain("a".to_owned()), "no limits file has `authz` for the domain a"),
            (Failure::BrokenFrame("cut short".to_owned()), "cut short"),
            (TooMany::Descriptors.into(), "the request has more than 1024 descriptors"),
            (TooMany::Fields.into(), "the request's descriptors have more than 65536 entries"),
            (BadRequest::EmptyDomain.into(), "the domain is empty"),
            (BadRequest::NoDescriptors.into(), "the request has no descriptors"),
            (BadRequest::UnknownUnit(8).into(), "unknown unit 8 in a descriptor's limit"),
            (
                BadRequest::Limit(LimitError::BurstZero).into(),
                "a descriptor's limit: burst must be at least 1",
            ),
            (BadRequest::TooManyBuckets.into(), "the request matches more than 512 limits"),
        ];
        let others = [
            (
                Failure::Unfinished { max_bytes: 7 },
                Code::ResourceExhausted,
                "unfinished requests take more than 7",
            ),
            (Failure::NoAnswer, Code::Unavailable, "the store has no answer"),
            (Failure::Unencodable(unencodable), Code::Internal, "answer does not fit its buffer: "),
        ];
        let is_invalid = is_invalid.map(|(failure, begin)| (failure, Code::InvalidArgument, begin));
        for (failure, code, begin) in is_invalid.into_iter().chain(others) {
            let status = Status::from(failure);
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().starts_with(begin), "{status:?}");
        }
    }
}
