//! The parser's errors in plain words: what is wrong, the usual cause, and what to write instead.

use granit_parser::ErrorKind;

use super::{SyntaxError, too_deep, unsupported};
use crate::config::Position;

const TAB: &str = "a tab cannot indent a line, nor begin one within `[` or `{`; use spaces";
const INDENTATION: &str = "the indentation does not fit the lines around it";
const BLANK: &str = "a space is missing here";
const ESCAPE: &str = "this text in double quotes has a `\\` that begins no escape (such as \\n, \\x41); use single quotes, or write \\\\";
const DIRECTIVE: &str =
    "a line that begins with `%` is a directive, and this one is wrong; leave it out, or quote the text";
const LEFT_OPEN: &str = "the file ends within a list or a map";

/// The position of the error, and the words for it.
pub(super) fn explain(kind: &ErrorKind, at: Position, text: &str) -> SyntaxError {
    let place = Place::new(at, text);
    match kind {
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => SyntaxError { at: place.tab(), message: TAB.to_owned() },
        ErrorKind::InvalidBlockEntryWhitespace => told(place.tab(), "a tab follows the `-`; use spaces"),
        ErrorKind::InvalidMappingValueWhitespace => told(place.tab(), "a tab follows the `:`; use spaces"),
        kind => {
            let message = of_several(kind, &place)
                .or_else(|| of_structure(kind, &place))
                .or_else(|| of_text(kind).map(ToOwned::to_owned));
            // These are about input that is not text, which this is.
            let message = message
                .unwrap_or_else(|| "this is not allowed here; also check what comes before it".to_owned());
            SyntaxError { at, message }
        }
    }
}

fn told(at: Position, message: &str) -> SyntaxError {
    SyntaxError { at, message: message.to_owned() }
}

/// Kinds of error that have one cause for each character.
fn of_several(kind: &ErrorKind, place: &Place<'_>) -> Option<String> {
    Some(match kind {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UnclosedFlowCollection { open } => format!("the `{open}` is never closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            format!("the `{open}` is closed by `{close}`")
        }
        ErrorKind::UnexpectedCharacter { character: '\0' } => {
            "a NUL byte is not allowed in YAML; is this UTF-16 without its byte order mark? save it as UTF-8"
                .to_owned()
        }
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => format!(
            "the control character {} is not allowed in YAML; remove it, or write it as \"\\x{:02x}\" in \
                 double quotes",
            character.escape_unicode(),
            u32::from(*character)
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            format!("`{}` cannot start a text; quote it", character.escape_debug())
        }
        ErrorKind::MissingAnchorOrAliasName => match place.letter {
            Some('&') => "quote a text that begins with `&`; as it stands it names an anchor".to_owned(),
            _ => "quote a text that begins with `*`; as it stands it is an alias".to_owned(),
        },
        ErrorKind::MisplacedFlowCollectionEnd => match place.letter {
            Some(close) => format!("the `{close}` has no opening bracket; quote a text that begins with it"),
            None => "a closing bracket has no opening one".to_owned(),
        },
        ErrorKind::UndeclaredTagHandle
        | ErrorKind::ExpectedTagBang
        | ErrorKind::InvalidGlobalTagCharacter
        | ErrorKind::InvalidTagTerminator
        | ErrorKind::MissingTagUri
        | ErrorKind::UnclosedVerbatimTag
        | ErrorKind::InvalidTagEscape
        | ErrorKind::InvalidTagUtf8LeadingByte
        | ErrorKind::InvalidTagUtf8TrailingByte
        | ErrorKind::InvalidTagUtf8 => unsupported(),
        _ => return None,
    })
}

/// Errors about keys, lists and maps.
fn of_structure(kind: &ErrorKind, place: &Place<'_>) -> Option<String> {
    let words = match kind {
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnexpectedEofBlockSequence
        | ErrorKind::UnexpectedEofBlockMapping
        | ErrorKind::UnexpectedEof
        | ErrorKind::ExpectedNodeContent => match place.letter {
            Some(letter @ (',' | ']' | '}')) => {
                return Some(format!(
                    "a value is missing before the `{letter}`; quote a text that begins with it"
                ));
            }
            Some(_) => "a value is missing before this",
            None => LEFT_OPEN,
        },
        ErrorKind::ExpectedDocumentStart => place.second_value(),
        ErrorKind::InvalidIndentation => INDENTATION,
        ErrorKind::ExpectedBlockMappingKey if place.begins_its_line() => INDENTATION,
        ErrorKind::ExpectedBlockMappingKey => {
            "what comes before this on its line is complete; quote the whole text, or begin a new line"
        }
        ErrorKind::ExpectedBlockSequenceEntry => "a `- ` was expected here, as in the lines before it",
        ErrorKind::BlockSequenceEntryNotAllowed => {
            "a list cannot begin here; begin it on the next line, or quote a text that begins with `- `"
        }
        ErrorKind::BlockEntryInFlowCollection => {
            "`- ` is not allowed within `[` or `{`: is one before it not closed? commas separate items, \
                 and a text that begins with `- ` is quoted"
        }
        ErrorKind::ExpectedFlowMappingSeparator => {
            "a `,` or the closing `}` was expected here; quote a text that holds `: `"
        }
        ErrorKind::ExpectedFlowSequenceSeparator => "a `,` or the closing `]` was expected here",
        ErrorKind::InvalidColonPlacement => {
            "a `key: value` is not allowed here; is a `[` or `{` before it not closed?"
        }
        ErrorKind::FlowMappingValueAdjacentCollection => "a space is missing after the `:`",
        ErrorKind::MappingValueNotAllowed => {
            "a `key: value` is not allowed here; check the indentation, and that the key on the line \
                 before has its `: `, or quote a text that holds `: `"
        }
        ErrorKind::MappingKeyNotAllowed => "`? ` is not allowed here; quote a text that begins with it",
        ErrorKind::SimpleKeyExpected => {
            "a `key: value` was expected here; is the `:` missing, or the space after it?"
        }
        ErrorKind::InvalidSimpleKey => "a key must be followed by its `:` on the same line",
        ErrorKind::UnknownAnchor => {
            "no anchor of that name comes before this alias; quote a text that begins with `*`"
        }
        ErrorKind::InvalidFlowScalarIndent => {
            "the content of `[` or `{` must be indented deeper than its key"
        }
        ErrorKind::InvalidDocumentEnd => "nothing but a comment can follow `...` on its line",
        _ => return None,
    };
    Some(words.to_owned())
}

