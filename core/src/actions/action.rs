//! The kinds of actions, and the value that each finds in a request.

use std::fmt;

use super::{
    ActionError, HeaderMatch, HeaderMatchSpec, HttpRequest, MetadataSource, MetadataValue, Problem,
    QueryMatch, QueryMatchSpec, Reason, Value,
    address::{self, Mask},
    format::Format,
    header_match::header_name,
    query,
    request::HeaderName,
};

mod check;

/// The names of all actions: first Envoy's, then those that only Tollgate has.
pub const KINDS: [&str; 13] = [
    "generic_key",
    "request_headers",
    "remote_address",
    "masked_remote_address",
    "header_value_match",
    "query_parameter_value_match",
    "query_parameters",
    "metadata",
    "path",
    "method",
    "host",
    "principal",
    "context_extension",
];

/// An action as written in a file. The fields have Envoy's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionSpec {
    /// A constant, or a value with commands in it.
    GenericKey { descriptor_key: Option<String>, descriptor_value: String, default_value: String },
    /// The first line of a header.
    RequestHeaders { header_name: String, descriptor_key: String, skip_if_absent: bool },
    /// The address of the client.
    RemoteAddress,
    /// The network of the client.
    MaskedRemoteAddress { v4_prefix_mask_len: Option<u32>, v6_prefix_mask_len: Option<u32> },
    /// A value that is added if all headers match, or with `expect_match: false` if they do not.
    HeaderValueMatch {
        descriptor_key: Option<String>,
        descriptor_value: String,
        default_value: String,
        expect_match: bool,
        headers: Vec<HeaderMatchSpec>,
    },
    /// The same for query parameters.
    QueryParameterValueMatch {
        descriptor_key: Option<String>,
        descriptor_value: String,
        default_value: String,
        expect_match: bool,
        query_parameters: Vec<QueryMatchSpec>,
    },
    /// The value of a query parameter.
    QueryParameters { query_parameter_name: String, descriptor_key: String, skip_if_absent: bool },
    /// A text of the metadata.
    Metadata {
        descriptor_key: String,
        /// `metadata_key.key`
        namespace: String,
        /// `metadata_key.path`
        path: Vec<String>,
        default_value: String,
        source: MetadataSource,
        skip_if_absent: bool,
    },
    /// An action that only Tollgate has.
    Own(OwnSpec),
}

/// The actions that Envoy does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnSpec {
    /// The path without the query.
    Path {
        descriptor_key: Option<String>,
    },
    Method {
        descriptor_key: Option<String>,
    },
    /// The host in lower case, without its port and without a trailing dot.
    Host {
        descriptor_key: Option<String>,
    },
    /// The client's identity from its verified certificate.
    Principal {
        descriptor_key: Option<String>,
        skip_if_absent: bool,
    },
    /// The value of `key` in `context_extensions`.
    ContextExtension {
        key: String,
        descriptor_key: Option<String>,
        skip_if_absent: bool,
    },
}

/// A checked action.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    descriptor_key: String,
    pub(super) source: Source,
    if_absent: Absent,
}

/// Where an action looks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Key(Text),
    Header(HeaderName),
    Address,
    Network(Mask),
    HeaderMatch { headers: Vec<HeaderMatch>, expected: bool, text: Text },
    QueryMatch { parameters: Vec<QueryMatch>, expected: bool, text: Text },
    QueryParameter(String),
    Metadata { source: MetadataSource, namespace: String, path: Vec<String>, default: String },
    Path,
    Method,
    Host,
    Principal,
    ContextExtension(String),
}

/// A value with commands in it, and the value that takes its place if it turns out empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    format: Format,
    default: String,
}

/// What happens if an action finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Drops,
    Skips,
}

// === impl Action ===

