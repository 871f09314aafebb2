//! What happened lately, in the order in which it was noticed: the newest [`MOST_EVENTS`], each with a number that rises.
//!
//! The numbers begin with the time at which the process started, so they also rise from one process to the next, and a
//! reader that comes back after a restart is told that there is a gap.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use super::recorder::cut;
use crate::logging::names::Names;

/// The most events that are kept.
pub const MOST_EVENTS: usize = 10_000;
/// The most bytes of one error of a configuration.
const MOST_ERROR_BYTES: usize = 500;
/// The most bytes of texts that are kept: an event may bring along many errors.
const MOST_BYTES: usize = 8 << 20;

/// The newest events.
#[derive(Debug)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    /// The number of the next event.
    next: u64,
    first: u64,
    bytes: usize,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: u64,
    at_us: u64,
    what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum What {
    DenialsBegan(Key),
    /// After `denied` denials over `seconds`.
    DenialsEnded {
        key: Key,
        denied: u64,
        seconds: u64,
    },
    /// More keys than are told one by one.
    DenialsMore {
        began: u64,
        ended: u64,
    },
    ConfigTaken {
        version: String,
        limits: usize,
        domains: usize,
    },
    ConfigRefused(Arc<[String]>),
    StoreLost(String),
    StoreBack {
        seconds: u64,
    },
    ReplicaJoined(u32),
    ReplicaLeft(u32),
}

/// A key under a rule.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) domain: Arc<str>,
    pub(super) rule: Arc<str>,
    pub(super) key: u128,
    /// Its entries, if values are shown.
    pub(super) text: Option<Arc<str>>,
}

/// Events for a reader.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// How many the reader has missed. The inner one is none if that is not known.
    pub(super) gap: Option<Option<u64>>,
    /// From the oldest.
    pub(super) events: Vec<Value>,
}

impl Events {
    /// `started_us` is when the process started, in microseconds since the Unix epoch.
    pub(super) fn new(started_us: u64) -> Events {
        Events { kept: VecDeque::new(), next: started_us, first: started_us, bytes: 0 }
    }

    pub(super) fn add(&mut self, at_us: u64, what: What) {
        self.bytes += what.bytes();
        self.kept.push_back(Event { id: self.next, at_us, what });
        self.next += 1;
        while self.kept.len() > MOST_EVENTS || (self.bytes > MOST_BYTES && self.kept.len() > 1) {
            let gone = self.kept.pop_front();
            self.bytes -= gone.map_or(0, |event| event.what.bytes());
        }
    }

    /// The events after the one with the number `after`, at most `limit`; without a number, all that are kept.
    pub(super) fn page(&self, after: Option<u64>, limit: usize, replica: &str, names: &Names) -> Page {
        let oldest = self.next - self.kept.len() as u64;
        let gap = match after {
            Some(after) if after + 1 < self.first => Some(None),
            Some(after) if after + 1 < oldest => Some(Some(oldest - after - 1)),
            // A number that is yet to come: the clock was set back between two processes.
            Some(after) if after >= self.next => Some(None),
            _ => None,
        };
        let from = after.filter(|after| *after < self.next).map_or(oldest, |after| (after + 1).max(oldest));
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let events = self.kept.iter().skip(skipped).take(limit);
        Page { gap, events: events.map(|event| event.json(replica, names)).collect() }
    }

    /// The number of the newest event, or the one before the first.
    pub(super) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// The newest `count` events of those after that number, from the oldest.
    pub(super) fn newest_after(&self, after: u64, count: usize) -> impl Iterator<Item = &Event> {
        let new = usize::try_from(self.newest().saturating_sub(after)).unwrap_or(usize::MAX);
        self.kept.iter().skip(self.kept.len().saturating_sub(new.min(count)))
    }
}

impl Page {
    /// One line of JSON for each event, and first one for a gap.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        if let Some(missed) = self.gap {
            let next = self.events.first().and_then(|event| event["id"].as_u64());
            let id = next.map(|id| id - 1);
            text = format!("{}\n", json!({ "id": id, "kind": "gap", "missed": missed }));
        }
        for event in &self.events {
            text.push_str(&event.to_string());
            text.push('\n');
        }
        text
    }
}

impl Event {
    pub(super) fn json(&self, replica: &str, names: &Names) -> Value {
        let mut event = self.what.json(names);
        event["id"] = self.id.into();
        event["time_ms"] = (self.at_us / 1_000).into();
        event["replica"] = replica.into();
        event
    }
}

