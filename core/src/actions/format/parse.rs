//! Parses a [`Format`].

use super::{Command, Format, FormatError, Part, Query};
use crate::actions::{MetadataSource, request::HeaderName};

/// The commands that are known here.
pub(super) const KNOWN: [&str; 9] = [
    "REQ",
    "REQUEST_HEADER",
    "PROTOCOL",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DYNAMIC_METADATA",
    "METADATA",
    "PATH",
    "QUERY_PARAM",
];

/// A command as written: `%NAME(parameters):length%`.
struct Written<'t> {
    name: &'t str,
    parameters: Option<&'t str>,
    length: Option<usize>,
}

impl Format {
    pub(in crate::actions) fn new(text: &str) -> Result<Format, FormatError> {
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let (written, after) =
                Written::read(after).ok_or_else(|| FormatError::NoCommand(beginning(after)))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Command(written.command()?, written.length));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Format { parts })
    }
}

/// The start of a command, long enough to be found in a file.
fn beginning(rest: &str) -> String {
    format!("%{}", rest.chars().take(20).collect::<String>())
}

impl<'t> Written<'t> {
    /// Reads a command after its first percent sign. Returns it with the text that follows it.
    fn read(text: &'t str) -> Option<(Written<'t>, &'t str)> {
        let is_name = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let (name, rest) = text.split_at(text.find(|letter| !is_name(letter))?);
        let (parameters, rest) = match rest.strip_prefix('(') {
            Some(inside) => {
                let end =
                    inside.match_indices(')').find(|(at, _)| inside[at + 1..].starts_with(['%', ':']))?.0;
                (Some(&inside[..end]), &inside[end + 1..])
            }
            None => (None, rest),
        };
        let (length, rest) = match rest.strip_prefix(':') {
            Some(digits) => {
                let end = digits.find(|letter: char| !letter.is_ascii_digit())?;
                (Some(digits[..end].parse().ok()?), &digits[end..])
            }
            None => (None, rest),
        };
        let rest = rest.strip_prefix('%').filter(|_| !name.is_empty())?;
        Some((Written { name, parameters, length }, rest))
    }

    fn command(&self) -> Result<Command, FormatError> {
        let command = match self.name {
            "REQ" | "REQUEST_HEADER" => self.header()?,
            "PROTOCOL" => self.alone(Command::Protocol)?,
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => self.alone(Command::RemoteAddress)?,
            "DOWNSTREAM_PEER_URI_SAN" => self.alone(Command::Principal)?,
            "DYNAMIC_METADATA" => self.metadata(MetadataSource::Dynamic, self.given("NAMESPACE:KEY")?)?,
            "METADATA" => {
                let expected = "DYNAMIC:NAMESPACE:KEY or ROUTE:NAMESPACE:KEY in parentheses";
                match self.given(expected)?.split_once(':') {
                    Some(("DYNAMIC", rest)) => self.metadata(MetadataSource::Dynamic, rest)?,
                    Some(("ROUTE", rest)) => self.metadata(MetadataSource::Route, rest)?,
                    _ => return Err(self.error(expected)),
                }
            }
            "PATH" => self.path()?,
            "QUERY_PARAM" => Command::QueryParameter(self.given("the name of a parameter")?.into()),
            _ => return Err(FormatError::Unknown(self.name.to_owned())),
        };
        let has_no_length =
            matches!(command, Command::Protocol | Command::RemoteAddress | Command::Principal);
        match self.length {
            Some(_) if has_no_length => Err(FormatError::Length(self.name.to_owned())),
            _ => Ok(command),
        }
    }

    fn error(&self, expected: &'static str) -> FormatError {
        FormatError::Parameter { command: self.name.to_owned(), expected }
    }

    fn alone(&self, command: Command) -> Result<Command, FormatError> {
        match self.parameters {
            None => Ok(command),
            Some(_) => Err(self.error("it has no parameters")),
        }
    }

    fn given(&self, expected: &'static str) -> Result<&'t str, FormatError> {
        self.parameters.filter(|given| !given.is_empty()).ok_or_else(|| self.error(expected))
    }

    fn header(&self) -> Result<Command, FormatError> {
        const EXPECTED: &str = "the name of a header in parentheses, and perhaps ? and the name of another";
        let given = self.given(EXPECTED)?;
        let (name, otherwise) = match given.split_once('?') {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (given, None),
        };
        let header = |name| HeaderName::new(name).ok_or_else(|| self.error(EXPECTED));
        Ok(Command::Header { name: header(name)?, otherwise: otherwise.map(header).transpose()? })
    }

    fn metadata(&self, source: MetadataSource, given: &str) -> Result<Command, FormatError> {
        let mut keys = given.split(':').map(str::to_owned);
        let namespace = keys.next().unwrap_or_default();
        Ok(Command::Metadata { source, namespace, path: keys.collect() })
    }

    fn path(&self) -> Result<Command, FormatError> {
        let given = self.parameters.unwrap_or_default();
        let (query, which) = given.split_once(':').unwrap_or((given, ""));
        let query = match query {
            "" | "WQ" => Query::With,
            "NQ" => Query::Without,
            _ => return Err(self.error("WQ or NQ, with or without the query")),
        };
        // Envoy keeps the original path in this header when it rewrites the path.
        let original = HeaderName::Other("x-envoy-original-path".into());
        let (first, otherwise) = match which {
            "" | "ORIG_OR_PATH" => (original, Some(HeaderName::Path)),
            "ORIG" => (original, None),
            "PATH" => (HeaderName::Path, None),
            _ => return Err(self.error("which path, behind a colon: PATH, ORIG or ORIG_OR_PATH")),
        };
        Ok(Command::Path { first, otherwise, query })
    }
}

#[cfg(test)]
mod tests;
