//! The seconds of other replicas: what this one shows them, and what they show.
//!
//! A second is one JSON object of at most 64 kB: the busiest rules, and the sum of the rest. What comes from Redis may
//! be anything, so it is read with bounds, and what makes no sense is left out.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{Live, State, rows::MOST_SHOWN};
use crate::{metrics::Counts, store::redis::board::MOST_BYTES};
use tollgate_core::descriptor::BucketKey;

/// The most other replicas that are shown.
const MOST_OTHERS: usize = 32;
/// A replica that has shown nothing for so long is gone.
const GONE_AFTER_US: u64 = 5_000_000;
/// The most events of others that are kept for new readers.
const MOST_EVENTS: usize = 100;
/// The most rules and keys that readers of other replicas may ask for.
const MOST_WANTED: usize = 8;
const MOST_NAME_BYTES: usize = 1_000;

/// All other replicas, by name.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) by_name: BTreeMap<String, Other>,
    /// Their newest events.
    pub(super) events: VecDeque<Value>,
}

/// Another replica, as of its last second.
#[derive(Debug)]
pub(super) struct Other {
    seen_us: u64,
    second: u64,
    /// Its second came just now. Otherwise its counts are those of a second that was told already.
    pub(super) is_fresh: bool,
    /// What it says of itself.
    pub(super) told: Value,
    pub(super) rows: Vec<OtherRow>,
    pub(super) left_out: (usize, Counts),
    /// The top keys of rules, by domain and rule.
    pub(super) tops: Vec<Value>,
    /// The hits that it counted under watched keys.
    pub(super) watched: Vec<(BucketKey, u64)>,
    pub(super) new_events: Vec<Value>,
}

/// One rule of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OtherRow {
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) counts: Counts,
    pub(super) keys_near: u64,
    pub(super) keys_over: u64,
    pub(super) share: Option<f64>,
    pub(super) last_denial_us: Option<u64>,
}

/// What readers ask of other replicas.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) rules: Vec<(String, String)>,
    pub(super) keys: Vec<BucketKey>,
}

// === impl Live ===

impl Live {
    /// The last second, for the other replicas.
    pub(super) fn shown_to_others(&self, state: &State, wanted: &Wanted) -> Vec<u8> {
        let mut told = self.this_replica(state);
        let rows = state.rows.shown.iter().map(|at| &state.rows.rows[*at]);
        let rows = rows.filter_map(|row| {
            let fullness = state.fullness.get(&row.row.id).copied();
            let Counts { admitted, denied, would_deny, near, .. } = row.second;
            if row.second.decisions() == 0 && fullness.is_none() {
                return None;
            }
            let (share, near_keys, over_keys) =
                fullness.map_or((None, 0, 0), |full| (Some(full.share), full.near, full.over));
            let counts = [admitted, denied, would_deny, near, near_keys, over_keys];
            Some(json!([*row.row.domain, *row.row.rule, counts, share, row.last_denial_us]))
        });
        let mut rows: Vec<Value> = rows.collect();
        let (mut rules_left, mut left, _) = state.rows.left_out();
        let tops = wanted.rules.iter().map(|(domain, rule)| self.own_top(state, domain, rule));
        let watched = state.own_counted.iter().map(|(key, hits)| json!([key_text(key), hits]));
        told["v"] = 1.into();
        told["second"] = state.second.into();
        told["tops"] = tops.flatten().collect();
        told["watched"] = watched.collect();
        told["events"] = self.own_events(state, state.told, MOST_EVENTS).into();
        // What matters least is left out first.
        for part in ["events", "tops", "watched"] {
            told["rows"] = rows.clone().into();
            told["left"] = json!([rules_left, counts(&left)]);
            let text = told.to_string();
            if text.len() <= MOST_BYTES {
                return text.into_bytes();
            }
            told[part] = Value::Null;
        }
        loop {
            for row in rows.split_off(rows.len() / 2) {
                left.add(&counts_of(&row[2]));
                rules_left += 1;
            }
            told["rows"] = rows.clone().into();
            told["left"] = json!([rules_left, counts(&left)]);
            let text = told.to_string();
            if text.len() <= MOST_BYTES || rows.is_empty() {
                return text.into_bytes();
            }
        }
    }
}

fn counts(counts: &Counts) -> [u64; 4] {
    [counts.admitted, counts.denied, counts.would_deny, counts.near]
}

fn counts_of(list: &Value) -> Counts {
    // Larger ones would overflow the sums.
    let at = |at: usize| list[at].as_u64().unwrap_or_default().min(1 << 40);
    Counts { admitted: at(0), denied: at(1), would_deny: at(2), near: at(3), ..Counts::default() }
}

// === impl Others ===

impl Others {
    /// Adds what was read. Those that have shown nothing for a while are gone.
    pub(super) fn tick(&mut self, now_us: u64, this: &str, read: Vec<Vec<u8>>) {
        self.by_name.values_mut().for_each(|other| other.is_fresh = false);
        for text in read {
            let Some((name, other)) = Other::parse(now_us, &text) else { continue };
            let known = self.by_name.get(&name);
            let is_new =
                known.is_none_or(|known| other.second > known.second || now_us - known.seen_us > 2_000_000);
            if name == this || !is_new || known.is_none() && self.by_name.len() >= MOST_OTHERS {
                continue;
            }
            self.events.extend(other.new_events.iter().cloned());
            let surplus = self.events.len().saturating_sub(MOST_EVENTS);
            self.events.drain(..surplus);
            self.by_name.insert(name, other);
        }
        self.by_name.retain(|_, other| now_us.saturating_sub(other.seen_us) <= GONE_AFTER_US);
    }
}

