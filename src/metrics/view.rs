//! What the live page reads of the metrics.

use std::{collections::BTreeMap, sync::Arc};

use prometheus::core::Collector as _;

use super::{LimitCounters, Metrics};

/// The answers of the store since the start, by the time that they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreTimes {
    /// The upper bounds of the buckets in microseconds; the last one is without bound.
    pub bounds_us: Vec<Option<u64>>,
    /// How many took at most as long as each bound, and longer than the one before.
    pub counts: Vec<u64>,
}

impl Metrics {
    /// The counters of the rules in force.
    pub fn counters(&self) -> Arc<LimitCounters> {
        self.decisions.current()
    }

    /// The hits that may be taken from a full bucket of this burst before it counts as near its limit.
    pub fn near_border(&self, burst: u32) -> u32 {
        self.near_limit.border(burst)
    }

    /// How long the store took.
    pub fn store_times(&self) -> StoreTimes {
        let families = self.store_seconds.collect();
        let histogram = families.first().and_then(|family| family.get_metric().first());
        let Some(histogram) = histogram.map(|metric| metric.get_histogram()) else {
            return StoreTimes::default();
        };
        let (mut times, mut before) = (StoreTimes::default(), 0);
        for bucket in histogram.get_bucket() {
            times.bounds_us.push(Some(micros(bucket.upper_bound())));
            times.counts.push(bucket.cumulative_count().saturating_sub(before));
            before = bucket.cumulative_count();
        }
        times.bounds_us.push(None);
        times.counts.push(histogram.get_sample_count().saturating_sub(before));
        times
    }

    /// The requests that the store did not answer since the start, by reason.
    pub fn store_errors(&self) -> BTreeMap<String, u64> {
        let families = self.store_errors.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let counts = metrics.map(|metric| {
            let kind = metric.get_label().first().map_or("", |label| label.value());
            (kind.to_owned(), count(metric.get_counter().get_value()))
        });
        counts.collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bounds are at most a second"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative"
)]
fn count(value: f64) -> u64 {
    value as u64
}
