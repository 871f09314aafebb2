//! Query parameters as Envoy reads them.
//!
//! If a name is repeated, the first parameter counts. Names and values are percent-decoded. `+` stays `+`, and a `%`
//! that is not followed by two hexadecimal digits stays `%`.

use super::{ActionError, Problem, TextMatch, TextMatchSpec, Value, value::Writer};

/// A matcher as written in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatchSpec {
    pub name: String,
    pub test: QueryTest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryTest {
    /// `present_match`. A matcher that has only a name means true.
    Present(bool),
    Text(TextMatchSpec),
}

/// What a list of actions wants of a query parameter, as far as that can be told in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    Present,
    Absent,
    Exactly(&'a [u8]),
}

/// Envoy's QueryParameterMatcher.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMatch {
    name: Box<str>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Present(bool),
    Text(TextMatch),
}

// === impl QueryMatch ===

impl QueryMatch {
    pub fn new(spec: &QueryMatchSpec) -> Result<QueryMatch, ActionError> {
        if spec.name.is_empty() {
            return Err(ActionError::new("name", Problem::Empty));
        }
        let test = match &spec.test {
            QueryTest::Present(present) => Test::Present(*present),
            QueryTest::Text(text) => {
                Test::Text(TextMatch::new(text).map_err(|error| error.below("string_match"))?)
            }
        };
        Ok(QueryMatch { name: (&*spec.name).into(), test })
    }

    /// The parameter's name, and what it must be to match.
    pub(super) fn wanted(&self) -> (&str, Wanted<'_>) {
        let wanted = match &self.test {
            Test::Present(false) => Wanted::Absent,
            Test::Present(true) => Wanted::Present,
            Test::Text(text) => text.exact().map_or(Wanted::Present, Wanted::Exactly),
        };
        (&self.name, wanted)
    }

    /// What it must be to differ, if that can be told.
    pub(super) fn wanted_not(&self) -> Option<(&str, Wanted<'_>)> {
        match &self.test {
            Test::Present(false) => Some((&self.name, Wanted::Present)),
            Test::Present(true) => Some((&self.name, Wanted::Absent)),
            Test::Text(_) => None,
        }
    }

    pub fn is_match(&self, path: &[u8]) -> bool {
        let value = first(path, &self.name);
        match &self.test {
            Test::Present(present) => value.is_some() == *present,
            Test::Text(text) => value.is_some_and(|value| text.is_match(&value)),
        }
    }
}

impl Wanted<'_> {
    /// Whether no parameter is both.
    pub(super) fn excludes(self, other: Wanted<'_>) -> bool {
        match (self, other) {
            (Wanted::Absent, Wanted::Absent) => false,
            (Wanted::Absent, _) | (_, Wanted::Absent) => true,
            (Wanted::Exactly(one), Wanted::Exactly(other)) => one != other,
            _ => false,
        }
    }
}

/// The decoded value of the first parameter of that name.
pub(super) fn first<'a>(path: &'a [u8], name: &str) -> Option<Value<'a>> {
    let start = path.iter().position(|&byte| byte == b'?')? + 1;
    let query = &path[start..];
    for parameter in query.split(|&byte| byte == b'&') {
        let (key, value) = match parameter.iter().position(|&byte| byte == b'=') {
            Some(equal) => (&parameter[..equal], &parameter[equal + 1..]),
            None => (parameter, &b""[..]),
        };
        if decoded(key).eq(name.bytes()) {
            return Some(decode(value));
        }
    }
    None
}

fn decode(value: &[u8]) -> Value<'_> {
    if !value.contains(&b'%') {
        return Value::Borrowed(value);
    }
    let mut text = Writer::default();
    decoded(value).for_each(|byte| text.put_byte(byte));
    text.finish()
}

/// The bytes after percent-decoding.
fn decoded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        let pair = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|[high, low]| {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(digit(*high)? * 16 + digit(*low)?)
        });
        rest = if pair.is_some() { &after[2..] } else { after };
        Some(pair.unwrap_or(byte))
    })
}

#[cfg(test)]
mod tests;
