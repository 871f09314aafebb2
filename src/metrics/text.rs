//! Prometheus' text format, for what is written by hand.

use std::fmt::{self, Write as _};

/// A label's value, escaped as the format demands.
pub(super) struct Escaped<'a>(pub(super) &'a str);

/// What a family of series is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Writes the lines before the series of a family. The help must be one line without backslashes.
pub(super) fn head(page: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    // A String takes all that is written.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
