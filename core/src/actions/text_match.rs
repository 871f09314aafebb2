//! Envoy's StringMatcher.

use super::{ActionError, PatternError, Problem, pattern::Pattern};

/// A matcher as written in a file. Only the case of ASCII letters is ever ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatchSpec {
    Exact {
        text: String,
        ignore_case: bool,
    },
    Prefix {
        text: String,
        ignore_case: bool,
    },
    Suffix {
        text: String,
        ignore_case: bool,
    },
    Contains {
        text: String,
        ignore_case: bool,
    },
    /// `safe_regex`. In Envoy `ignore_case` has no effect on it.
    Regex(String),
}

/// A checked matcher. It takes time linear in the value.
#[derive(Debug, Clone, PartialEq)]
pub struct TextMatch(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    ExactIgnoringCase(Box<[u8]>),
    PrefixIgnoringCase(Box<[u8]>),
    SuffixIgnoringCase(Box<[u8]>),
    Pattern(Pattern),
}

// === impl TextMatch ===

impl TextMatch {
    /// Fails, as Envoy does, on an empty text that would match everything and on an invalid regular expression.
    pub fn new(spec: &TextMatchSpec) -> Result<TextMatch, ActionError> {
        let kind = match spec {
            TextMatchSpec::Exact { text, ignore_case: false } => Kind::Exact(bytes(text)),
            TextMatchSpec::Exact { text, ignore_case: true } => Kind::ExactIgnoringCase(bytes(text)),
            TextMatchSpec::Prefix { text, ignore_case: false } => Kind::Prefix(filled("prefix", text)?),
            TextMatchSpec::Prefix { text, ignore_case: true } => {
                Kind::PrefixIgnoringCase(filled("prefix", text)?)
            }
            TextMatchSpec::Suffix { text, ignore_case: false } => Kind::Suffix(filled("suffix", text)?),
            TextMatchSpec::Suffix { text, ignore_case: true } => {
                Kind::SuffixIgnoringCase(filled("suffix", text)?)
            }
            TextMatchSpec::Contains { text, ignore_case } => {
                filled("contains", text)?;
                Kind::Pattern(Pattern::containing(text, *ignore_case).map_err(pattern("contains"))?)
            }
            TextMatchSpec::Regex(text) => {
                filled("safe_regex", text)?;
                Kind::Pattern(Pattern::full(text).map_err(pattern("safe_regex"))?)
            }
        };
        Ok(TextMatch(kind))
    }

    /// The only value that matches, if there is only one.
    pub(super) fn exact(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Exact(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_match(&self, value: &[u8]) -> bool {
        match &self.0 {
            Kind::Exact(text) => value == &**text,
            Kind::Prefix(text) => value.starts_with(text),
            Kind::Suffix(text) => value.ends_with(text),
            Kind::ExactIgnoringCase(text) => value.eq_ignore_ascii_case(text),
            Kind::PrefixIgnoringCase(text) => {
                value.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
            }
            Kind::SuffixIgnoringCase(text) => {
                let start = value.len().checked_sub(text.len());
                start.is_some_and(|start| value[start..].eq_ignore_ascii_case(text))
            }
            Kind::Pattern(pattern) => pattern.is_match(value),
        }
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn filled(field: &'static str, text: &str) -> Result<Box<[u8]>, ActionError> {
    if text.is_empty() { Err(ActionError::new(field, Problem::Empty)) } else { Ok(bytes(text)) }
}

fn pattern(field: &'static str) -> impl Fn(PatternError) -> ActionError {
    move |error| ActionError::new(field, error)
}
