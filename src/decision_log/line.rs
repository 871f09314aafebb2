//! One line: a JSON object with the fields that `docs/operate.md` lists, always in the same order.

use std::fmt::Write as _;

use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
    logging::names::{Names, number},
    metrics::Door,
    replica,
    traces::TraceId,
};
use tollgate_core::{
    calendar::Month,
    decision::Verdict,
    descriptor::{Descriptor, Hits, Request},
};

/// A line that is already longer gets no further entries of its descriptor.
const ENOUGH_BYTES: usize = 1_536;
/// The most bytes of a text that is shown; the rest is cut.
const MOST_OF_TEXT: usize = 200;
/// The most bytes of a line: one entry more, of which each byte may take six.
#[cfg(test)]
pub(super) const MOST_BYTES: usize = ENOUGH_BYTES + 2 * 6 * MOST_OF_TEXT + 1_024;
/// What most lines need.
const USUAL_BYTES: usize = 512;

const DAY_US: u64 = 86_400_000_000;

/// One decision.
pub(super) struct Line<'a, 'r, 'm> {
    pub(super) now_us: u64,
    pub(super) door: Door,
    pub(super) request: &'a Request<'r>,
    pub(super) outcome: &'a Outcome<'m>,
    pub(super) decision: &'a Decision<'m>,
    pub(super) descriptor: &'a Descriptor<'r>,
    pub(super) names: &'a Names,
    pub(super) trace: Option<TraceId>,
}

impl Line<'_, '_, '_> {
    /// The line with its end.
    pub(super) fn to_bytes(&self, show_values: bool) -> Vec<u8> {
        let mut text = Text(String::with_capacity(USUAL_BYTES));
        self.write(&mut text, show_values);
        text.0.push('\n');
        text.0.into_bytes()
    }

    fn write(&self, text: &mut Text, show_values: bool) {
        let Line { decision, .. } = self;
        let limit = &decision.limit;
        text.plain("{\"time\":\"");
        text.time(self.now_us);
        text.plain("\",\"door\":\"");
        text.plain(self.door.word());
        text.plain("\",\"domain\":");
        text.quoted(self.request.domain);
        text.plain(",\"rule\":");
        text.quoted(limit.label().as_bytes());
        if let Some(tier) = &limit.tier {
            text.plain(",\"tier\":");
            text.quoted(tier.as_bytes());
        }
        let (algorithm, numbers) = (limit.limit.algorithm().name(), &limit.limit);
        text.put(format_args!(
            ",\"limit\":{{\"requests\":{},\"window\":\"{}\",\"burst\":{},\"algorithm\":\"{algorithm}\"}}",
            numbers.requests_per_unit(),
            numbers.period(),
            numbers.burst(),
        ));
        self.write_entries(text, show_values);
        text.put(format_args!(",\"key\":\"{}\"", self.names.of(number(&decision.key))));
        text.put(format_args!(
            ",\"verdict\":\"{}\",\"answer\":\"{}\",\"source\":\"{}\",\"hits\":{},\"remaining\":{},\"wait_us\":{}",
            self.verdict(),
            self.answer(),
            decision.source.word(),
            hits(self.descriptor.hits),
            decision.remaining,
            if decision.verdict == Verdict::Deny { decision.reset_us } else { 0 },
        ));
        if decision.never_fits {
            text.plain(",\"never_fits\":true");
        }
        text.put(format_args!(",\"replica\":\"{}\"", replica::name()));
        if let Some(trace) = self.trace {
            text.put(format_args!(",\"trace_id\":\"{trace}\""));
        }
        text.plain("}");
    }

    fn write_entries(&self, text: &mut Text, show_values: bool) {
        text.plain(",\"entries\":[");
        let mut shown = 0;
        for entry in self.descriptor.entries() {
            if text.0.len() > ENOUGH_BYTES {
                break;
            }
            text.plain(if shown > 0 { ",{\"key\":" } else { "{\"key\":" });
            text.quoted(entry.key);
            if show_values {
                text.plain(",\"value\":");
                text.quoted(entry.value);
            }
            text.plain("}");
            shown += 1;
        }
        text.plain("]");
        let left_out = self.descriptor.entries.len() - shown;
        if left_out > 0 {
            text.put(format_args!(",\"entries_left_out\":{left_out}"));
        }
    }

    /// The same words as the label of the metric.
    fn verdict(&self) -> &'static str {
        match self.decision.verdict {
            _ if self.decision.source == Source::Error => "error",
            Verdict::Allow => "allow",
            Verdict::Deny if self.decision.is_over() => "deny",
            Verdict::Deny => "would_deny",
        }
    }

    /// The verdict on the whole request. A shadow mode for all rules does not change it.
    fn answer(&self) -> &'static str {
        match self.outcome.verdict {
            Some(Verdict::Allow) => "allow",
            Some(Verdict::Deny) => "deny",
            None => "error",
        }
    }
}

/// The hits that were asked for; what is given back is negative.
fn hits(hits: Hits) -> i128 {
    match hits {
        Hits::One => 1,
        Hits::Peek => 0,
        Hits::Take(hits) => hits.into(),
        Hits::GiveBack(hits) => -i128::from(hits),
    }
}

// === Text ===

/// A line that grows. Writing to a String does not fail.
struct Text(String);

impl Text {
    fn plain(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    /// A string of JSON. What is too long is cut, and what is not UTF-8 is replaced.
    fn quoted(&mut self, bytes: &[u8]) {
        let head = &bytes[..bytes.len().min(MOST_OF_TEXT)];
        self.0.push('"');
        for chunk in head.utf8_chunks() {
            chunk.valid().chars().for_each(|letter| self.letter(letter));
            // The end of the head may cut a letter in two.
            if !chunk.invalid().is_empty() {
                self.0.push('\u{fffd}');
            }
        }
        if head.len() < bytes.len() {
            self.0.push('…');
        }
        self.0.push('"');
    }

    /// Also what changes how a terminal shows the line is escaped.
    fn letter(&mut self, letter: char) {
        match letter {
            '"' => self.0.push_str("\\\""),
            '\\' => self.0.push_str("\\\\"),
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' => {
                self.put(format_args!("\\u{:04x}", u32::from(letter)));
            }
            letter if letter.is_control() => self.put(format_args!("\\u{:04x}", u32::from(letter))),
            letter => self.0.push(letter),
        }
    }

    /// RFC 3339 in UTC, with microseconds.
    fn time(&mut self, us: u64) {
        let month = Month::at(us);
        let day = (us - month.starts_us) / DAY_US + 1;
        let (year, number) = (1_970 + month.number / 12, month.number % 12 + 1);
        let in_day = us % DAY_US;
        let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        self.put(format_args!(
            "{year:04}-{number:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
        ));
    }
}

#[cfg(test)]
pub(super) fn time(us: u64) -> String {
    let mut text = Text(String::new());
    text.time(us);
    text.0
}
