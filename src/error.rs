//! Formats errors: on one line, outermost first, with the system's messages in the same form as ours.

use std::{error::Error, fmt, io};

/// An error of the operating system, in a form that fits after a colon: `address already in use`.
#[derive(Debug)]
pub struct SystemError(io::Error);

pub use tollgate_core::error::chain;

// === impl SystemError ===

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        SystemError(error)
    }
}

impl Error for SystemError {}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut letters = text.chars();
        let first = letters.next().unwrap_or('?').to_ascii_lowercase();
        write!(f, "{first}{}", letters.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_reads_on_after_a_colon() {
        let error = SystemError(io::Error::from_raw_os_error(98));
        assert_eq!(error.to_string(), "address already in use");
    }

    #[test]
    fn a_chain_has_every_cause_once_outermost_first() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen")]
        struct Outer(#[source] SystemError);
        let error = Outer(io::Error::from_raw_os_error(98).into());
        assert_eq!(chain(&error), "cannot listen: address already in use");
        assert_eq!(chain(&SystemError(io::ErrorKind::NotFound.into())), "entity not found");
    }
}
