//! What was admitted under one limit of a key, against what the limit allows.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{
    history::SECONDS,
    watched::{LookedLimit, Points},
};
use crate::logging::names::{Names, number};
use tollgate_core::{descriptor::BucketKey, limit::Algorithm};

/// What was admitted under one limit.
#[derive(Debug)]
pub(super) struct LimitCourse {
    pub(super) key: BucketKey,
    burst: u32,
    /// Hits per second; none if the limit does not refill steadily.
    rate: Option<f64>,
    /// All hits that were counted when the last second ended.
    counted: u64,
    admitted: u64,
    seconds: f64,
    /// The interval up to now in which most was admitted beyond the refill.
    running: Interval,
    worst: Interval,
    points: VecDeque<Value>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    admitted: f64,
    seconds: f64,
}

#[allow(clippy::cast_precision_loss, reason = "shown, and far below 2^53")]
impl LimitCourse {
    pub(super) fn new(limit: &LookedLimit, counted: u64) -> LimitCourse {
        let refills = limit.algorithm == Algorithm::TokenBucket && limit.period_seconds > 0;
        LimitCourse {
            key: limit.key,
            burst: limit.burst,
            rate: refills.then(|| f64::from(limit.requests) / limit.period_seconds as f64),
            counted,
            admitted: 0,
            seconds: 0.0,
            running: Interval::default(),
            worst: Interval::default(),
            points: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, limit: &LookedLimit, counted: u64, now_us: u64, since_us: u64) {
        let new = counted.saturating_sub(self.counted);
        let seconds = now_us.saturating_sub(since_us) as f64 / 1e6;
        let took = seconds - self.seconds;
        (self.counted, self.seconds) = (counted, seconds);
        self.admitted += new;
        self.running.admitted += new as f64;
        self.running.seconds += took;
        let rate = self.rate.unwrap_or_default();
        if self.running.beyond(rate) <= 0.0 {
            self.running = Interval::default();
        }
        if self.running.beyond(rate) > self.worst.beyond(rate) {
            self.worst = self.running;
        }
        let point = json!({
            "time_ms": now_us / 1_000,
            "level": limit.level,
            "admitted": self.admitted,
            "allowed": self.allowed(self.seconds),
        });
        if self.points.len() == SECONDS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// The hits that the limit allows within so many seconds.
    fn allowed(&self, seconds: f64) -> Option<f64> {
        Some(f64::from(self.burst) + self.rate? * seconds)
    }

    pub(super) fn json(&self, limit: &LookedLimit, names: &Names, points: Points) -> Value {
        let skipped = if points == Points::All { 0 } else { self.points.len().saturating_sub(1) };
        let worst = self.allowed(self.worst.seconds).map(|allowed| {
            json!({ "admitted": self.worst.admitted, "allowed": allowed, "seconds": self.worst.seconds })
        });
        json!({
            "rule": limit.rule,
            "name": names.of(number(&limit.key)),
            "tier": limit.tier,
            "algorithm": limit.algorithm.name(),
            "requests": limit.requests,
            "period_seconds": limit.period_seconds,
            "burst": limit.burst,
            "level": limit.level,
            "fits": limit.fits,
            "next_ms": limit.next_us.div_ceil(1_000),
            "full_ms": limit.full_us.map(|us| us.div_ceil(1_000)),
            "admitted": self.admitted,
            "allowed": self.allowed(self.seconds),
            "worst": worst,
            "points": self.points.iter().skip(skipped).collect::<Vec<_>>(),
        })
    }
}

impl Interval {
    /// What was admitted beyond the refill. It is at most the burst.
    fn beyond(&self, rate: f64) -> f64 {
        self.admitted - rate * self.seconds
    }
}
