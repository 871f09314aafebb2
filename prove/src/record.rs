//! What was sent and what came back: one entry a request, and counts of what was wrong with answers.
//!
//! Memory is bounded: 32 bytes a request and at most [`MOST_ENTRIES`] of them, breaches by a fixed set of rules,
//! and [`MOST_RULES`] names of rules that denied.

use std::collections::BTreeMap;

use super::contract::{Breach, Judgement};
use tollgate_core::audit::Span;

/// Requests of one run; the load stops there. 160 MB, and twice that while they are audited.
pub(super) const MOST_ENTRIES: u64 = 5_000_000;

/// Names of rules come from the wire, so those beyond this number are counted together.
const MOST_RULES: usize = 100;
/// In characters.
const LONGEST_RULE: usize = 200;
const OTHER_RULES: &str = "(other rules)";

/// What an answer says about the decision behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Admitted,
    /// Success without the limiter's headers: it may have been let through unasked.
    AdmittedUnsigned,
    Denied,
    /// A 429 without the limiter's headers: somebody else may have said it.
    DeniedUnsigned,
    /// Any other status.
    Failed,
    /// No answer: no connection, a broken one, or a timeout.
    Silent,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) span: Span,
    /// From when the request was due until the head was read; longer than the span if it had to queue.
    pub(super) latency_us: u32,
    /// 0 without an answer.
    pub(super) status: u16,
    pub(super) target: u16,
    pub(super) class: Class,
}

/// How often a rule was broken, and what the first break looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) count: u64,
    pub(super) example: String,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) entries: Vec<Entry>,
    pub(super) broken: BTreeMap<&'static str, Broken>,
    /// Why requests got no answer, by kind.
    pub(super) silences: BTreeMap<&'static str, Broken>,
    /// How many denials name each rule.
    pub(super) denied_by: BTreeMap<String, u64>,
}

impl Record {
    pub(super) fn answered(&mut self, mut entry: Entry, judgement: Judgement) {
        entry.class = judgement.class;
        self.entries.push(entry);
        for breach in judgement.breaches {
            self.breached(breach);
        }
        for rule in judgement.denied_by {
            self.denied_by_rule(rule, 1);
        }
    }

    fn denied_by_rule(&mut self, mut rule: String, count: u64) {
        if let Some((end, _)) = rule.char_indices().nth(LONGEST_RULE) {
            rule.truncate(end);
        }
        if let Some(known) = self.denied_by.get_mut(&rule) {
            *known += count;
        } else {
            let named = self.denied_by.keys().filter(|name| *name != OTHER_RULES);
            let name = if named.count() < MOST_RULES { rule } else { OTHER_RULES.to_owned() };
            *self.denied_by.entry(name).or_default() += count;
        }
    }

    pub(super) fn breached(&mut self, breach: Breach) {
        note(&mut self.broken, breach.rule, breach.seen, 1);
    }

    pub(super) fn unanswered(&mut self, mut entry: Entry, kind: &'static str, error: String) {
        entry.class = Class::Silent;
        self.entries.push(entry);
        note(&mut self.silences, kind, error, 1);
    }

    pub(super) fn append(&mut self, mut other: Record) {
        self.entries.append(&mut other.entries);
        for (rule, broken) in other.broken {
            note(&mut self.broken, rule, broken.example, broken.count);
        }
        for (rule, count) in other.denied_by {
            self.denied_by_rule(rule, count);
        }
        for (kind, broken) in other.silences {
            note(&mut self.silences, kind, broken.example, broken.count);
        }
    }

    /// Spans of all that was let through, signed or not.
    pub(super) fn admitted(&self) -> Vec<Span> {
        self.entries.iter().filter(|entry| entry.class.is_admitted()).map(|entry| entry.span).collect()
    }

    /// Spans of all denials that the limiter signed.
    pub(super) fn denied(&self) -> Vec<Span> {
        self.entries.iter().filter(|entry| entry.class == Class::Denied).map(|entry| entry.span).collect()
    }

    /// Spans of all that may have taken a token. What the limiter did not sign may do so long after the
    /// client was answered (a proxy that gave up waiting has sent its question all the same): it never ends.
    pub(super) fn charged(&self) -> Vec<Span> {
        let charged = self.entries.iter().filter(|entry| entry.class != Class::Denied);
        charged
            .map(|entry| match entry.class {
                Class::Admitted => entry.span,
                _ => Span { end_us: u64::MAX, ..entry.span },
            })
            .collect()
    }
}

impl Class {
    pub(super) fn is_admitted(self) -> bool {
        matches!(self, Class::Admitted | Class::AdmittedUnsigned)
    }
}

fn note(notes: &mut BTreeMap<&'static str, Broken>, rule: &'static str, example: String, count: u64) {
    notes.entry(rule).or_insert(Broken { count: 0, example }).count += count;
}

pub(super) fn count(items: impl Iterator) -> u64 {
    items.fold(0, |n, _| n + 1)
}

#[cfg(test)]
mod tests;
