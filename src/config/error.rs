//! The errors of a configuration, each with its place in its file.

use std::{error::Error, fmt, path::PathBuf};

use thiserror::Error;

use super::text::Encoding;
use crate::{error, file::ReadError};
use tollgate_core::limit::LimitError;

/// A position in a file. Both numbers count from 1, and columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// All errors, by file in the given order and then by position. Never empty.
///
/// Displays one line for each error, `file:line:column: message`, without a final line break.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

/// One error. Without a position, it is about the whole file.
#[derive(Debug)]
pub struct ConfigError {
    pub file: PathBuf,
    pub at: Option<Position>,
    pub problem: Problem,
}

#[derive(Debug, Error)]
pub enum Problem {
    #[error("cannot be read")]
    Unreadable(#[source] ReadError),
    #[error("larger than {} MiB", super::MAX_FILE_BYTES >> 20)]
    TooLarge,
    #[error("this folder has no *.yaml or *.yml file (its subfolders are not read)")]
    EmptyFolder,
    #[error("neither this folder nor any below it has a file")]
    EmptyTree,
    #[error("this is not valid {0}; save it as UTF-8")]
    NotText(Encoding),
    #[error("not valid YAML: {0}")]
    Syntax(String),
    #[error("{place}")]
    Limit { place: String, source: LimitError },
    #[error("{0}")]
    Refused(String),
    /// Legal, but probably a mistake.
    #[error("warning: {0}")]
    Warning(String),
    #[error("{0} more error{s}", s = if *.0 == 1 { "" } else { "s" })]
    More(usize),
    #[error("warning: {0} more warning{s}", s = if *.0 == 1 { "" } else { "s" })]
    MoreWarnings(usize),
}

// === impl Problem ===

impl Problem {
    pub fn is_warning(&self) -> bool {
        matches!(self, Problem::Warning(_) | Problem::MoreWarnings(_))
    }

    /// The number of problems that it stands for.
    pub fn count(&self) -> usize {
        match self {
            Problem::More(more) | Problem::MoreWarnings(more) => *more,
            _ => 1,
        }
    }

    /// Whether it is the last line, with the number of further problems.
    pub fn is_rest(&self) -> bool {
        matches!(self, Problem::More(_) | Problem::MoreWarnings(_))
    }
}

// === impl ConfigErrors ===

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl ConfigErrors {
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether the system could not read a file, so that the next attempt may succeed without a change.
    pub fn may_pass(&self) -> bool {
        self.0.iter().any(|error| matches!(error.problem, Problem::Unreadable(ReadError::System(_))))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl Error for ConfigErrors {}

// === impl ConfigError ===

/// Displays the causes too, because a list of errors has no single chain that `main` could print.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", error::chain(&self.problem))
    }
}
