//! A line as a text format of Envoy writes it.

use thiserror::Error;

use super::fields::{Fields, Names, Role};

/// What Envoy writes if it is told nothing.
pub(in crate::cli::simulate) const ENVOY_DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% \
    %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
    %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";

/// A text format, ready to read lines.
#[derive(Debug, Clone)]
pub(in crate::cli::simulate) struct Pattern {
    /// What comes before the first field.
    before: Vec<u8>,
    /// The name of each field, and the text that ends it.
    fields: Vec<(usize, Vec<u8>)>,
}

/// Why a text is no pattern, or a command no operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAPattern {
    /// There is no command in it.
    #[error("it has no operator such as %START_TIME%; write it as text_format of Envoy's access log has it")]
    NoOperator,
    /// A percent sign begins nothing.
    #[error("`{0}` begins no operator such as %REQ(:PATH)%; a percent sign is written %%")]
    Unclosed(String),
    /// Nobody could tell where the first of two values ends.
    #[error(
        "%{0}% and the operator after it have no text between them, so nobody can tell where the first ends"
    )]
    Adjacent(String),
    /// Requests cannot be put on a virtual clock without it.
    #[error("it has no %START_TIME%, without which no line has a time")]
    NoTime,
    /// There is text around the operator.
    #[error("write NAME=OPERATOR, such as api_key=%REQ(x-api-key)%")]
    NotOneOperator,
}

enum Part<'t> {
    Text(&'t str),
    Operator(&'t str),
}

/// The name of the field that an operator writes, and its role. A header has its own name.
pub(in crate::cli::simulate) fn operator(text: &str) -> (String, Role) {
    let open = text.find('(').unwrap_or(text.len());
    let argument = text[open..].split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    let argument = argument.map(|(argument, _)| argument.to_ascii_lowercase()).unwrap_or_default();
    let name = match &text[..open] {
        "REQ" | "REQUEST_HEADER" => {
            let role = match argument.split('?').next().unwrap_or_default() {
                ":method" => Role::Method,
                "x-envoy-original-path" => Role::Path(0),
                ":path" => Role::Path(1),
                ":authority" | "host" => Role::Host,
                ":scheme" => Role::Scheme,
                name => Role::Header(name.as_bytes().into()),
            };
            let name = argument.split('?').next().unwrap_or_default().to_owned();
            return (name, role);
        }
        operator => operator.to_ascii_lowercase(),
    };
    let role = match name.as_str() {
        "start_time" | "start_time_local" => Role::Time(1),
        "protocol" => Role::Protocol,
        "downstream_remote_address" | "downstream_remote_address_without_port" => Role::Address,
        "downstream_peer_uri_san" => Role::Principal,
        "path" => Role::Path(1),
        _ => Role::Other,
    };
    if argument.is_empty() || name.starts_with("start_time") || name == "path" {
        return (name, role);
    }
    (format!("{name}({argument})"), role)
}

/// The only operator of a text such as `%REQ(x-api-key)%`.
pub(in crate::cli::simulate) fn one_operator(text: &str) -> Result<Role, NotAPattern> {
    match parts(text)?.as_slice() {
        [Part::Operator(command)] => Ok(operator(command).1),
        _ => Err(NotAPattern::NotOneOperator),
    }
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, NotAPattern> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let Some(percent) = rest.find('%') else {
            parts.push(Part::Text(rest));
            break;
        };
        if percent > 0 {
            parts.push(Part::Text(&rest[..percent]));
        }
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            parts.push(Part::Text("%"));
            rest = after;
            continue;
        }
        let unclosed = || NotAPattern::Unclosed(format!("%{}", rest.chars().take(20).collect::<String>()));
        // The argument of START_TIME has percent signs of its own.
        let open = rest.find('(').filter(|open| rest.find('%').is_none_or(|percent| *open < percent));
        let from = open.map_or(Some(0), |open| rest[open..].find(')').map(|close| open + close));
        let from = from.ok_or_else(unclosed)?;
        let end = rest[from..].find('%').ok_or_else(unclosed)? + from;
        let name = &rest[..open.unwrap_or(end)];
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_uppercase() || b"_:0123456789".contains(&byte))
        {
            return Err(unclosed());
        }
        parts.push(Part::Operator(&rest[..end]));
        rest = &rest[end + 1..];
    }
    Ok(parts)
}

// === impl Pattern ===

