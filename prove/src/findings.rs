//! All facts of a run, counted once: the verdict and both forms of the report read nothing else.

use std::collections::BTreeMap;

use super::{
    metrics::Decisions,
    phases::{Course, UNDER_LOAD},
    record::{Broken, Class, Entry, Record, count},
};
use tollgate_core::{
    audit::{Bound, Denials, HeldBack, Span, Worst},
    limit::Limit,
};

/// A tenth of a second.
pub(super) const BIN_US: u64 = 100_000;

#[derive(Debug)]
pub(super) struct Findings {
    pub(super) limit: Limit,
    pub(super) counts: Counts,
    pub(super) targets: Vec<(String, Counts)>,
    pub(super) phases: Vec<PhaseCounts>,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) latency: Option<Latency>,
    /// Admitted while there was always demand, and what was allowed then.
    pub(super) under_load: Amounts,
    /// Admitted in each [`BIN_US`] of that time, by when the answer came.
    pub(super) timeline: Vec<u64>,
    pub(super) worst: Option<Worst>,
    pub(super) denials: Denials,
    /// The most hits that leases may have held back from a denied request.
    pub(super) leases_hold: u64,
    pub(super) broken: BTreeMap<&'static str, Broken>,
    pub(super) silences: BTreeMap<&'static str, Broken>,
    pub(super) denied_by: BTreeMap<String, u64>,
    pub(super) fallback_answers: FallbackAnswers,
    pub(super) is_other_clock: bool,
    pub(super) left_out: Vec<String>,
    pub(super) is_interrupted: bool,
    pub(super) is_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    /// With and without the limiter's headers.
    pub(super) admitted: u64,
    pub(super) denied: u64,
    /// Success and 429 without the limiter's headers.
    pub(super) unsigned: u64,
    pub(super) failed: u64,
    pub(super) silent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PhaseCounts {
    pub(super) name: String,
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
    pub(super) p999_us: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    pub(super) admitted: u64,
    /// In thousandths: the burst, and what was refilled.
    pub(super) allowed_milli: u64,
}

/// What Tollgate's own counters say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FallbackAnswers {
    NotAsked,
    Counted(Decisions),
    Unreadable(String),
}

/// What a run leaves behind.
pub(super) struct Run {
    pub(super) limit: Limit,
    pub(super) bound: Bound,
    pub(super) is_other_clock: bool,
    pub(super) targets: Vec<String>,
    pub(super) record: Record,
    pub(super) course: Course,
    pub(super) fallback_answers: FallbackAnswers,
}

impl Findings {
    pub(super) fn new(run: Run) -> Findings {
        let Run { limit, bound, is_other_clock, targets, record, course, fallback_answers } = run;
        let worst = bound.too_much(&record.admitted());
        let (charged, denied) = (record.charged(), record.denied());
        let asked: Vec<Span> = record.entries.iter().map(|entry| entry.span).collect();
        let leases = HeldBack::new(&limit, asked.iter());
        let entries = &record.entries;
        let count_target = |(name, target): (String, u16)| {
            (name, Counts::from_entries(entries.iter().filter(|entry| entry.target == target)))
        };
        Findings {
            counts: Counts::from_entries(entries.iter()),
            targets: targets.into_iter().zip(0..).map(count_target).collect(),
            phases: phase_counts(&course, entries),
            statuses: statuses(entries),
            latency: Latency::from_entries(entries),
            under_load: under_load(&course, &record, &limit, &bound),
            timeline: timeline(&course, &record),
            worst,
            denials: bound.too_little(&charged, &denied, &leases),
            leases_hold: leases.most_hits(&denied),
            limit,
            broken: record.broken,
            silences: record.silences,
            denied_by: record.denied_by,
            fallback_answers,
            is_other_clock,
            left_out: course.left_out,
            is_interrupted: course.is_interrupted,
            is_full: course.is_full,
        }
    }

    /// Of all requests, those that one target got, in tenths of a percent; 0 if none were sent.
    pub(super) fn share_per_mille(&self, target: &Counts) -> u64 {
        (target.sent * 1000).checked_div(self.counts.sent).unwrap_or(0)
    }

