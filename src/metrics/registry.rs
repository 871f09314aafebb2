//! Registers metrics. Each panics if the name exists already, which only a mistake in the code can bring about.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry, core::Collector};

pub(super) fn counters(registry: &Registry, opts: Opts, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(opts, labels).expect("the name is valid");
    register(registry, &counters);
    counters
}

/// Counters by one label. All its values exist from the start, so that `rate()` misses no first increment.
pub(super) fn counters_from_start(
    registry: &Registry,
    opts: Opts,
    label: &str,
    values: &[&str],
) -> IntCounterVec {
    let counters = counters(registry, opts, &[label]);
    for value in values {
        let _ = counters.with_label_values(&[*value]);
    }
    counters
}

pub(super) fn counter_alone(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("the name is valid");
    register(registry, &counter);
    counter
}

pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: &C) {
    registry.register(Box::new(metric.clone())).expect("each metric is registered once");
}
