//! What a message of `/live` says, as far as the table shows it.

use serde_json::Value;

use super::text;

/// A replica's second is old after so many milliseconds.
const SILENT_MS: u64 = 2_500;

/// The figures of one address.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) time_ms: u64,
    pub(super) rows: Vec<Row>,
    pub(super) left_out: LeftOut,
    /// The names of all replicas that the figures are of.
    pub(super) replicas: Vec<String>,
    pub(super) store: Store,
    /// Sentences. Empty: all is well.
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) is_memory: bool,
    pub(super) p99_us: Option<u64>,
    pub(super) deadline_us: Option<u64>,
}

/// The rules that are not listed, together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LeftOut {
    pub(super) rules: u64,
    pub(super) admitted: u64,
    pub(super) denied: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) limits: String,
    pub(super) is_shadow: bool,
    pub(super) admitted: u64,
    pub(super) denied: u64,
    pub(super) would_deny: u64,
    pub(super) share: Option<f64>,
    pub(super) keys_near: u64,
    pub(super) keys_over: u64,
    pub(super) last_denial_ms: Option<u64>,
}

// === impl Figures ===

impl Figures {
    /// The error says what is not as it should be.
    pub(super) fn read(message: &[u8]) -> Result<Figures, &'static str> {
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return Err("it is no JSON") };
        if number(&message["version"]) != 1 {
            return Err("its version is not 1, so this tollgate and that one are of different versions");
        }
        let rest = &message["left_out"];
        Ok(Figures {
            time_ms: number(&message["time_ms"]),
            rows: list(&message["rules"]).iter().map(Row::read).collect(),
            left_out: LeftOut {
                rules: number(&rest["rules"]),
                admitted: number(&rest["admitted"]),
                denied: number(&rest["denied"]),
            },
            replicas: list(&message["replicas"]).iter().map(|replica| string(&replica["name"], 40)).collect(),
            store: Store::read(&message["limiter"]["store"]),
            problems: problems(&message),
        })
    }
}

impl Row {
    fn read(row: &Value) -> Row {
        let limits = list(&row["limits"]);
        let shown: Vec<String> = limits.iter().take(2).map(limit).collect();
        let more = limits.len().saturating_sub(2);
        Row {
            domain: string(&row["domain"], 80),
            rule: string(&row["rule"], 160),
            limits: shown.join("; ") + &if more > 0 { format!("; {more} more") } else { String::new() },
            is_shadow: !limits.is_empty() && limits.iter().all(|limit| limit["shadow"] == true),
            admitted: number(&row["admitted"]),
            denied: number(&row["denied"]),
            would_deny: number(&row["would_deny"]),
            share: row["share"].as_f64(),
            keys_near: number(&row["keys_near"]),
            keys_over: number(&row["keys_over"]),
            last_denial_ms: row["last_denial_ms"].as_u64(),
        }
    }
}

impl Store {
    fn read(store: &Value) -> Store {
        Store {
            is_memory: store["kind"] == "memory",
            p99_us: store["p99_us"].as_u64(),
            deadline_us: store["deadline_us"].as_u64(),
        }
    }
}

fn limit(limit: &Value) -> String {
    let period = match limit["period_seconds"].as_u64() {
        None => string(&limit["period"], 20),
        Some(1) => "s".to_owned(),
        Some(60) => "min".to_owned(),
        Some(3_600) => "h".to_owned(),
        Some(86_400) => "day".to_owned(),
        Some(other) => text::seconds(other),
    };
    let (requests, burst) = (number(&limit["requests"]), number(&limit["burst"]));
    let tier = limit["tier"].as_str().map(|tier| text::cut(tier, 24) + " ").unwrap_or_default();
    let bursts = limit["algorithm"] == "token_bucket" && burst != requests;
    let burst = if bursts { format!(", burst {}", text::count(burst)) } else { String::new() };
    format!("{tier}{}/{period}{burst}", text::count(requests))
}

/// What is not well, as the page says it.
fn problems(message: &Value) -> Vec<String> {
    let (limiter, mut found) = (&message["limiter"], Vec::new());
    let store = &limiter["store"];
    if limiter["phase"] != "serving" {
        found.push(format!("This replica is {}.", string(&limiter["phase"], 20)));
    }
    if ["degraded", "refused", "not_yet"].iter().any(|state| store["state"] == *state) {
        found.push(format!("The store cannot be used: {}", string(&store["text"], 200)));
    } else if store["breaker"] != "serving" && store["kind"] != "memory" {
        found.push(format!(
            "The store is silent, and is probed: its breaker is {}.",
            string(&store["breaker"], 20)
        ));
    }
    let fallbacks = |answers: &Value| {
        ["local", "allow", "deny", "error"].iter().map(|source| number(&answers[source])).sum::<u64>()
    };
    let answers: u64 = list(&message["replicas"]).iter().map(|replica| fallbacks(&replica["answers"])).sum();
    if answers > 0 {
        found.push(format!(
            "{} in the last second came from a fallback, not from the store.",
            text::plural(answers, "answer")
        ));
    }
    if let (Some(p99), Some(deadline)) = (store["p99_us"].as_u64(), store["deadline_us"].as_u64())
        && p99 > deadline / 2
    {
        let (p99, deadline) = (text::micros(p99), text::micros(deadline));
        found.push(format!("The store is slow: p99 is at most {p99}, and the deadline is {deadline}."));
    }
    if !limiter["refused"].is_null() || limiter["rules"]["stale"] == true {
        let first = limiter["refused"]["errors"][0].as_str().map(|error| text::cut(error, 160));
        let first = first.map(|error| format!(" {error}")).unwrap_or_default();
        found.push(format!(
            "The last configuration was refused, and the rules before it stay in force.{first}"
        ));
    }
    replicas(list(&message["replicas"]), &mut found);
    found
}

fn replicas(replicas: &[Value], found: &mut Vec<String>) {
    let mut versions: Vec<&Value> = Vec::new();
    for replica in replicas {
        if !versions.contains(&&replica["rules_version"]) {
            versions.push(&replica["rules_version"]);
        }
        let (name, is_this) = (string(&replica["name"], 40), replica["is_this"] == true);
        let age_ms = number(&replica["age_ms"]);
        if age_ms > SILENT_MS {
            let age = text::seconds(age_ms / 1_000);
            found.push(format!("Replica {name} has been silent for {age}; its last second is shown."));
        }
        if !is_this && replica["stale"] == true {
            found.push(format!("Replica {name} refused its last configuration."));
        }
        if !is_this && ["tripped", "probing"].iter().any(|breaker| replica["breaker"] == *breaker) {
            let breaker = string(&replica["breaker"], 20);
            found.push(format!("Replica {name} gets no answers from the store: its breaker is {breaker}."));
        }
    }
    if versions.len() > 1 {
        found.push(format!("Replicas have {} different versions of the rules.", versions.len()));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn string(value: &Value, longest: usize) -> String {
    text::cut(value.as_str().unwrap_or_default(), longest)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
