//! What is wrong with the configuration: every error, each with its place in its file.

use std::{error::Error, fmt, path::PathBuf};

use thiserror::Error;

use super::text::Encoding;
use crate::{error, file::ReadError};
use tollgate_core::limit::LimitError;

/// Where something stands in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// All that is wrong, by file in the order given and then by position. Never empty.
///
/// Displays as one line per error, `file:line:column: message`, without a last line break.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

/// One error. Without a position it is about the file as a whole.
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
    #[error("this is no text in {0}; save the file as UTF-8")]
    NotText(Encoding),
    #[error("not valid YAML: {0}")]
    Syntax(String),
    #[error("{place}")]
    Limit { place: String, source: LimitError },
    #[error("{0}")]
    Refused(String),
    /// Legal, and surely not meant.
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

    /// How many it stands for.
    pub fn count(&self) -> usize {
        match self {
            Problem::More(more) | Problem::MoreWarnings(more) => *more,
            _ => 1,
        }
    }

    /// Whether it tells how many more there are, which comes last.
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

    /// The system did not give a file, which it may do the next time though the file stays the same.
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

/// With its causes: a list of errors has no single chain that `main` could print.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", error::chain(&self.problem))
    }
}