impl Pattern {
    pub(in crate::cli::simulate) fn new(text: &str, names: &mut Names) -> Result<Pattern, NotAPattern> {
        let mut pattern = Pattern { before: Vec::new(), fields: Vec::new() };
        let (mut has_time, mut previous) = (false, None);
        let text = text.strip_suffix("\\n").unwrap_or(text).trim_end_matches('\n');
        for part in parts(text)? {
            match part {
                Part::Text(text) => {
                    let end = pattern.fields.last_mut().map_or(&mut pattern.before, |(_, end)| end);
                    end.extend_from_slice(text.as_bytes());
                    previous = None;
                }
                Part::Operator(command) => {
                    if let Some(previous) = previous.replace(command) {
                        return Err(NotAPattern::Adjacent(previous.to_owned()));
                    }
                    let (name, role) = operator(command);
                    has_time |= matches!(role, Role::Time(_)) || names.is_told_time(&name);
                    pattern.fields.push((names.add_or_known(&name, role), Vec::new()));
                }
            }
        }
        match pattern.fields.is_empty() {
            true => Err(NotAPattern::NoOperator),
            false if !has_time => Err(NotAPattern::NoTime),
            false => Ok(pattern),
        }
    }

    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = usize> {
        self.fields.iter().map(|(name, _)| *name)
    }

    /// Adds the fields of a line, or says at which byte it differs from the pattern.
    pub(super) fn read(&self, line: &[u8], fields: &mut Fields) -> Result<(), usize> {
        let mut at = self.before.len();
        if !line.starts_with(&self.before) {
            return Err(1);
        }
        for (name, end) in &self.fields {
            let rest = &line[at..];
            let length = if end.is_empty() { Some(rest.len()) } else { find(rest, end) };
            let length = length.ok_or(at + 1)?;
            fields.put(*name, &rest[..length]);
            at += length + end.len();
        }
        if at == line.len() { Ok(()) } else { Err(at + 1) }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let (first, rest) = part.split_first()?;
    let starts = text.iter().enumerate().filter(|(_, byte)| *byte == first).map(|(at, _)| at);
    starts.into_iter().find(|at| text[at + 1..].starts_with(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "[2016-04-15T20:17:00.310Z] \"POST /api/v1?x=1 HTTP/2\" 204 - 154 0 226 100 \"10.0.35.28\" \
        \"nsq2http\" \"cc21d9b0-cf5c\" \"locations\" \"tcp://10.0.2.1:80\"";

    #[test]
    fn a_line_of_the_default_format_says_method_path_host_and_address() {
        let mut names = Names::default();
        let pattern = Pattern::new(ENVOY_DEFAULT, &mut names).unwrap();
        let mut fields = Fields::default();
        pattern.read(LINE.as_bytes(), &mut fields).unwrap();
        fields.request(&names, |request| {
            assert_eq!((request.method, request.path), (&b"POST"[..], &b"/api/v1?x=1"[..]));
            assert_eq!((request.host, request.protocol), (&b"locations"[..], &b"HTTP/2"[..]));
            assert_eq!(request.remote_address, Some("10.0.35.28".parse().unwrap()));
        });
        assert_eq!(fields.time(&names), Some(&b"2016-04-15T20:17:00.310Z"[..]));
        for broken in ["", "[", "2016", &LINE[..60], &format!("{LINE} more")] {
            let mut fields = Fields::default();
            assert!(pattern.read(broken.as_bytes(), &mut fields).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn an_operator_may_have_percent_signs_in_its_argument_and_a_length() {
        let mut names = Names::default();
        let text = "%START_TIME(%s.%3f)% 100%% %REQ(X-API-KEY):8% %DYNAMIC_METADATA(a:b)%\\n";
        let pattern = Pattern::new(text, &mut names).unwrap();
        let mut fields = Fields::default();
        pattern.read(b"1795867200.123 100% abc d", &mut fields).unwrap();
        assert_eq!(names.list(), "none");
        pattern.names().for_each(|name| names.see(name));
        assert_eq!(names.list(), "start_time, x-api-key, dynamic_metadata(a:b)");
        assert_eq!(fields.get(names.known("x-api-key").unwrap()), Some(&b"abc"[..]));
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        let error = |text| Pattern::new(text, &mut Names::default()).unwrap_err();
        assert_eq!(error("abc"), NotAPattern::NoOperator);
        assert_eq!(error("%PROTOCOL%"), NotAPattern::NoTime);
        assert_eq!(error("%START_TIME%%PROTOCOL%"), NotAPattern::Adjacent("START_TIME".to_owned()));
        assert_eq!(error("%START_TIME"), NotAPattern::Unclosed("%START_TIME".to_owned()));
        assert_eq!(error("%START_TIME(%s"), NotAPattern::Unclosed("%START_TIME(%s".to_owned()));
        assert_eq!(error("50% off %START_TIME%"), NotAPattern::Unclosed("% off %START_TIME%".to_owned()));
    }
}
