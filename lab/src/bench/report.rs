//! The measurements for the terminal, as JSON, as a picture and as a page of the docs.

pub mod json;
pub mod markdown;
pub mod merge;
mod peers;
mod scaling;
pub mod svg;
mod tables;
pub mod terminal;
#[cfg(test)]
mod tests;

use super::{case::thousands, stats::Spread};

/// About three digits; a run of two seconds is less precise than that.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => thousands(value.round() as u32),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `1.15 [1.10 1.22]`, or `1.15` for a single run.
fn with_spread(spread: Option<Spread>) -> String {
    match spread {
        Some(Spread { min, median, max }) if min < max => {
            format!("{} [{} {}]", number(median), number(min), number(max))
        }
        other => median(other),
    }
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| number(spread.median))
}