impl What {
    fn json(&self, names: &Names) -> Value {
        match self {
            What::DenialsBegan(key) => key.json("denials_began", names),
            What::DenialsEnded { key, denied, seconds } => {
                let mut event = key.json("denials_ended", names);
                event["denied"] = (*denied).into();
                event["seconds"] = (*seconds).into();
                event
            }
            What::DenialsMore { began, ended } => {
                json!({ "kind": "denials_more", "began": began, "ended": ended })
            }
            What::ConfigTaken { version, limits, domains } => json!({
                "kind": "config_taken", "version": version, "limits": limits, "domains": domains,
            }),
            What::ConfigRefused(errors) => json!({ "kind": "config_refused", "errors": shown(errors) }),
            What::StoreLost(text) => json!({ "kind": "store_lost", "text": text }),
            What::StoreBack { seconds } => json!({ "kind": "store_back", "seconds": seconds }),
            What::ReplicaJoined(replicas) => json!({ "kind": "replica_joined", "replicas": replicas }),
            What::ReplicaLeft(replicas) => json!({ "kind": "replica_left", "replicas": replicas }),
        }
    }

    /// The size of its texts.
    fn bytes(&self) -> usize {
        match self {
            What::ConfigRefused(errors) => errors.iter().map(String::len).sum(),
            What::StoreLost(text) => text.len(),
            _ => 0,
        }
    }
}

impl Key {
    fn json(&self, kind: &str, names: &Names) -> Value {
        json!({
            "kind": kind,
            "domain": cut(&self.domain),
            "rule": *self.rule,
            "name": names.of(self.key),
            "values": self.text.as_deref(),
        })
    }
}

/// The errors of a configuration, each at most [`MOST_ERROR_BYTES`] long.
pub(super) fn shown(errors: &[String]) -> Vec<String> {
    let cut = |error: &String| {
        let end = (0..=error.len().min(MOST_ERROR_BYTES)).rev().find(|end| error.is_char_boundary(*end));
        let (head, rest) = error.split_at(end.unwrap_or_default());
        if rest.is_empty() { head.to_owned() } else { format!("{head}…") }
    };
    errors.iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: u64 = 1_790_000_000_000_000;

    fn ids(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event["id"].as_u64().unwrap() - STARTED).collect()
    }

    fn joined(count: u32) -> Events {
        let mut events = Events::new(STARTED);
        (0..count).for_each(|replicas| events.add(STARTED, What::ReplicaJoined(replicas)));
        events
    }

    #[test]
    fn a_reader_gets_what_came_after_its_cursor() {
        let (events, names) = (joined(5), Names::new());
        let page = |after, limit| events.page(after, limit, "r", &names);
        assert_eq!(ids(&page(None, 100)), [0, 1, 2, 3, 4]);
        assert_eq!(ids(&page(Some(STARTED + 2), 100)), [3, 4]);
        assert_eq!(ids(&page(Some(STARTED + 1), 1)), [2]);
        let nothing = page(Some(STARTED + 4), 100);
        assert_eq!((nothing.lines().as_str(), nothing.gap), ("", None));
        assert_eq!(page(Some(STARTED - 1), 100).gap, None, "the first that there ever was is there");
    }

    #[test]
    fn a_reader_that_comes_too_late_is_told_of_the_gap() {
        let most = u32::try_from(MOST_EVENTS).unwrap();
        let (events, names) = (joined(most + 10), Names::new());
        let page = events.page(Some(STARTED + 3), 2, "r", &names);
        assert_eq!((page.gap, ids(&page)), (Some(Some(6)), vec![10, 11]));
        let lines: Vec<Value> =
            page.lines().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({ "id": STARTED + 9, "kind": "gap", "missed": 6 }));
        assert_eq!(events.page(Some(STARTED + 9), 1, "r", &names).gap, None);
        for of_another_process in [5, STARTED + 99_999] {
            let page = events.page(Some(of_another_process), 1, "r", &names);
            assert_eq!((page.gap, ids(&page)), (Some(None), vec![10]));
        }
    }

    #[test]
    fn long_errors_are_cut_and_many_of_them_take_the_place_of_older_events() {
        let mut events = joined(10);
        let errors: Arc<[String]> = vec!["ä".repeat(100_000)].into();
        for _ in 0..100 {
            events.add(STARTED, What::ConfigRefused(Arc::clone(&errors)));
        }
        assert!(events.bytes <= MOST_BYTES && events.kept.len() < 100);
        let page = events.page(None, 1, "r", &Names::new());
        assert_eq!(page.events[0]["errors"][0], format!("{}…", "ä".repeat(250)));
    }
}
