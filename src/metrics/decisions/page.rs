//! Writes the decisions to the page: one series for each label that has counted, and the sums of each domain, which
//! are always there; and how many decisions came near each limit.
//!
//! They are written by hand, because a page of 20,000 rules would cost a million allocations with the crate's types.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use super::{
    Decisions, LabelCounter, LimitCounters, Shown, Sum, Tally, post_paid,
    series::{UNDECIDED_WORD, VERDICTS, words},
};
use crate::metrics::text::Escaped;

/// Stands for all further paths.
pub(super) const OTHER: &str = "other";
/// The label of limits that requests bring along.
pub(super) const OVERRIDE: &str = "(override)";

const HEAD: &str = "\
# HELP tollgate_decisions_total Decisions on one bucket. A series appears with its first. source local, allow, deny \
    or error: the store did not answer.
# TYPE tollgate_decisions_total counter
";
const HEAD_OF_DOMAINS: &str = "\
# HELP tollgate_domain_decisions_total Decisions on one bucket, by domain. Every series is there from the start, so \
    alerts can use it.
# TYPE tollgate_domain_decisions_total counter
";
const HEAD_OF_NEAR: &str = "\
# HELP tollgate_near_limit_total Decisions that allowed hits beyond --near-limit-ratio of the limit. While they rise, the \
    limit is nearly used up: raise it, or find out who uses it. A series appears with the first decision on its limit.
# TYPE tollgate_near_limit_total counter
";

/// By domain and label.
type Sums<'a> = BTreeMap<(&'a str, Cow<'a, str>), Sum>;

impl Decisions {
    /// Adds these metrics to the page.
    pub(in crate::metrics) fn write(&self, page: &mut String) {
        let mut shown = self.shown();
        shown.settle();
        // A String takes all that is written.
        let _ = write_labels(&shown.current, page)
            .and_then(|()| write_domains(&shown, page))
            .and_then(|()| post_paid::write(&shown.current, page));
    }
}

fn write_labels(current: &LimitCounters, page: &mut String) -> fmt::Result {
    let mut sums = Sums::new();
    let mut add = |domain, label, tally: &Tally| {
        let sum = tally.now();
        if sum.decisions.iter().any(|count| *count > 0) {
            sums.entry((domain, label)).or_default().add(&sum);
        }
    };
    for LabelCounter { limit, counter } in &current.labels {
        add(&limit.domain, limit.label(), &counter.series.own);
        // Copied, because requests wait for the lock. A path may also equal the label of another rule.
        counter
            .series
            .paths()
            .iter()
            .for_each(|(path, tally)| add(&limit.domain, path.to_string().into(), tally));
    }
    for (name, domain) in &current.domains {
        add(name, OTHER.into(), &domain.other);
        add(name, OVERRIDE.into(), &domain.overrides);
    }
    page.push_str(HEAD);
    for ((domain, label), sum) in &sums {
        let (domain, label) = (Escaped(domain), Escaped(label));
        for (place, count) in sum.decisions.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (verdict, source) = words(place);
            writeln!(
                page,
                "tollgate_decisions_total{{domain=\"{domain}\",rule=\"{label}\",source=\"{source}\",\
                 verdict=\"{verdict}\"}} {count}"
            )?;
        }
    }
    page.push_str(HEAD_OF_NEAR);
    for ((domain, label), Sum { near, .. }) in &sums {
        let (domain, label) = (Escaped(domain), Escaped(label));
        writeln!(page, "tollgate_near_limit_total{{domain=\"{domain}\",rule=\"{label}\"}} {near}")?;
    }
    Ok(())
}

fn write_domains(shown: &Shown, page: &mut String) -> fmt::Result {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (name, domain) in &shown.current.domains {
        let sum = sums.entry(name).or_default();
        [&domain.overrides, &domain.other, &domain.gone].iter().for_each(|tally| sum.add(&tally.now()));
        let leaving = shown.leaving.iter().filter(|leaving| Arc::ptr_eq(&leaving.counter.domain, domain));
        leaving.for_each(|leaving| sum.add(&leaving.counter.series.total()));
    }
    for LabelCounter { limit, counter } in &shown.current.labels {
        sums.entry(&limit.domain).or_default().add(&counter.series.total());
    }
    page.push_str(HEAD_OF_DOMAINS);
    for (domain, sum) in &sums {
        let domain = Escaped(domain);
        for verdict in VERDICTS.into_iter().chain([UNDECIDED_WORD]) {
            let counts = sum.decisions.iter().enumerate().filter(|(place, _)| words(*place).0 == verdict);
            let count: u64 = counts.map(|(_, count)| count).sum();
            writeln!(
                page,
                "tollgate_domain_decisions_total{{domain=\"{domain}\",verdict=\"{verdict}\"}} {count}"
            )?;
        }
    }
    Ok(())
}