impl Action {
    /// The name of this action in a file.
    pub fn kind(&self) -> &'static str {
        match self.source {
            Source::Key(_) => "generic_key",
            Source::Header(_) => "request_headers",
            Source::Address => "remote_address",
            Source::Network(_) => "masked_remote_address",
            Source::HeaderMatch { .. } => "header_value_match",
            Source::QueryMatch { .. } => "query_parameter_value_match",
            Source::QueryParameter(_) => "query_parameters",
            Source::Metadata { .. } => "metadata",
            Source::Path => "path",
            Source::Method => "method",
            Source::Host => "host",
            Source::Principal => "principal",
            Source::ContextExtension(_) => "context_extension",
        }
    }

    pub(super) fn reads_address(&self) -> bool {
        match &self.source {
            Source::Address | Source::Network(_) => true,
            Source::Key(text) | Source::HeaderMatch { text, .. } | Source::QueryMatch { text, .. } => {
                text.format.reads_address()
            }
            _ => false,
        }
    }

    /// Whether its value, if it adds one, is the same for all requests.
    pub fn is_constant(&self) -> bool {
        match &self.source {
            Source::Key(text) | Source::HeaderMatch { text, .. } | Source::QueryMatch { text, .. } => {
                text.format.is_literal()
            }
            _ => false,
        }
    }

    /// The key of the entries that it adds.
    pub fn descriptor_key(&self) -> &str {
        &self.descriptor_key
    }

    /// Whether this action adds no entry, instead of dropping the descriptor, if it finds nothing.
    pub(super) fn skips(&self) -> bool {
        self.if_absent == Absent::Skips
    }

    /// The entry that this action adds, none if it is skipped, or the reason why it drops the descriptor.
    pub(super) fn entry<'a>(
        &'a self,
        request: &'a HttpRequest<'a>,
    ) -> Result<Option<(&'a str, Value<'a>)>, Reason> {
        match self.source.value(request) {
            Ok(value) => Ok(Some((&self.descriptor_key, value))),
            Err(_) if self.skips() => Ok(None),
            Err(reason) => Err(reason),
        }
    }
}

/// The kind and the subject, such as `request_headers x-api-key`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match &self.source {
            Source::Header(name) => write!(f, "{kind} {}", name.as_str()),
            Source::QueryParameter(name) | Source::ContextExtension(name) => write!(f, "{kind} {name}"),
            Source::Metadata { namespace, path, .. } => write!(f, "{kind} {namespace}:{}", path.join(":")),
            Source::Key(_) | Source::HeaderMatch { .. } | Source::QueryMatch { .. } => {
                write!(f, "{kind} {}", self.descriptor_key)
            }
            _ => f.write_str(kind),
        }
    }
}

// === impl Source ===

impl Source {
    fn value<'a>(&'a self, request: &'a HttpRequest<'a>) -> Result<Value<'a>, Reason> {
        match self {
            Source::Key(text) => text.value(request),
            Source::Header(name) => request.header(name).map(Value::Borrowed).ok_or(Reason::NoHeader),
            Source::Address => request.remote_address.map(address::text).ok_or(Reason::NoAddress),
            Source::Network(mask) => {
                request.remote_address.map(|address| mask.network(address)).ok_or(Reason::NoAddress)
            }
            Source::HeaderMatch { headers, expected, text } => {
                expect(*expected, headers.iter().all(|header| header.is_match(request)))?;
                text.value(request)
            }
            Source::QueryMatch { parameters, expected, text } => {
                expect(*expected, parameters.iter().all(|parameter| parameter.is_match(request.path)))?;
                text.value(request)
            }
            Source::QueryParameter(name) => query::first(request.path, name).ok_or(Reason::NoParameter),
            Source::Metadata { source, namespace, path, default } => {
                let found = match request.metadata.find(*source, namespace, path) {
                    Some(MetadataValue::Text(text)) => text,
                    _ => "",
                };
                let text = if found.is_empty() { default } else { found };
                filled(text.as_bytes(), Reason::NoMetadata)
            }
            Source::Path => filled(request.path_without_query(), Reason::NotKnown),
            Source::Method => filled(request.method, Reason::NotKnown),
            Source::Host => request.host_name().ok_or(Reason::NotKnown),
            Source::Principal => filled(request.principal, Reason::NotKnown),
            Source::ContextExtension(key) => {
                request.context_extension(key).map(Value::Borrowed).ok_or(Reason::NotKnown)
            }
        }
    }
}

fn expect(expected: bool, is_match: bool) -> Result<(), Reason> {
    match (expected, is_match) {
        (true, false) => Err(Reason::NoMatch),
        (false, true) => Err(Reason::Match),
        _ => Ok(()),
    }
}

fn filled(value: &[u8], reason: Reason) -> Result<Value<'_>, Reason> {
    if value.is_empty() { Err(reason) } else { Ok(Value::Borrowed(value)) }
}

// === impl Text ===

impl Text {
    fn value<'a>(&'a self, request: &'a HttpRequest<'a>) -> Result<Value<'a>, Reason> {
        let value = self.format.value(request);
        if value.is_empty() { filled(self.default.as_bytes(), Reason::EmptyValue) } else { Ok(value) }
    }
}
