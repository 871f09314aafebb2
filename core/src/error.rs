//! How errors read: one line, outermost first.

use std::{error::Error, iter};

/// The error and its causes, outermost first, with colons between.
pub fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