    /// The worst interval, if more was admitted in it than allowed.
    pub(super) fn surplus(&self) -> Option<Worst> {
        self.worst.filter(|worst| worst.interval.is_too_much())
    }

    pub(super) fn allowed_milli(&self, refilled_milli: u64) -> u64 {
        (u64::from(self.limit.burst()) * 1000).saturating_add(refilled_milli)
    }
}

impl Counts {
    /// What the limiter has signed, which is what its contract is about.
    pub(super) fn signed(&self) -> u64 {
        self.admitted + self.denied - self.unsigned
    }

    fn from_entries<'a>(entries: impl Iterator<Item = &'a Entry>) -> Counts {
        entries.fold(Counts::default(), |mut counts, entry| {
            counts.sent += 1;
            counts.admitted += u64::from(entry.class.is_admitted());
            counts.denied += u64::from(matches!(entry.class, Class::Denied | Class::DeniedUnsigned));
            counts.unsigned +=
                u64::from(matches!(entry.class, Class::AdmittedUnsigned | Class::DeniedUnsigned));
            counts.failed += u64::from(entry.class == Class::Failed);
            counts.silent += u64::from(entry.class == Class::Silent);
            counts
        })
    }
}

impl Latency {
    /// Of all answered requests, by nearest rank.
    fn from_entries(entries: &[Entry]) -> Option<Latency> {
        let answered = entries.iter().filter(|entry| entry.class != Class::Silent);
        let mut sorted: Vec<u32> = answered.map(|entry| entry.latency_us).collect();
        sorted.sort_unstable();
        let rank = |per_mille: usize| {
            sorted.get((sorted.len() * per_mille).div_ceil(1000).saturating_sub(1)).copied()
        };
        Some(Latency { p50_us: rank(500)?, p99_us: rank(990)?, p999_us: rank(999)? })
    }
}

fn phase_counts(course: &Course, entries: &[Entry]) -> Vec<PhaseCounts> {
    let count = |phase: &super::phases::Phase| {
        let within = |entry: &&Entry| (phase.from_us..=phase.to_us).contains(&entry.span.start_us);
        PhaseCounts {
            name: phase.name.clone(),
            from_us: phase.from_us,
            to_us: phase.to_us,
            counts: Counts::from_entries(entries.iter().filter(within)),
        }
    };
    course.phases.iter().map(count).collect()
}

fn statuses(entries: &[Entry]) -> BTreeMap<u16, u64> {
    let mut statuses = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.class != Class::Silent) {
        *statuses.entry(entry.status).or_default() += 1;
    }
    statuses
}

fn under_load(course: &Course, record: &Record, limit: &Limit, bound: &Bound) -> Amounts {
    let phases = &course.phases[..course.phases.len().min(UNDER_LOAD)];
    let (Some(first), Some(last)) = (phases.first(), phases.last()) else { return Amounts::default() };
    let began = |entry: &&Entry| (first.from_us..=last.to_us).contains(&entry.span.start_us);
    let admitted = record.entries.iter().filter(began).filter(|entry| entry.class.is_admitted());
    let refilled_milli = bound.refilled_milli(first.from_us, last.to_us);
    Amounts {
        admitted: count(admitted),
        allowed_milli: (u64::from(limit.burst()) * 1000).saturating_add(refilled_milli),
    }
}

fn timeline(course: &Course, record: &Record) -> Vec<u64> {
    let phases = &course.phases[..course.phases.len().min(UNDER_LOAD)];
    let (Some(first), Some(last)) = (phases.first(), phases.last()) else { return Vec::new() };
    let bin = |us: u64| usize::try_from(us.saturating_sub(first.from_us) / BIN_US).unwrap_or(usize::MAX);
    let mut bins = vec![0; bin(last.to_us) + 1];
    for entry in record.entries.iter().filter(|entry| entry.class.is_admitted()) {
        if let Some(count) = bins.get_mut(bin(entry.span.end_us)) {
            *count += 1;
        }
    }
    bins
}

impl Amounts {
    /// Admitted by allowed, in thousandths; none where nothing is allowed.
    pub(super) fn ratio_milli(&self) -> Option<u64> {
        self.admitted.checked_mul(1_000_000)?.checked_div(self.allowed_milli)
    }
}
