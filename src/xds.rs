//! Rules from an xDS server.

use std::time::Duration;

use crate::certificates::ClientTls;
use tollgate_core::limit::{DefaultAlgorithm, Overdraft};

/// Where the rules come from, and what is made of them.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of the server.
    pub server: String,
    /// The id by which the server knows which rules to send.
    pub node_id: String,
    /// The node's metadata: keys and texts.
    pub node_metadata: Vec<(String, String)>,
    /// Headers of the call. Their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// TLS. None: plain text.
    pub tls: Option<ClientTls>,
    /// The name that the server's certificate must have if names are verified. None: the host of `server`.
    pub server_name: Option<String>,
    /// The most bytes of an answer.
    pub max_message: usize,
    /// How long a domain that vanished keeps its limits.
    pub settle: Duration,
    /// Whether the limits' buckets may owe.
    pub overdraft: Overdraft,
    /// The algorithm of the limits.
    pub default_algorithm: DefaultAlgorithm,
}
