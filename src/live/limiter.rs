//! Whether the limiter itself is well: what made its answers, how the store does, and by which rules it decides.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::events::shown;
use crate::{
    lifecycle::{Lifecycle, Phase},
    metrics::{Counts, Metrics, StoreTimes},
    rules::{Publisher, Standing},
    store::{
        health::{Contact, StoreHealth},
        redis::board::Board,
    },
};
use tollgate_core::duration::micros;

/// The seconds whose answers of the store are told.
const SECONDS: usize = 10;

/// What is looked at once a second.
pub struct Sources {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The rules in force.
    pub publisher: Arc<Publisher>,
    /// Whether the store can be used.
    pub health: Arc<StoreHealth>,
    /// The phase of the server.
    pub lifecycle: Lifecycle,
    /// None for the memory store, which is not shared.
    pub redis: Option<RedisSources>,
    /// The most connections that may be open.
    pub max_connections: usize,
}

/// The same, of Redis.
pub struct RedisSources {
    /// The time that it has for an answer.
    pub deadline: Duration,
    /// The number of replicas that share it.
    pub replicas: Box<dyn Fn() -> Option<NonZeroU32> + Send + Sync>,
    /// Where replicas show each other their seconds.
    pub board: Arc<Board>,
}

/// The state of the limiter at the end of a second.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    times: VecDeque<StoreTimes>,
    errors_before: BTreeMap<String, u64>,
    /// Within the last second, by reason.
    errors: BTreeMap<String, u64>,
    calls: u64,
}

impl Limiter {
    pub(super) fn tick(&mut self, metrics: &Metrics) {
        let now = metrics.store_times();
        let sum = |times: &StoreTimes| times.counts.iter().sum::<u64>();
        self.calls = self.times.back().map_or(0, |before| sum(&now) - sum(before));
        self.times.push_back(now);
        if self.times.len() > SECONDS + 1 {
            self.times.pop_front();
        }
        let errors = metrics.store_errors();
        let since = |(kind, count): (&String, &u64)| {
            let more = count - self.errors_before.get(kind).unwrap_or(&0);
            (more > 0).then(|| (kind.clone(), more))
        };
        self.errors = errors.iter().filter_map(since).collect();
        self.errors_before = errors;
    }

    /// The bound of the latency bucket below which that part of the last seconds' answers lie.
    pub(super) fn quantile_us(&self, part: f64) -> Option<u64> {
        let (oldest, newest) = (self.times.front()?, self.times.back()?);
        let counts = newest.counts.iter().zip(&oldest.counts).map(|(now, then)| now - then);
        let counts: Vec<u64> = counts.collect();
        let all: u64 = counts.iter().sum();
        if all == 0 {
            return None;
        }
        let mut seen = 0;
        for (count, bound) in counts.iter().zip(&newest.bounds_us) {
            seen += count;
            #[allow(clippy::cast_precision_loss, reason = "a part of a count")]
            if seen as f64 >= all as f64 * part {
                // Beyond the last bound it is only known to be longer.
                return Some(
                    bound.unwrap_or_else(|| newest.bounds_us.iter().flatten().max().copied().unwrap_or(0)),
                );
            }
        }
        None
    }

    /// The breaker, as its refusals show it.
    pub(super) fn breaker(&self) -> &'static str {
        match (self.errors.contains_key("tripped"), self.calls > self.errors.values().sum()) {
            (false, _) => "serving",
            (true, true) => "probing",
            (true, false) => "tripped",
        }
    }

    pub(super) fn json(&self, sources: &Sources, second: &Counts, now: Now) -> Value {
        let Sources { metrics: _, publisher, health, lifecycle, redis, max_connections } = sources;
        let Standing { matcher, since_us, refused } = publisher.standing();
        let replicas = match redis {
            Some(redis) => (redis.replicas)().map(NonZeroU32::get),
            None => Some(1),
        };
        json!({
            "answers": answers(second),
            "store": self.store(health, redis.as_ref()),
            "replicas": replicas,
            "connections": now.connections,
            "max_connections": max_connections,
            "rules": {
                "version": matcher.version(),
                "age_seconds": now.us.saturating_sub(since_us) / 1_000_000,
                "domains": matcher.domains().count(),
                "limits": matcher.limits().len(),
                "stale": refused.is_some(),
            },
            "refused": refused.map(|refused| json!({
                "time_ms": refused.at_us / 1_000,
                "errors": shown(&refused.errors),
            })),
            "phase": phase(lifecycle),
            "uptime_seconds": now.us.saturating_sub(now.started_us) / 1_000_000,
            "tollgate": env!("CARGO_PKG_VERSION"),
        })
    }

    fn store(&self, health: &StoreHealth, redis: Option<&RedisSources>) -> Value {
        let contact = health.contact();
        let state = if redis.is_some() { state(&contact) } else { "memory" };
        json!({
            "kind": if redis.is_some() { "redis" } else { "memory" },
            "address": health.address(),
            "state": state,
            "text": contact.to_string(),
            "calls": self.calls,
            "errors": self.errors,
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
            "deadline_us": redis.map(|redis| micros(redis.deadline)),
            "breaker": self.breaker(),
        })
    }
}

/// What is known only when the second ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) us: u64,
    pub(super) started_us: u64,
    pub(super) connections: Option<usize>,
}

/// The number of decisions by what made them.
pub(super) fn answers(counts: &Counts) -> Value {
    let words = Counts::SOURCES.iter().zip(counts.by_source);
    words.map(|(source, count)| (source.word().to_owned(), Value::from(count))).collect()
}

fn state(contact: &Contact) -> &'static str {
    match contact {
        Contact::All => "ok",
        Contact::Degraded { .. } => "degraded",
        Contact::Refused { .. } | Contact::Unusable { .. } => "refused",
        Contact::NotYet { .. } => "not_yet",
    }
}

fn phase(lifecycle: &Lifecycle) -> &'static str {
    match lifecycle.phase() {
        Phase::Serving => "serving",
        Phase::Leaving => "leaving",
        Phase::Draining => "draining",
        Phase::Ended => "ended",
    }
}
