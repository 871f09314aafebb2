//! Text and numbers as the page shows them.

pub(super) use crate::report::count;
use crate::report::escape;

/// Escaped, with the parts between backticks as code.
pub(super) fn code(text: &str) -> String {
    let parts = text.split('`').map(escape).enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part }).collect()
}

/// `12,345.6`, or `12,345` if there are no tenths.
pub(super) fn amount(number: f64) -> String {
    let rounded = format!("{:.1}", number.max(0.0));
    let (whole, tenths) = rounded.split_once('.').unwrap_or((&rounded, "0"));
    // A value outside u64, such as infinity, stays as it was printed.
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    if tenths == "0" { whole } else { format!("{whole}.{tenths}") }
}

/// `3.0 ×`, never broken between lines.
pub(super) fn times(ratio: f64) -> String {
    format!("{ratio:.1}\u{a0}×")
}

/// `1.01 ×`: a hundredth too much is too much, and a table has room for it.
pub(super) fn times_exactly(ratio: f64) -> String {
    format!("{ratio:.2}\u{a0}×")
}

/// `1.26 ms`.
pub(super) fn ms(us: u64) -> String {
    let hundredths = us.saturating_add(5) / 10;
    format!("{}.{:02}\u{a0}ms", count(hundredths / 100), hundredths % 100)
}
