//! The mistakes that an action in a file can have.

use thiserror::Error;

use super::{FormatError, PatternError};

/// A mistake in one field of an action. The reader of the file adds the place of the action.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct ActionError {
    /// The path of the field below the action, such as `headers[1].safe_regex`.
    pub field: String,
    #[source]
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("is missing or empty")]
    Empty,
    #[error("'{0}' cannot be the name of a header")]
    HeaderName(String),
    #[error("{length} is not a prefix length, which is at most {most}")]
    PrefixLength { length: u32, most: u8 },
    #[error("is above 1000000000")]
    TooManyHits,
    #[error("must be exactly one command, such as %REQ(x-cost)%")]
    NotOneCommand,
    #[error("{}", unknown(.0))]
    UnknownAction(String),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

// === impl ActionError ===

impl ActionError {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<Problem>) -> ActionError {
        ActionError { field: field.into(), problem: problem.into() }
    }

    /// The error for an action whose name is not in [`super::KINDS`]. It gives a reason if Envoy has that action.
    pub fn unknown_action(name: &str) -> ActionError {
        ActionError::new("actions", Problem::UnknownAction(name.to_owned()))
    }

    /// The same mistake, with the field below `outer` alone.
    #[must_use]
    pub fn without(self, outer: &str) -> ActionError {
        let field = self.field.strip_prefix(outer).and_then(|field| field.strip_prefix('.'));
        ActionError { field: field.unwrap_or(&self.field).to_owned(), ..self }
    }

    /// The same mistake, with the field as part of `outer`.
    pub(super) fn below(self, outer: &str) -> ActionError {
        ActionError { field: format!("{outer}.{}", self.field), ..self }
    }
}

fn unknown(name: &str) -> String {
    let reason = match name {
        "source_cluster" | "destination_cluster" => {
            "Envoy's clusters are not known here: write a generic_key"
        }
        "dynamic_metadata" => "write it as metadata",
        "remote_address_match" | "extension" => "only Envoy's own filter has it",
        _ => return format!("there is no action '{name}': one of {}", super::KINDS.join(", ")),
    };
    format!("there is no action '{name}' here: {reason}")
}