/// Errors about texts, comments and directives.
fn of_text(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::UnclosedQuotedScalar => "the quote that opens here is never closed",
        ErrorKind::DocumentIndicatorInQuotedScalar => {
            "the quote that opens here is not closed before a line that begins with `---` or `...`"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar => {
            "the text in quotes ends before this; put all of it in quotes, and write '' for a ' in it"
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "the text in quotes ends before this; put all of it in quotes, and write \\\" for a \" in it"
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            "the lines of a text in quotes must be indented deeper than its key"
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate
        | ErrorKind::InvalidUnicodeEscape => ESCAPE,
        ErrorKind::InvalidBlockScalarHeader => {
            "`|` and `>` begin a text on the next lines; quote a text that begins with one of them"
        }
        ErrorKind::ZeroBlockScalarIndent => "the number after `|` or `>` must be from 1 to 9; leave it out",
        ErrorKind::InvalidBlockScalarIndent => {
            "a blank line at the beginning of the text after `|` or `>` is indented deeper than the text"
        }
        ErrorKind::PlainScalarStartsWithDashFlowIndicator => {
            "a text cannot begin with `-` and one of `,[]{}`; quote it"
        }
        ErrorKind::UnexpectedEndOfPlainScalar | ErrorKind::ExpectedWhitespace => BLANK,
        ErrorKind::CommentInterceptedScalar => {
            "a comment is not allowed within a text of several lines; quote a text that holds ` #`"
        }
        ErrorKind::CommentNotSeparated => "a comment needs a space before its `#`",
        ErrorKind::BomInsideDocument => "a byte order mark is inside the file; remove it",
        ErrorKind::UnsupportedYamlMajorVersion
        | ErrorKind::DuplicateVersionDirective
        | ErrorKind::DuplicateTagDirective
        | ErrorKind::MissingDocumentEndBeforeDirective
        | ErrorKind::ExpectedTagDirectiveBang
        | ErrorKind::InvalidDirectiveTerminator
        | ErrorKind::DirectiveDisallowed
        | ErrorKind::MissingYamlVersionSeparator
        | ErrorKind::MissingDirectiveName
        | ErrorKind::InvalidDirectiveName
        | ErrorKind::DirectiveByteLimitExceeded { .. }
        | ErrorKind::TooManyReservedDirectiveParams { .. }
        | ErrorKind::YamlVersionTooLong
        | ErrorKind::MissingYamlVersion
        | ErrorKind::InvalidTagDirectiveTerminator => DIRECTIVE,
        _ => return None,
    })
}

// === Place ===

/// A position in a file, with the text around it.
struct Place<'a> {
    at: Position,
    text: &'a str,
    /// The text before it on its line.
    before: &'a str,
    /// The character there; none at the end of the file.
    letter: Option<char>,
}

impl<'a> Place<'a> {
    fn new(at: Position, text: &'a str) -> Place<'a> {
        let line = text.lines().nth(at.line - 1).unwrap_or_default();
        let column = line.char_indices().nth(at.column - 1).map_or(line.len(), |(index, _)| index);
        let (before, rest) = line.split_at(column);
        let is_last = text.lines().nth(at.line).is_none();
        let line_end = if is_last { None } else { Some('\n') };
        Place { at, text, before, letter: rest.chars().next().or(line_end) }
    }

    fn begins_its_line(&self) -> bool {
        self.before.trim_matches([' ', '-']).is_empty()
    }

    /// Whether a tab is just before the position or at it, or else at the beginning of one of the next lines.
    fn tab(&self) -> Position {
        if self.before.ends_with('\t') {
            return Position { line: self.at.line, column: self.at.column - 1 };
        }
        let lines = self.text.lines().enumerate().skip(self.at.line);
        let mut tabs = lines.filter_map(|(index, line)| {
            let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
            let column = line[..blanks].find('\t')? + 1;
            Some(Position { line: index + 1, column })
        });
        let is_here = self.letter == Some('\t');
        if is_here { self.at } else { tabs.next().unwrap_or(self.at) }
    }

    /// Why something follows what the parser took for the whole file.
    fn second_value(&self) -> &'static str {
        let mut lines = self.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let first = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        if first.starts_with('%') {
            "a line `---` must come between the lines that begin with `%` and the rest"
        } else if first.starts_with([' ', '\t']) {
            "the first line of the file is indented, and this one is not; begin all keys of the file in one column"
        } else if self.text.contains("{{") {
            "what comes before this is complete; is the file a template that was not rendered?"
        } else {
            "what comes before this is complete, and one file holds one map; check the indentation and \
                 the brackets before it"
        }
    }
}
