//! The targets themselves.

use super::{Bound, Target};
use crate::bench::{
    figures::{CaseFigures, labels},
    sample::Sample,
    stats::Spread,
};

pub const TARGETS: [Target; 38] = [
    Target {
        work: "memory, allowed, 64 in flight: service CPU against the floor's",
        case: "uniform-64",
        bound: Bound::AtMost(1.2),
        measure: |case| case.ratio(labels::MEMORY, labels::FLOOR, Sample::service_us),
    },
    Target {
        work: "Redis, 1,000 keys, 64 in flight: service CPU against the floor's",
        case: "uniform-64",
        bound: Bound::AtMost(1.35),
        measure: |case| case.ratio(labels::REDIS, labels::FLOOR, Sample::service_us),
    },
    Target {
        work: "Redis, 1,000 keys, 512 in flight: service CPU against the floor's",
        case: "uniform-512",
        bound: Bound::AtMost(1.35),
        measure: |case| case.ratio(labels::REDIS, labels::FLOOR, Sample::service_us),
    },
    Target {
        work: "built with a profile, memory, 64 in flight: service CPU against the ordinary build's",
        case: "uniform-64",
        bound: Bound::AtMost(0.95),
        measure: |case| case.ratio(labels::MEMORY_PROFILED, labels::MEMORY, Sample::service_us),
    },
    Target {
        work: "built with a profile, Redis, 64 in flight: service CPU against the ordinary build's",
        case: "uniform-64",
        bound: Bound::AtMost(0.95),
        measure: |case| case.ratio(labels::REDIS_PROFILED, labels::REDIS, Sample::service_us),
    },
    Target {
        work: "Redis, 1,000 keys, 64 in flight: Redis CPU against INCRBY+EXPIRE per request",
        case: "uniform-64",
        bound: Bound::AtMost(0.3),
        measure: |case| case.ratio(labels::REDIS, labels::INCRBY, Sample::redis_us),
    },
    Target {
        work: "Redis, 1,000 keys, 512 in flight: Redis CPU against INCRBY+EXPIRE per request",
        case: "uniform-512",
        bound: Bound::AtMost(0.25),
        measure: |case| case.ratio(labels::REDIS, labels::INCRBY, Sample::redis_us),
    },
    Target {
        work: "Redis, 1 in flight: p50 against floor p50 + one raw EVALSHA",
        case: "one-at-a-time",
        bound: Bound::AtMost(1.3),
        measure: |case| {
            case.pairwise([labels::REDIS, labels::FLOOR, labels::EVALSHA], |[redis, floor, evalsha]| {
                Some(redis.p50_us / (floor.p50_us + evalsha.p50_us))
            })
        },
    },
    Target {
        work: "Redis, 1 in flight: Redis CPU of a lone take against INCRBY+EXPIRE",
        case: "one-at-a-time",
        bound: Bound::AtMost(1.25),
        measure: |case| case.ratio(labels::REDIS, labels::INCRBY, Sample::redis_us),
    },
    Target {
        work: "the script alone, 1 in flight: Redis CPU against INCRBY+EXPIRE",
        case: "one-at-a-time",
        bound: Bound::AtMost(1.25),
        measure: |case| case.ratio(labels::EVALSHA, labels::INCRBY, Sample::redis_us),
    },
    Target {
        work: "one key denied, 10/s: script calls per admission, less one per runtime and second",
        case: "one-denied-64",
        bound: Bound::AtMost(2.0),
        measure: |case| calls_per_admission(case, labels::REDIS, 1.0),
    },
    Target {
        work: "the same with eight runtimes",
        case: "eight-denied-64",
        bound: Bound::AtMost(2.0),
        measure: |case| calls_per_admission(case, labels::REDIS_8_RUNTIMES, 8.0),
    },
    Target {
        work: "one key denied: decisions/s against the floor's",
        case: "one-denied-64",
        bound: Bound::AtLeast(0.9),
        measure: |case| case.ratio(labels::REDIS, labels::FLOOR, |run| Some(run.per_second())),
    },
    Target {
        work: "one key denied: admissions more or fewer than with the denial cache off",
        case: "one-denied-64",
        bound: Bound::AtMost(1.0),
        measure: |case| {
            case.pairwise([labels::REDIS, labels::CACHE_OFF], |[on, off]| Some(on.ok.abs_diff(off.ok) as f64))
        },
    },
    Target {
        work: "Redis at half its peak rate: p99 against the floor's at the same rate",
        case: "half-peak-64",
        bound: Bound::AtMost(1.5),
        measure: |case| case.ratio(labels::REDIS, labels::FLOOR, |run| Some(run.p99_us)),
    },
    Target {
        work: "memory at that rate: p99 against the floor's",
        case: "half-peak-64",
        bound: Bound::AtMost(1.5),
        measure: |case| case.ratio(labels::MEMORY, labels::FLOOR, |run| Some(run.p99_us)),
    },
    Target {
        work: "4 descriptors: service CPU against the floor's",
        case: "four-64",
        bound: Bound::AtMost(1.6),
        measure: |case| case.ratio(labels::REDIS, labels::FLOOR, Sample::service_us),
    },
    Target {
        work: "4 descriptors: Redis calls per decision",
        case: "four-64",
        bound: Bound::AtMost(1.0),
        // Calls and answers are counted some requests apart: thousandths say nothing.
        measure: |case| case.pairwise([labels::REDIS], |[run]| Some((run.calls()? * 100.0).round() / 100.0)),
    },
    Target {
        work: "4 descriptors: Redis CPU against that of 1",
        case: "four-64",
        bound: Bound::AtMost(3.5),
        measure: |case| case.ratio(labels::REDIS, labels::REDIS_1_DESCRIPTOR, Sample::redis_us),
    },
    Target {
        work: "4 descriptors: Redis CPU against INCRBY+EXPIRE for 4 in one pipeline",
        case: "four-64",
        bound: Bound::AtMost(1.0),
        measure: |case| case.ratio(labels::REDIS, labels::INCRBY, Sample::redis_us),
    },
    Target {
        work: "leases, one hot key, 64 in flight: service CPU against the floor's",
        case: "hot-64",
        bound: Bound::AtMost(1.25),
        measure: |case| case.ratio(labels::LEASED, labels::FLOOR, Sample::service_us),
    },
    Target {
        work: "leases, one hot key, 64 in flight: Redis CPU µs a decision",
        case: "hot-64",
        bound: Bound::AtMost(0.05),
        measure: |case| case.pairwise([labels::LEASED], |[run]| run.redis_us()),
    },
    Target {
        work: "leases, one hot key at half the peak rate: p99 against the memory store's",
        case: "hot-half-peak-64",
        bound: Bound::AtMost(1.5),
        measure: |case| case.ratio(labels::LEASED, labels::MEMORY, |run| Some(run.p99_us)),
    },
    Target {
        work: "leases, 1,000,000 keys under Zipf: Redis CPU against that without leases",
        case: "zipf-64",
        bound: Bound::AtMost(0.8),
        measure: |case| case.ratio(labels::LEASED, labels::REDIS, Sample::redis_us),
    },
    // Nothing is to be slower; a run tells differences of this size from none.
    Target {
        work: "leases, 1,000,000 keys under Zipf: decisions/s against those without leases",
        case: "zipf-64",
        bound: Bound::AtLeast(0.97),
        measure: |case| case.ratio(labels::LEASED, labels::REDIS, |run| Some(run.per_second())),
    },
    Target {
        work: "leases, 1,000,000 keys under Zipf: p50 against that without leases",
        case: "zipf-64",
        bound: Bound::AtMost(1.03),
        measure: |case| case.ratio(labels::LEASED, labels::REDIS, |run| Some(run.p50_us)),
    },
    Target {
        work: "leases, 1,000,000 keys under Zipf: p99 against that without leases",
        case: "zipf-64",
        bound: Bound::AtMost(1.05),
        measure: |case| case.ratio(labels::LEASED, labels::REDIS, |run| Some(run.p99_us)),
    },
    Target {
        work: "leases, 1,000,000 keys under Zipf: service CPU against that without leases",
        case: "zipf-64",
        bound: Bound::AtMost(1.03),
        measure: |case| case.ratio(labels::LEASED, labels::REDIS, Sample::service_us),
    },
    Target {
        work: "leases, Redis 2 ms away, one hot key: p50 against the memory store's",
        case: "far-64",
        bound: Bound::AtMost(1.2),
        measure: |case| case.ratio(labels::FAR_LEASED, labels::MEMORY, |run| Some(run.p50_us)),
    },
    Target {
        work: "leases, Redis 2 ms away, one hot key: p99 in ms",
        case: "far-64",
        bound: Bound::AtMost(3.0),
        measure: |case| case.pairwise([labels::FAR_LEASED], |[run]| Some(run.p99_us / 1_000.0)),
    },
    Target {
        work: "memory, ext_authz with one header: service CPU against ShouldRateLimit's",
        case: "authz-64",
        bound: Bound::AtMost(1.15),
        measure: |case| case.ratio(labels::MEMORY_CHECK, labels::MEMORY, Sample::service_us),
    },
    Target {
        work: "memory, ext_authz with a browser's headers: service CPU against ShouldRateLimit's",
        case: "authz-64",
        bound: Bound::AtMost(1.4),
        measure: |case| case.ratio(labels::MEMORY_BROWSER, labels::MEMORY, Sample::service_us),
    },
    Target {
        work: "memory, 2 runtimes against 1: CPU per decision",
        case: "two-runtimes-64",
        bound: Bound::AtMost(1.1),
        measure: |case| case.ratio(labels::MEMORY_2_RUNTIMES, labels::MEMORY, Sample::service_us),
    },
    Target {
        work: "Redis, 2 runtimes against 1: CPU per decision",
        case: "two-runtimes-64",
        bound: Bound::AtMost(1.1),
        measure: |case| case.ratio(labels::REDIS_2_RUNTIMES, labels::REDIS, Sample::service_us),
    },
    Target {
        work: "Cluster of three, 64 in flight: service CPU against one Redis'",
        case: "cluster-64",
        bound: Bound::AtMost(1.25),
        measure: |case| case.ratio(labels::CLUSTER, labels::REDIS, Sample::service_us),
    },
    Target {
        work: "Cluster of three, 64 in flight: Redis CPU of a lone take against the long way's",
        case: "cluster-64",
        bound: Bound::AtMost(0.7),
        measure: |case| case.ratio(labels::CLUSTER, labels::CLUSTER_LONG_WAY, Sample::redis_us),
    },
    Target {
        work: "Redis, 512 in flight, 1,000,000 keys seen: resident MiB",
        case: "million-512",
        bound: Bound::AtMost(64.0),
        measure: |case| case.pairwise([labels::REDIS], |[run]| run.resident_mib()),
    },
    Target {
        work: "memory store: bytes of resident memory per bucket, of 1,000,000",
        case: "million-512",
        bound: Bound::AtMost(100.0),
        measure: |case| Spread::from_values([case.contender(labels::MEMORY)?.fill?.bytes_per_key()?]),
    },
];

/// Each runtime may look once a second.
fn calls_per_admission(case: &CaseFigures, label: &str, runtimes: f64) -> Option<Spread> {
    case.pairwise([label], |[run]| Some((run.redis_calls()? as f64 - runtimes * run.seconds) / run.ok as f64))
}
