//! How errors read: one line, outermost first, in the words of this crate also where the system speaks.

use std::{error::Error, fmt, io};

/// What the operating system said, in a form that reads on after a colon: `address already in use`.
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
