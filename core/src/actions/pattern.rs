//! Regular expressions with the meaning that they have in Envoy, which uses RE2 in its Latin-1 mode.
//!
//! Envoy therefore matches bytes: `.` is one byte, `é` in a pattern is the two bytes of its UTF-8 encoding, and a
//! class such as `\pL` covers the first 256 characters of Unicode. The crate `regex` does the same with its Unicode
//! mode off, after a translation of the syntax. (`regex-lite` would be smaller, but it matches valid UTF-8 only.)
//! Both RE2 and `regex` take linear time.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

/// The largest size of a compiled pattern, in bytes.
const MOST: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("not a regular expression: {0}")]
    Syntax(String),
    #[error("the flag '{0}' does not exist in Envoy's regular expressions")]
    Flag(char),
    #[error("'\\{0}' is not known in regular expressions here")]
    Escape(String),
    #[error("the regular expression is too large")]
    TooLarge,
}

#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

// === impl Pattern ===

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// A pattern that must match the whole value.
    pub(super) fn full(text: &str) -> Result<Pattern, PatternError> {
        let translated = Translation::translate(text)?;
        // Checked alone first: inside the group below, a surplus parenthesis would end the group.
        compile(&translated)?;
        compile(&format!(r"\A(?:{translated})\z")).map(Pattern)
    }

    /// A pattern that matches each value that contains `text`. Only the case of ASCII letters is ever ignored.
    pub(super) fn containing(text: &str, ignore_case: bool) -> Result<Pattern, PatternError> {
        let mut pattern = String::from(if ignore_case { "(?i)" } else { "" });
        text.bytes().for_each(|byte| put_byte(&mut pattern, byte));
        compile(&pattern).map(Pattern)
    }

    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }
}

fn put_byte(pattern: &mut String, byte: u8) {
    write!(pattern, r"\x{byte:02x}").expect("a string takes everything");
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(MOST).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        // The last line of the text names the mistake; the lines before it draw the pattern.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            PatternError::Syntax(last.trim_start_matches("error: ").to_owned())
        }
    })
}

// === Translation ===

/// The translation from RE2's syntax to that of the crate.
#[derive(Debug, Default)]
struct Translation {
    text: String,
    /// Whether the position is between brackets.
    is_class: bool,
}

impl Translation {
    fn translate(pattern: &str) -> Result<String, PatternError> {
        let mut translation = Translation::default();
        let mut rest = pattern;
        while let Some(letter) = rest.chars().next() {
            let length = if letter == '\\' {
                1 + translation.escape(&rest[1..])?
            } else if translation.is_class {
                translation.in_class(letter, rest)
            } else {
                translation.outside(letter, rest)?
            };
            rest = &rest[length..];
        }
        Ok(translation.text)
    }

