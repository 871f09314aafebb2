//! Envoy's HeaderMatcher.

use super::{ActionError, HttpRequest, Problem, TextMatch, TextMatchSpec, request::HeaderName};

/// A matcher as written in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatchSpec {
    pub name: String,
    pub test: HeaderTest,
    pub invert_match: bool,
    pub treat_missing_header_as_empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTest {
    /// `present_match`. A matcher that has only a name means true.
    Present(bool),
    /// `range_match`. The end is not part of the range.
    Range { start: i64, end: i64 },
    /// The older `exact_match`. An empty text matches every value.
    ExactMatch(String),
    /// `string_match`, and the older `prefix_match`, `suffix_match`, `contains_match` and `safe_regex_match`.
    Text(TextMatchSpec),
}

#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatch {
    name: HeaderName,
    test: Test,
    is_inverted: bool,
    takes_missing_as_empty: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Present(bool),
    /// Matches every value of a header that is there.
    Any,
    Range {
        start: i64,
        end: i64,
    },
    Text(TextMatch),
}

// === impl HeaderMatch ===

impl HeaderMatch {
    pub fn new(spec: &HeaderMatchSpec) -> Result<HeaderMatch, ActionError> {
        let test = match &spec.test {
            HeaderTest::Present(present) => Test::Present(*present),
            HeaderTest::ExactMatch(text) if text.is_empty() => Test::Any,
            HeaderTest::ExactMatch(text) => {
                let spec = TextMatchSpec::Exact { text: text.clone(), ignore_case: false };
                Test::Text(TextMatch::new(&spec)?)
            }
            HeaderTest::Range { start, end } => Test::Range { start: *start, end: *end },
            HeaderTest::Text(text) => Test::Text(TextMatch::new(text)?),
        };
        Ok(HeaderMatch {
            name: header_name("name", &spec.name)?,
            test,
            is_inverted: spec.invert_match,
            takes_missing_as_empty: spec.treat_missing_header_as_empty,
        })
    }

    /// A repeated header matches if one of its lines does. A missing header matches no test of a value, whether
    /// inverted or not.
    pub fn is_match(&self, request: &HttpRequest<'_>) -> bool {
        let mut lines = request.lines(&self.name).peekable();
        if lines.peek().is_some() {
            return lines.any(|line| self.test.is_match(line)) != self.is_inverted;
        }
        match &self.test {
            test if self.takes_missing_as_empty => test.is_match(b"") != self.is_inverted,
            Test::Present(present) => *present == self.is_inverted,
            Test::Any | Test::Range { .. } | Test::Text(_) => false,
        }
    }

    pub(super) const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Whether a header of this name matches, if that does not depend on its value.
    pub(super) const fn if_present(&self) -> Option<bool> {
        let is_match = match &self.test {
            Test::Present(present) => *present,
            Test::Any => true,
            Test::Range { start, end } if *start >= *end => false,
            Test::Range { .. } | Test::Text(_) => return None,
        };
        Some(is_match != self.is_inverted)
    }
}

impl Test {
    fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Test::Present(present) => *present,
            Test::Any => true,
            Test::Range { start, end } => {
                number(value).is_some_and(|number| (*start..*end).contains(&number))
            }
            Test::Text(text) => text.is_match(value),
        }
    }
}

/// The value as a decimal number, which may have a sign.
fn number(value: &[u8]) -> Option<i64> {
    str::from_utf8(value).ok()?.trim_ascii().parse().ok()
}

pub(super) fn header_name(field: &str, name: &str) -> Result<HeaderName, ActionError> {
    let problem = || {
        let problem = if name.is_empty() { Problem::Empty } else { Problem::HeaderName(name.to_owned()) };
        ActionError::new(field, problem)
    };
    HeaderName::new(name).ok_or_else(problem)
}

#[cfg(test)]
mod tests;
