//! What one runtime notes of each decision: which key it was about.
//!
//! The counters of [`metrics`](crate::metrics) know everything else that the page shows. The lock is the runtime's own;
//! once a second the collector exchanges the table behind it for an empty one.

use std::{
    collections::HashMap,
    fmt::Write as _,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::sketch::{Known, Sketch, Verdict as Seen};
use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
    logging::names::number,
    metrics::LimitCounters,
};
use tollgate_core::{
    applied::MatchedRule,
    decision::Verdict,
    descriptor::{BucketKey, Entry, Hits, Request},
};

/// The most bytes of a key's entries that are shown.
pub const MOST_SHOWN_BYTES: usize = 200;

/// Whether the page shows the values that clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Values {
    /// Keys have names that tell nothing.
    #[default]
    Hidden,
    /// Beside its name, each key has the entries that it is for.
    Shown,
}

/// One runtime's notes.
#[derive(Debug)]
pub struct Recorder {
    values: Values,
    notes: Mutex<Notes>,
}

/// The notes of one second.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) sketch: Sketch,
    /// The entries of keys that the table came to know; empty unless values are shown.
    pub(super) texts: HashMap<u128, Box<str>>,
    /// The keys that somebody watches.
    pub(super) watched: Vec<Watched>,
}

/// What was decided on a key since somebody has watched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) key: BucketKey,
    /// Hits that were taken, of decisions by the store or from a lease.
    pub(super) admitted: u64,
}

impl Recorder {
    /// No notes so far.
    pub fn new(values: Values) -> Recorder {
        Recorder { values, notes: Mutex::default() }
    }

    /// Notes the decisions of a request, which `counters` count.
    pub fn record(&self, counters: &LimitCounters, request: &Request<'_>, outcome: &Outcome<'_>) {
        if outcome.decisions.is_empty() {
            return;
        }
        let mut notes = self.notes();
        for decision in &outcome.decisions {
            // Without a verdict nothing is known about the key.
            if decision.source == Source::Error {
                continue;
            }
            let Some(row) = counters.row(&decision.limit) else { continue };
            let level = (decision.limit.limit.burst(), decision.remaining);
            let known = notes.sketch.count(&decision.key, row, seen(decision), level);
            if self.values == Values::Shown && known == Known::FromNowOn {
                notes.texts.insert(number(&decision.key), text(request, outcome, decision));
            }
            if !notes.watched.is_empty() {
                notes.watch(request, outcome, decision);
            }
        }
    }

    /// Exchanges the notes for empty ones. What is watched stays, and is counted on.
    pub(super) fn exchange(&self, empty: &mut Notes) {
        let mut notes = self.notes();
        if notes.sketch.has_begun() {
            // Here, so that no request does it.
            empty.sketch.begin();
        }
        mem::swap(&mut notes.sketch, &mut empty.sketch);
        mem::swap(&mut notes.texts, &mut empty.texts);
        empty.watched.clone_from(&notes.watched);
    }

    /// Watches these keys from now on, and no others. Those that were watched before keep their counts.
    pub(super) fn watch(&self, keys: &[BucketKey]) {
        let mut notes = self.notes();
        notes.watched.retain(|watched| keys.contains(&watched.key));
        for key in keys {
            if notes.watched.iter().all(|watched| watched.key != *key) {
                notes.watched.push(Watched { key: *key, admitted: 0 });
            }
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // A panic leaves counts that are too low by one, and nothing else.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    #[cold]
    fn watch(&mut self, request: &Request<'_>, outcome: &Outcome<'_>, decision: &Decision<'_>) {
        let is_taken = outcome.verdict == Some(Verdict::Allow) && decision.verdict == Verdict::Allow;
        let hits = match request.descriptors[decision.descriptor].hits {
            Hits::One if is_taken => 1,
            Hits::Take(hits) if is_taken => hits,
            _ => return,
        };
        let all = self.watched.iter_mut();
        let is_fallback_answer = decision.source.is_fallback_answer();
        for watched in all.filter(|watched| watched.key == decision.key && !is_fallback_answer) {
            watched.admitted = watched.admitted.saturating_add(hits);
        }
    }
}

fn seen(decision: &Decision<'_>) -> Seen {
    match decision.verdict {
        Verdict::Allow => Seen::Admitted,
        Verdict::Deny if decision.is_over() => Seen::Denied,
        Verdict::Deny => Seen::WouldDeny,
    }
}

/// The entries that the bucket is for, as `key=value` with spaces between them.
#[cold]
fn text(request: &Request<'_>, outcome: &Outcome<'_>, decision: &Decision<'_>) -> Box<str> {
    let descriptor = &request.descriptors[decision.descriptor];
    let is_same = |matched: &&MatchedRule<'_>| matched.descriptor == decision.descriptor;
    let text = match outcome.rules.iter().find(is_same) {
        Some(matched) => entries(matched.rule.bucket_entries(descriptor.entries())),
        None => entries(descriptor.entries()),
    };
    text.into()
}

fn entries<'e>(entries: impl Iterator<Item = Entry<'e>>) -> String {
    let mut text = String::new();
    for Entry { key, value } in entries {
        let space = if text.is_empty() { "" } else { " " };
        let [key, value] = [key, value].map(|bytes| String::from_utf8_lossy(shown(bytes)));
        // A String takes all that is written.
        let _ = write!(text, "{space}{key}={value}");
        if text.len() > MOST_SHOWN_BYTES {
            break;
        }
    }
    cut(&text)
}

fn shown(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MOST_SHOWN_BYTES + 1)]
}

/// At most [`MOST_SHOWN_BYTES`] of a text, and an ellipsis if that is not all.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= MOST_SHOWN_BYTES {
        return text.to_owned();
    }
    let end = (0..=MOST_SHOWN_BYTES).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::RowId;

    #[test]
    fn only_the_first_decision_of_a_runtime_waits_for_a_table() {
        let (recorder, mut other) = (Recorder::new(Values::Hidden), Notes::default());
        recorder.exchange(&mut other);
        assert!(!recorder.notes().sketch.has_begun() && !other.sketch.has_begun());
        recorder.notes().sketch.count(
            &BucketKey::from_bytes([1; 16]),
            RowId::default(),
            Seen::Admitted,
            (1, 0),
        );
        recorder.exchange(&mut other);
        assert!(recorder.notes().sketch.has_begun() && other.sketch.has_begun());
    }
}
