//! Why a connection to the server ended, in words.

use thiserror::Error;
use tonic::{Code, Status};

use super::connection::ConnectError;
use crate::config::shorten;

#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke{}", if *.may_need_tls { "; if the server expects TLS, set --xds-tls on" } else { "" })]
    Broken { may_need_tls: bool, source: hyper::Error },
    #[error("the server has closed the stream")]
    Closed,
    #[error("the server has ended the stream: {}: {}{}", .0.code(), shorten(.0.message()), hint(.0))]
    Status(Status),
    #[error("the server has sent bytes that are no DiscoveryResponse")]
    Malformed,
    #[error("the server does not read what it is sent")]
    NotRead,
}

fn hint(status: &Status) -> &'static str {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => "; --xds-max-message is the most bytes of an answer",
        Code::Unimplemented => "; it has no AggregatedDiscoveryService",
        _ => "",
    }
}
