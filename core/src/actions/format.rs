//! Values with Envoy's commands in them, such as `%REQ(x-tenant)%`.
//!
//! A command that finds nothing stands for an empty text. `%%` is a percent sign. Envoy itself reads commands in
//! descriptor values only with `envoy.reloadable_features.enable_formatter_for_ratelimit_action_descriptor_value`.

use std::fmt;

use thiserror::Error;

use super::{
    HttpRequest, MetadataSource, MetadataValue, Value, address, query,
    request::{HeaderName, without_query},
    value::Writer,
};

mod parse;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    #[error("'{0}' begins no command such as %REQ(x-tenant)%; a percent sign is written %%")]
    NoCommand(String),
    #[error("there is no command %{0}%; known are {known}", known = parse::KNOWN.join(", "))]
    Unknown(String),
    #[error("%{command}%: {expected}")]
    Parameter { command: String, expected: &'static str },
    #[error("%{0}% takes no length")]
    Length(String),
}

/// A checked text with commands in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Format {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(Box<str>),
    Command(Command, Option<usize>),
}

#[derive(Debug, Clone, PartialEq)]
enum Command {
    /// `REQ` and `REQUEST_HEADER`
    Header { name: HeaderName, otherwise: Option<HeaderName> },
    /// `PROTOCOL`
    Protocol,
    /// `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`
    RemoteAddress,
    /// `DOWNSTREAM_PEER_URI_SAN`
    Principal,
    /// `DYNAMIC_METADATA` and `METADATA`
    Metadata { source: MetadataSource, namespace: String, path: Vec<String> },
    /// `PATH`
    Path { first: HeaderName, otherwise: Option<HeaderName>, query: Query },
    /// `QUERY_PARAM`
    QueryParameter(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    With,
    Without,
}

// === impl Format ===

impl Format {
    pub(super) fn is_one_command(&self) -> bool {
        matches!(*self.parts, [Part::Command(..)])
    }

    pub(super) fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    pub(super) fn reads_address(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Command(Command::RemoteAddress, _)))
    }

    pub(super) fn value<'a>(&'a self, request: &HttpRequest<'a>) -> Value<'a> {
        if let [part] = &*self.parts {
            return part.value(request).unwrap_or(Value::Borrowed(b""));
        }
        let mut text = Writer::default();
        for value in self.parts.iter().filter_map(|part| part.value(request)) {
            text.put(&value);
        }
        text.finish()
    }
}

impl Part {
    fn value<'a>(&'a self, request: &HttpRequest<'a>) -> Option<Value<'a>> {
        match self {
            Part::Literal(text) => Some(Value::Borrowed(text.as_bytes())),
            Part::Command(command, None) => command.value(request),
            Part::Command(command, Some(most)) => Some(command.value(request)?.cut(*most)),
        }
    }
}

impl Command {
    fn value<'a>(&'a self, request: &HttpRequest<'a>) -> Option<Value<'a>> {
        match self {
            Command::Header { name, otherwise } => {
                let otherwise = || otherwise.as_ref().and_then(|name| request.header(name));
                request.header(name).or_else(otherwise).map(Value::Borrowed)
            }
            Command::Protocol => filled(request.protocol),
            Command::RemoteAddress => request.remote_address.map(address::text),
            Command::Principal => filled(request.principal),
            Command::Metadata { source, namespace, path } => {
                request.metadata.find(*source, namespace, path).map(in_text)
            }
            Command::Path { first, otherwise, query } => {
                let otherwise = || otherwise.as_ref().and_then(|name| request.header(name));
                let path = request.header(first).or_else(otherwise)?;
                Some(Value::Borrowed(query.part(path)))
            }
            Command::QueryParameter(name) => query::first(request.path, name),
        }
    }
}

impl Query {
    fn part(self, path: &[u8]) -> &[u8] {
        match self {
            Query::With => path,
            Query::Without => without_query(path),
        }
    }
}

fn filled(value: &[u8]) -> Option<Value<'_>> {
    (!value.is_empty()).then_some(Value::Borrowed(value))
}

fn in_text(value: MetadataValue<'_>) -> Value<'_> {
    let mut text = Writer::default();
    match value {
        MetadataValue::Text(text) => return Value::Borrowed(text.as_bytes()),
        MetadataValue::Json(json) => text.put(json.as_bytes()),
        MetadataValue::Number(number) => write_number(&mut text, number).expect("a writer takes everything"),
        MetadataValue::Bool(value) => text.put(if value { b"true" } else { b"false" }),
    }
    text.finish()
}

/// Writes a number of metadata as Envoy does, also within JSON: with the fewest digits that identify it, and in the
/// shorter of the two notations `1000000` and `1e+06`.
pub fn write_number(to: &mut impl fmt::Write, number: f64) -> fmt::Result {
    let fixed = number.to_string();
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return to.write_str(&fixed) };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let scientific = format!("{digits}e{sign}{exponent:0>2}");
    to.write_str(if scientific.len() < fixed.len() { &scientific } else { &fixed })
}