    /// Translates the text after a backslash. Like its siblings, it returns the number of bytes it has read.
    fn escape(&mut self, rest: &str) -> Result<usize, PatternError> {
        let Some(letter) = rest.chars().next() else {
            self.text.push('\\');
            return Ok(0);
        };
        let class = match letter {
            // RE2 does not count the vertical tab.
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'd' => r"\d",
            'D' => r"\D",
            'w' => r"\w",
            'W' => r"\W",
            // Plain characters in RE2, word boundaries in the crate.
            '<' => "<",
            '>' => ">",
            'p' | 'P' => return self.category(rest),
            'x' if rest[1..].starts_with('{') => return self.byte(rest),
            'u' | 'U' | 'R' | 'X' | 'h' | 'H' | 'N' | 'K' | 'Q' | 'E' | 'C' | 'k' | 'G' | 'Z' => {
                return Err(PatternError::Escape(letter.to_string()));
            }
            _ => {
                self.text.push_str(if letter.is_ascii() { r"\" } else { "" });
                self.put(letter);
                let length = letter.len_utf8();
                return Ok(length + self.range_to_dash(&rest[length..]));
            }
        };
        self.text.push_str(class);
        Ok(1)
    }

    /// Translates `pL` or `p{Greek}` to a class of those of the first 256 characters that belong to the category.
    fn category(&mut self, rest: &str) -> Result<usize, PatternError> {
        let mut letters = rest.char_indices().skip(1);
        let ends = |&(_, letter): &(usize, char)| !rest[1..].starts_with('{') || letter == '}';
        let length = letters.find(ends).map_or(rest.len(), |(at, letter)| at + letter.len_utf8());
        let name = &rest[..length];
        let unknown = || PatternError::Escape(name.to_owned());
        if !name.is_ascii() {
            return Err(unknown());
        }
        let category = regex::Regex::new(&format!(r"^\{name}$")).or(Err(unknown()))?;
        let bytes =
            (0..=u8::MAX).filter(|&byte| category.is_match(char::from(byte).encode_utf8(&mut [0; 4])));
        let mut class = String::new();
        bytes.for_each(|byte| put_byte(&mut class, byte));
        // The crate refuses an empty class, but not an empty intersection.
        write!(self.text, "[{}]", if class.is_empty() { "a&&b" } else { &class })
            .expect("a string takes everything");
        Ok(length)
    }

    /// Translates `x{e9}`.
    fn byte(&mut self, rest: &str) -> Result<usize, PatternError> {
        let length = rest.find('}').map_or(rest.len(), |end| end + 1);
        let digits = rest.get(2..length - 1).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16).or(Err(PatternError::Escape(rest[..length].to_owned())))?;
        put_byte(&mut self.text, byte);
        Ok(length)
    }

    /// Appends a character; beyond ASCII, the bytes of its UTF-8 encoding.
    fn put(&mut self, letter: char) {
        if letter.is_ascii() {
            self.text.push(letter);
        } else {
            letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| put_byte(&mut self.text, byte));
        }
    }

    fn outside(&mut self, letter: char, rest: &str) -> Result<usize, PatternError> {
        if letter == '(' && rest.starts_with("(?") && !rest.starts_with("(?P<") && !rest.starts_with("(?<") {
            let mut flags = rest[2..].chars().take_while(|&letter| letter != ':' && letter != ')');
            if let Some(unknown) = flags.find(|flag| !"imsU-".contains(*flag)) {
                return Err(PatternError::Flag(unknown));
            }
        }
        if letter == '{' && !is_repetition(&rest[1..]) {
            self.text.push('\\');
        }
        self.put(letter);
        if letter != '[' {
            return Ok(letter.len_utf8());
        }
        self.is_class = true;
        // A closing bracket is a plain character at the start of a class, also after `^`.
        let start = &rest[1..];
        let negated = start.strip_prefix('^');
        self.text.push_str(if negated.is_some() { "^" } else { "" });
        let closes = negated.unwrap_or(start).starts_with(']');
        self.text.push_str(if closes { r"\]" } else { "" });
        Ok(1 + usize::from(negated.is_some()) + usize::from(closes))
    }

    fn in_class(&mut self, letter: char, rest: &str) -> usize {
        if rest.starts_with("[:")
            && let Some(end) = rest.find(":]")
        {
            self.text.push_str(&rest[..end + 2]);
            return end + 2;
        }
        let doubled = ["&&", "--", "~~"].iter().any(|doubled| rest.starts_with(doubled));
        if letter == '[' || doubled {
            self.text.push('\\');
        }
        self.put(letter);
        self.is_class = letter != ']';
        letter.len_utf8() + self.range_to_dash(&rest[letter.len_utf8()..])
    }

    /// Translates the rest of a range between brackets that ends with `-`, such as `+--`.
    fn range_to_dash(&mut self, rest: &str) -> usize {
        if !self.is_class || !rest.starts_with("--") {
            return 0;
        }
        self.text.push_str(r"-\-");
        2
    }
}

/// Whether the text after a `{` makes it a repetition. In RE2 anything else, such as `{,3}`, is plain text.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty() && [least, most].iter().all(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
