//! The JSON of one second. What all readers get alike is written once, and only if there is a reader.

use std::iter;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Live, State, keys,
    limiter::{Now, answers},
    recorder::Values,
    rows::RuleRow,
};
use crate::metrics::Counts;
use tollgate_core::matcher::RuleLimit;

/// The most events in a reader's first message.
const MOST_FIRST_EVENTS: usize = 100;
/// The most keys of a rule that are shown.
const MOST_TOP_KEYS: usize = 50;
/// The most limits of one row that are shown; a rule may have one for each of many tiers.
const MOST_LIMITS: usize = 20;

/// How far a message goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To the last five minutes of each rule, and the newest events: for a new reader.
    Past,
    /// To the second before, and the past of rules that were not shown then.
    Second,
    /// To the second before, and the newest events: for a reader that comes back.
    Return,
}

/// The messages of one second.
#[derive(Debug, Default)]
pub(super) struct Written {
    second: u64,
    /// By extent.
    messages: [Option<Bytes>; 3],
}

impl Live {
    /// The number of the last second, and the second as one JSON object without its closing brace, so that more fields
    /// can follow.
    pub fn second(&self, extent: Extent) -> (u64, Bytes) {
        let mut state = self.state();
        if state.written.second != state.second {
            state.written = Written { second: state.second, messages: Default::default() };
        }
        if let Some(message) = &state.written.messages[extent as usize] {
            return (state.second, message.clone());
        }
        let mut text = self.object(&state, extent).to_string();
        text.pop();
        let message = Bytes::from(text);
        state.written.messages[extent as usize] = Some(message.clone());
        (state.second, message)
    }

    /// The top keys of a rule as JSON, of all replicas; `null` if there is no such rule.
    pub fn top(&self, domain: &str, rule: &str) -> String {
        let state = self.state();
        let Some(mut top) = self.own_top(&state, domain, rule) else { return Value::Null.to_string() };
        let theirs = state.others.by_name.values().flat_map(|other| &other.tops);
        for theirs in theirs.filter(|top| top["domain"] == domain && top["rule"] == rule) {
            merge_top(&mut top, theirs);
        }
        top.to_string()
    }

    /// The same, of this process.
    pub(super) fn own_top(&self, state: &State, domain: &str, rule: &str) -> Option<Value> {
        let mut rows = state.rows.rows.iter().map(|row| &row.row);
        let row = rows.find(|row| *row.domain == *domain && *row.rule == *rule)?;
        let metrics = &self.sources.metrics;
        let top = state.keys.top(row.id, MOST_TOP_KEYS, &|burst| metrics.near_border(burst));
        let keys = top.iter().map(|top| {
            json!({
                "name": self.names.of(top.key),
                "values": top.text.as_deref(),
                "decisions": top.decisions,
                "error": top.error,
                "denied": top.denied,
                "would_deny": top.would_deny,
                "share": top.share,
                "state": top.nearness.word(),
            })
        });
        Some(json!({
            "domain": domain,
            "rule": rule,
            "window_seconds": keys::WINDOW_SECONDS,
            "left_out_at_most": state.keys.left_out_at_most(),
            "keys": keys.collect::<Vec<Value>>(),
        }))
    }

    fn object(&self, state: &State, extent: Extent) -> Value {
        let State { rows, limiter, now_us, sum, others, .. } = state;
        let shown = rows.shown.iter().map(|at| &rows.rows[*at]);
        let (mut rules, _, mut left_out) = rows.left_out();
        for other in others.by_name.values().filter(|other| other.is_fresh) {
            rules = rules.max(other.left_out.0);
            left_out.add(&other.left_out.1);
        }
        let now = Now { us: *now_us, started_us: self.started_us, connections: self.open_connections() };
        let replicas = iter::once(self.this_replica(state));
        let replicas = replicas.chain(others.by_name.values().map(|other| other.json(*now_us)));
        let mut left_out = counts(&left_out);
        left_out.insert("rules".to_owned(), rules.into());
        json!({
            "version": 1,
            "time_ms": now_us / 1_000,
            "replica": self.replica,
            "show_values": self.values == Values::Shown,
            "rules": shown.map(|row| self.row(state, row, extent)).collect::<Vec<Value>>(),
            "left_out": left_out,
            "limiter": limiter.json(&self.sources, sum, now),
            "replicas": replicas.collect::<Vec<Value>>(),
            "events": self.new_events(state, extent),
        })
    }