impl Other {
    fn parse(now_us: u64, text: &[u8]) -> Option<(String, Other)> {
        let mut told: Value = serde_json::from_slice(text).ok()?;
        if told["v"] != 1 {
            return None;
        }
        let name = told["name"].as_str().filter(|name| name.len() <= 32)?.to_owned();
        let second = told["second"].as_u64()?;
        let mut take = |part: &str, most: usize| match told[part].take() {
            Value::Array(mut list) => {
                list.truncate(most);
                list
            }
            _ => Vec::new(),
        };
        let rows = take("rows", MOST_SHOWN).iter().filter_map(OtherRow::parse).collect();
        let tops = take("tops", MOST_WANTED);
        let watched = take("watched", 2 * MOST_WANTED);
        let new_events = take("events", MOST_EVENTS);
        let left = told["left"].take();
        let rules = left[0].as_u64().and_then(|rules| usize::try_from(rules).ok()).unwrap_or_default();
        let watched = watched.iter().filter_map(|one| Some((key_of(one[0].as_str()?)?, one[1].as_u64()?)));
        let left_out = (rules, counts_of(&left[1]));
        let watched = watched.collect();
        if let Some(fields) = told.as_object_mut() {
            fields.retain(|name, _| TOLD.contains(&name.as_str()));
        }
        let other = Other {
            seen_us: now_us,
            second,
            is_fresh: true,
            told,
            rows,
            left_out,
            tops,
            watched,
            new_events,
        };
        Some((name, other))
    }

    /// What is shown of it.
    pub(super) fn json(&self, now_us: u64) -> Value {
        let mut shown = self.told.clone();
        shown["is_this"] = false.into();
        shown["age_ms"] = (now_us.saturating_sub(self.seen_us) / 1_000).into();
        shown
    }
}

/// What a replica says of itself.
const TOLD: [&str; 11] = [
    "name",
    "admitted",
    "denied",
    "would_deny",
    "near",
    "answers",
    "p99_us",
    "breaker",
    "connections",
    "rules_version",
    "stale",
];

impl OtherRow {
    fn parse(row: &Value) -> Option<OtherRow> {
        let name =
            |at: usize| row[at].as_str().filter(|name| name.len() <= MOST_NAME_BYTES).map(str::to_owned);
        let numbers = &row[2];
        Some(OtherRow {
            domain: name(0)?,
            rule: name(1)?,
            counts: counts_of(numbers),
            keys_near: numbers[4].as_u64().unwrap_or_default().min(1 << 40),
            keys_over: numbers[5].as_u64().unwrap_or_default().min(1 << 40),
            share: row[3].as_f64().filter(|share| (0.0..=1.0).contains(share)),
            last_denial_us: row[4].as_u64(),
        })
    }
}

// === impl Wanted ===

impl Wanted {
    /// One line.
    pub(super) fn text(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(key_text).collect();
        json!({ "rules": self.rules, "keys": keys }).to_string()
    }

    /// All that the readers of any replica want.
    pub(super) fn all(texts: &[String]) -> Wanted {
        let mut all = Wanted::default();
        for wanted in texts.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()) {
            for rule in wanted["rules"].as_array().into_iter().flatten() {
                let name = |at: usize| rule[at].as_str().filter(|name| name.len() <= MOST_NAME_BYTES);
                if let Some((domain, rule)) = name(0).zip(name(1)) {
                    all.rules.push((domain.to_owned(), rule.to_owned()));
                }
            }
            let keys = wanted["keys"].as_array().into_iter().flatten();
            all.keys.extend(keys.filter_map(|key| key_of(key.as_str()?)));
        }
        all.rules.sort();
        all.rules.dedup();
        all.rules.truncate(MOST_WANTED);
        all.keys.sort();
        all.keys.dedup();
        all.keys.truncate(2 * MOST_WANTED);
        all
    }
}

/// `digest` or `digest:limit`, in hexadecimal digits.
fn key_text(key: &BucketKey) -> String {
    let digest = u128::from_be_bytes(*key.digest());
    match key.tagged_limit() {
        Some(limit) => format!("{digest:032x}:{limit:x}"),
        None => format!("{digest:032x}"),
    }
}

fn key_of(text: &str) -> Option<BucketKey> {
    let (digest, limit) = text.split_once(':').map_or((text, None), |(digest, limit)| (digest, Some(limit)));
    let digest = u128::from_str_radix(digest, 16).ok()?.to_be_bytes();
    match limit {
        None => Some(BucketKey::from_bytes(digest)),
        Some(limit) => {
            let limit = u32::from_str_radix(limit, 16).ok().filter(|limit| *limit > 0)?;
            Some(BucketKey::tagged(digest, limit))
        }
    }
}
