//! The errors of one file while it is checked, and the words for a place in it.

mod notes;

use std::{borrow::Cow, fmt, path::PathBuf};

use notes::Notes;

use super::error::{ConfigError, Position, Problem};
use tollgate_core::limit::LimitError;

/// The most characters of a file's own text, or of a place, that a message repeats.
const MAX_QUOTE: usize = 60;

/// In place of a value with an error, which is reported already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

pub(super) struct Report {
    file: PathBuf,
    text: Option<String>,
    /// The numbers of its lines are those of the maps of a message.
    is_message: bool,
    errors: Notes,
    warnings: Notes,
}

/// The way from the root to a map, as messages show it: `edge.descriptors[2].rate_limit`.
pub(super) enum Place<'a> {
    Root,
    Domain(&'a str),
    Key(&'a Place<'a>, &'static str),
    Item(&'a Place<'a>, &'static str, usize),
    /// A name from the file.
    Name(&'a Place<'a>, &'a str),
    Nth(&'a Place<'a>, usize),
}

// === impl Report ===

impl Report {
    pub(super) fn new(file: PathBuf) -> Report {
        let (errors, warnings) = (Notes::default(), Notes::default());
        Report { file, text: None, is_message: false, errors, warnings }
    }

    pub(super) fn of_message(domain: PathBuf) -> Report {
        Report { is_message: true, ..Report::new(domain) }
    }

    /// Notes an error about the file, or about one position in it.
    pub(super) fn note(&mut self, at: Option<Position>, problem: Problem) -> Reported {
        self.errors.add(ConfigError { file: self.file.clone(), at, problem });
        Reported
    }

    pub(super) fn refuse(
        &mut self,
        at: Position,
        place: &Place<'_>,
        message: fmt::Arguments<'_>,
    ) -> Reported {
        let place = self.shown(place);
        let colon = if place.is_empty() { "" } else { ": " };
        self.note(Some(at), Problem::Refused(format!("{place}{colon}{message}")))
    }

    /// Notes a warning: legal, but probably a mistake.
    pub(super) fn warn(&mut self, at: Position, place: &Place<'_>, message: fmt::Arguments<'_>) {
        let place = self.shown(place);
        let colon = if place.is_empty() { "" } else { ": " };
        let problem = Problem::Warning(format!("{place}{colon}{message}"));
        self.warnings.add(ConfigError { file: self.file.clone(), at: Some(at), problem });
    }

    pub(super) fn refuse_limit(&mut self, at: Position, place: &Place<'_>, source: LimitError) -> Reported {
        self.note(Some(at), Problem::Limit { place: self.shown(place), source })
    }

    /// The place in messages. A message's maps are named by whoever numbered them, so only what is below them is left.
    fn shown(&self, place: &Place<'_>) -> String {
        let whole = if self.is_message { place.below_descriptors() } else { place.to_string() };
        cut(&whole).into_owned()
    }

    /// Where another rule stands, to follow its name: ` at line 7`. Empty for a message, whose rules have names alone.
    pub(super) fn line(&self, at: Position) -> String {
        if self.is_message { String::new() } else { format!(" at line {}", at.line) }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors.is_any()
    }

    /// Keeps the text of the file, so that messages can show lines of it.
    pub(super) fn keep(&mut self, text: String) {
        self.text = Some(text);
    }

    /// The position where the file stops being valid YAML.
    pub(super) fn syntax_error_at(&self) -> Option<Position> {
        self.errors.find(|error| matches!(error.problem, Problem::Syntax(_)))?.at
    }

    pub(super) fn take_text(&mut self) -> Option<(PathBuf, String)> {
        Some((self.file.clone(), self.text.take()?))
    }

    /// The warnings by position, and last the number of further ones.
    pub(super) fn take_warnings(&mut self) -> Vec<ConfigError> {
        let (mut warnings, more) = self.warnings.take();
        if more > 0 {
            let problem = Problem::MoreWarnings(more);
            warnings.push(ConfigError { file: self.file.clone(), at: None, problem });
        }
        warnings
    }

    /// The errors by position, those about the whole file first, and last the number of further ones.
    pub(super) fn into_errors(mut self) -> Vec<ConfigError> {
        let (mut errors, more) = self.errors.take();
        if more > 0 {
            let problem = Problem::More(more);
            errors.push(ConfigError { file: self.file, at: None, problem });
        }
        errors
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    /// The path of the map that contains this one; the root's own for the root.
    pub(super) fn parent(&'a self) -> &'a Place<'a> {
        match self {
            Place::Root | Place::Domain(_) => self,
            Place::Key(parent, _)
            | Place::Item(parent, ..)
            | Place::Name(parent, _)
            | Place::Nth(parent, _) => parent,
        }
    }
}

impl Place<'_> {
    /// The last part of the path, which is not an item of `descriptors`: `rate_limit`.
    fn below_descriptors(&self) -> String {
        match self {
            Place::Root | Place::Domain(_) | Place::Item(_, "descriptors", _) => String::new(),
            Place::Key(parent, key) => joined(parent.below_descriptors(), key),
            Place::Item(parent, key, index) => joined(parent.below_descriptors(), &format!("{key}[{index}]")),
            Place::Name(parent, name) => joined(parent.below_descriptors(), &shorten(name)),
            Place::Nth(parent, index) => format!("{}[{index}]", parent.below_descriptors()),
        }
    }

    /// Whether the place is within an item of the list of that name.
    pub(super) fn is_below(&self, list: &str) -> bool {
        match self {
            Place::Root | Place::Domain(_) => false,
            Place::Item(_, key, _) if *key == list => true,
            Place::Key(parent, _)
            | Place::Item(parent, ..)
            | Place::Name(parent, _)
            | Place::Nth(parent, _) => parent.is_below(list),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parent, key) = match self {
            Place::Root => return Ok(()),
            Place::Domain(name) => return f.write_str(&shorten(name)),
            Place::Key(parent, key) | Place::Item(parent, key, _) => (parent, key),
            Place::Name(parent, name) => return write!(f, "{parent}.{}", shorten(name)),
            Place::Nth(parent, index) => return write!(f, "{parent}[{index}]"),
        };
        if !matches!(parent, Place::Root | Place::Domain("")) {
            write!(f, "{parent}.")?;
        }
        f.write_str(key)?;
        if let Place::Item(.., index) = self {
            write!(f, "[{index}]")?;
        }
        Ok(())
    }
}

fn joined(parent: String, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { parent + "." + key }
}

/// Text of a file for one line of a message: shortened if it is long, with unprintable characters escaped.
pub(crate) fn shorten(text: &str) -> String {
    let mut line = String::new();
    for character in cut(text).chars() {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

/// The text without its middle if it is long: two places differ at their ends.
fn cut(text: &str) -> Cow<'_, str> {
    let half = MAX_QUOTE / 2;
    let head = text.char_indices().nth(half).map(|(index, _)| index);
    let tail = text.char_indices().nth_back(half - 1).map(|(index, _)| index);
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => Cow::Owned(format!("{}…{}", &text[..head], &text[tail..])),
        _ => Cow::Borrowed(text),
    }
}