    fn row(&self, state: &State, row: &RuleRow, extent: Extent) -> Value {
        let fullness = state.fullness.get(&row.row.id).copied();
        let (near, over) = fullness.map_or((0, 0), |fullness| (fullness.near, fullness.over));
        let shares = [fullness.map(|fullness| fullness.share), row.share];
        let mut object = counts(&row.all);
        let own = (self.replica, &row.second);
        let parts = iter::once(own).chain(row.parts.iter().map(|(name, counts)| (name.as_str(), counts)));
        let parts = parts.map(|(name, Counts { admitted, denied, would_deny, .. })| {
            json!({ "replica": name, "admitted": admitted, "denied": denied, "would_deny": would_deny })
        });
        let limits = row.row.limits.iter().take(MOST_LIMITS).map(|limit| self::limit(limit));
        object.extend(fields(json!({
            "domain": *row.row.domain,
            "rule": *row.row.rule,
            "limits": limits.collect::<Vec<Value>>(),
            "share": shares.into_iter().flatten().reduce(f64::max),
            "keys_near": near.max(row.keys_near),
            "keys_over": over.max(row.keys_over),
            "keys_more": state.keys.has_more(),
            "last_denial_ms": row.last_denial_us.map(|us| us / 1_000),
            "parts": parts.collect::<Vec<Value>>(),
        })));
        if extent == Extent::Past || extent == Extent::Second && row.is_new {
            let history = row.history.as_ref().map(|history| history.json());
            let none = || json!({ "admitted": [], "denied": [], "would_deny": [] });
            object.insert("history".to_owned(), history.unwrap_or_else(none));
        }
        Value::Object(object)
    }

    pub(super) fn this_replica(&self, state: &State) -> Value {
        let standing = self.sources.publisher.standing();
        let mut object = counts(&state.sum);
        object.extend(fields(json!({
            "name": self.replica,
            "is_this": true,
            "age_ms": self.clock.now_us().saturating_sub(state.now_us) / 1_000,
            "answers": answers(&state.sum),
            "p99_us": state.limiter.quantile_us(0.99),
            "breaker": state.limiter.breaker(),
            "connections": self.open_connections(),
            "rules_version": standing.matcher.version(),
            "stale": standing.refused.is_some(),
        })));
        Value::Object(object)
    }

    fn open_connections(&self) -> Option<usize> {
        self.connections.get().map(|open| open())
    }

    fn new_events(&self, state: &State, extent: Extent) -> Vec<Value> {
        let others = &state.others;
        let (mut events, theirs): (_, Vec<&Value>) = match extent {
            Extent::Past | Extent::Return => {
                (self.own_events(state, 0, MOST_FIRST_EVENTS), others.events.iter().collect())
            }
            Extent::Second => {
                let fresh = others.by_name.values().filter(|other| other.is_fresh);
                let theirs = fresh.flat_map(|other| &other.new_events).collect();
                (self.own_events(state, state.told, usize::MAX), theirs)
            }
        };
        events.extend(theirs.into_iter().cloned());
        events.sort_by_key(|event| event["time_ms"].as_u64());
        events
    }

    /// The newest events of this process after the one with that number.
    pub(super) fn own_events(&self, _state: &State, after: u64, count: usize) -> Vec<Value> {
        let events = self.kept_events();
        events.newest_after(after, count).map(|event| event.json(self.replica, &self.names)).collect()
    }
}

/// Adds the top keys of another replica. A key has the same name in each.
fn merge_top(top: &mut Value, theirs: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or_default().min(1 << 40);
    top["left_out_at_most"] = (number(&top["left_out_at_most"]) + number(&theirs["left_out_at_most"])).into();
    let Some(keys) = top["keys"].as_array_mut() else { return };
    for key in theirs["keys"].as_array().into_iter().flatten().take(MOST_TOP_KEYS) {
        let Some(same) = keys.iter_mut().find(|known| known["name"] == key["name"]) else {
            if key["name"].is_string() && key["decisions"].is_u64() {
                keys.push(key.clone());
            }
            continue;
        };
        for field in ["decisions", "error", "denied", "would_deny"] {
            same[field] = (number(&same[field]) + number(&key[field])).into();
        }
        if key["share"].as_f64() > same["share"].as_f64() {
            (same["share"], same["state"]) = (key["share"].clone(), key["state"].clone());
        }
    }
    keys.sort_by_key(|key| {
        std::cmp::Reverse(number(&key["decisions"]).saturating_sub(number(&key["error"])))
    });
    keys.truncate(MOST_TOP_KEYS);
}

fn counts(counts: &Counts) -> Map<String, Value> {
    let Counts { admitted, denied, would_deny, near, .. } = counts;
    fields(json!({ "admitted": admitted, "denied": denied, "would_deny": would_deny, "near": near }))
}

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn limit(limit: &RuleLimit) -> Value {
    let numbers = &limit.limit;
    json!({
        "tier": limit.tier.as_deref(),
        "requests": numbers.requests_per_unit(),
        "period": numbers.per().to_string(),
        "period_seconds": numbers.period_seconds_at(None),
        "burst": numbers.burst(),
        "algorithm": numbers.algorithm().name(),
        "shadow": limit.options.shadow_mode,
    })
}
