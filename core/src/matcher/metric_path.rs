//! The path under which a decision is counted.
//!
//! The path consists of the configured names of the levels, unless flags ask for values of the request. Such values
//! are cut, and cleaned as envoyproxy/ratelimit cleans its metric names. The number of paths is not bounded here: the
//! caller has to bound it.

use std::borrow::Cow;

use super::rule::{Rule, Step};
use crate::descriptor::Entry;

/// The most characters of a key or a value of a request that a path shows.
const MAX_SHOWN: usize = 64;

impl Rule {
    /// Whether the path depends on the request.
    pub fn shows_values(&self) -> bool {
        self.shows_values
    }

    /// The path for a descriptor with these entries, which must have matched this rule. It is borrowed unless it holds
    /// values of the request.
    pub fn metric_path<'e>(&self, entries: impl IntoIterator<Item: Into<Entry<'e>>>) -> Cow<'_, str> {
        if !self.shows_values {
            return Cow::Borrowed(&self.metric_path);
        }
        let mut path = String::new();
        for (level, (step, entry)) in self.steps.iter().zip(entries).enumerate() {
            if level > 0 {
                path.push('.');
            }
            step.show(entry.into(), self.options.detailed_metric, &mut path);
        }
        Cow::Owned(clean(&path).into_owned())
    }
}

impl Step {
    /// | level | shown |
    /// |---|---|
    /// | exact, or shared | as configured |
    /// | the rule has `detailed_metric` | key and value of the request |
    /// | `value_to_metric` | key of the request, and its value unless that is empty |
    /// | else | as configured |
    fn show(&self, entry: Entry<'_>, is_detailed: bool, path: &mut String) {
        if !self.may_show_value(is_detailed) {
            path.push_str(&self.key);
            if let Some(value) = &self.value {
                path.extend(["_", value]);
            }
            return;
        }
        path.extend(shown(entry.key));
        if is_detailed || !entry.value.is_empty() {
            path.push('_');
            path.extend(shown(entry.value));
        }
    }
}

/// The first characters. Only as many bytes are read as they can have.
fn shown(text: &[u8]) -> Vec<char> {
    let head = &text[..text.len().min(4 * MAX_SHOWN)];
    String::from_utf8_lossy(head).chars().take(MAX_SHOWN).collect()
}

// === cleaning ===

/// `:`, `|`, control characters and the dots of an IPv4 address become `_`.
pub(super) fn clean(path: &str) -> Cow<'_, str> {
    let is_unclean = |letter: char| matches!(letter, ':' | '|') || letter.is_control();
    let may_hold_ipv4 = path.bytes().filter(|byte| *byte == b'.').count() >= 3;
    if !may_hold_ipv4 && !path.contains(is_unclean) {
        return Cow::Borrowed(path);
    }
    let mut cleaned = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(letter) = rest.chars().next() {
        // An address does not begin within a number.
        let is_inside = cleaned.ends_with(|before: char| before.is_ascii_digit());
        let length = if is_inside { None } else { ipv4_length(rest) };
        let (head, tail) = rest.split_at(length.unwrap_or(letter.len_utf8()));
        match length {
            Some(_) => cleaned.push_str(&head.replace('.', "_")),
            None => cleaned.push(if is_unclean(letter) { '_' } else { letter }),
        }
        rest = tail;
    }
    Cow::Owned(cleaned)
}

/// The length of the IPv4 address that a text begins with: four numbers of up to three digits.
fn ipv4_length(text: &str) -> Option<usize> {
    let mut length = 0;
    for part in 0..4 {
        if part > 0 {
            text[length..].starts_with('.').then_some(())?;
            length += 1;
        }
        let digits = text[length..].bytes().take_while(u8::is_ascii_digit).count();
        (1..=3).contains(&digits).then_some(())?;
        length += digits;
    }
    Some(length)
}
