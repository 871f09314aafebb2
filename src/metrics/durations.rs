//! How long requests take, by their door: from when they are decoded to when they are decided.
//!
//! An observation is two relaxed atomic adds. The crate's histogram makes three, one of them in a loop.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    Door,
    open::{Exemplar, Exemplars, TraceIds},
    text::{Kind, head},
};

/// The upper bounds of the buckets in microseconds, and as the page shows them in seconds. 20 ms is Envoy's default
/// timeout.
const BOUNDS: [(u64, &str); 15] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (200, "0.0002"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_000, "0.002"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (20_000, "0.02"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
];

const NAME: &str = "tollgate_request_duration_seconds";
const HELP: &str = "Time from a decoded request to its decision, by door. When it nears the timeout of Envoy's filter \
    (20 ms by default), compare tollgate_store_duration_seconds: if that is as long, Redis or the network is slow; if \
    not, Tollgate lacks CPU.";

/// In the order of [`Door::ALL`].
#[derive(Debug, Default)]
pub(super) struct Durations([OfDoor; Door::ALL.len()]);

#[derive(Debug, Default)]
struct OfDoor {
    /// How many fell into each bucket and no earlier one; the last is for those beyond all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
    /// One for each bucket.
    exemplars: [Exemplar; BOUNDS.len() + 1],
}

// === impl Durations ===

impl Durations {
    pub(super) fn observe(&self, door: Door, took: Duration) {
        let OfDoor { buckets, sum_ns, .. } = &self.0[door as usize];
        buckets[bucket_of(took)].fetch_add(1, Ordering::Relaxed);
        sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Keeps a request that took this long as the exemplar of its bucket.
    pub(super) fn exemplify(&self, door: Door, took: Duration, ids: TraceIds) {
        self.0[door as usize].exemplars[bucket_of(took)].keep(ids, took.as_secs_f64());
    }

    pub(super) fn show_exemplars(&self, exemplars: &mut Exemplars) {
        for door in Door::ALL {
            for (exemplar, bound) in self.0[door as usize].exemplars.iter().zip(bounds()) {
                exemplar.show(|| sample(NAME, &labels(door), bound), exemplars);
            }
        }
    }

    /// Adds the times of all doors to the page.
    pub(super) fn write(&self, page: &mut String) {
        head(page, NAME, Kind::Histogram, HELP);
        for door in Door::ALL {
            self.write_door(door, NAME, &labels(door), page);
        }
    }

    /// Adds the times of one door to the page, under that name and with those labels.
    pub(super) fn write_door(&self, door: Door, name: &str, labels: &str, page: &mut String) {
        let OfDoor { buckets, sum_ns, .. } = &self.0[door as usize];
        let mut count = 0;
        for (bucket, bound) in buckets.iter().zip(bounds()) {
            count += bucket.load(Ordering::Relaxed);
            // A String takes all that is written.
            let _ = writeln!(page, "{} {count}", sample(name, labels, bound));
        }
        let sum_s = Duration::from_nanos(sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(page, "{name}_sum{{{labels}}} {sum_s}\n{name}_count{{{labels}}} {count}");
    }
}

/// The bucket into which a time falls first.
fn bucket_of(took: Duration) -> usize {
    let bucket = BOUNDS.iter().position(|(bound_us, _)| took <= Duration::from_micros(*bound_us));
    bucket.unwrap_or(BOUNDS.len())
}

/// The bounds of all buckets, as the page shows them.
fn bounds() -> impl Iterator<Item = &'static str> {
    BOUNDS.iter().map(|(_, seconds)| *seconds).chain(["+Inf"])
}

fn labels(door: Door) -> String {
    format!("door=\"{}\"", door.word())
}

fn sample(name: &str, labels: &str, bound: &str) -> String {
    format!("{name}_bucket{{{labels},le=\"{bound}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it_and_those_after() {
        let durations = Durations::default();
        for us in [50, 51, 1_000_001, 20_000] {
            durations.observe(Door::Authz, Duration::from_micros(us));
        }
        let mut page = String::new();
        durations.write(&mut page);
        for (bound, count) in [("0.00005", 1), ("0.0001", 2), ("0.01", 2), ("0.02", 3), ("1", 3), ("+Inf", 4)]
        {
            let line = format!(
                "tollgate_request_duration_seconds_bucket{{door=\"authz\",le=\"{bound}\"}} {count}\n"
            );
            assert!(page.contains(&line), "{line}{page}");
        }
        assert!(page.contains("_sum{door=\"authz\"} 1.020102\n"), "{page}");
        assert!(
            page.contains("_count{door=\"authz\"} 4\n") && page.contains("_count{door=\"rls\"} 0\n"),
            "{page}"
        );
    }

    #[test]
    fn the_bounds_ascend_and_are_told_as_they_are() {
        assert!(BOUNDS.is_sorted());
        for (us, seconds) in BOUNDS {
            let told: f64 = seconds.parse().expect("a number");
            assert!((told * 1e6 - us as f64).abs() < 1e-6, "{seconds}");
        }
    }
}
