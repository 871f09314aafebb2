//! Writes the decisions to the page: one series for each label that has counted, and the sums of each domain, which
//! are always there.
//!
//! They are written by hand, because a page of 20,000 rules would cost a million allocations with the crate's types.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use super::{
    Counts, Decisions, LimitCounters, Shown, Sum, UNDECIDED_WORD, VERDICTS, add_all, post_paid, words,
};

/// Stands for all further paths.
const OTHER: &str = "other";
/// The label of limits that requests bring along.
const OVERRIDE: &str = "(override)";

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
    let mut add = |domain, label, counts: &Counts| {
        let counts = counts.now();
        if counts.iter().any(|count| *count > 0) {
            add_all(sums.entry((domain, label)).or_default(), &counts);
        }
    };
    for (limit, counter) in &current.labels {
        add(&limit.domain, limit.label(), &counter.series.counts);
        // Copied, because requests wait for the lock. A path may also equal the label of another rule.
        counter
            .series
            .paths()
            .iter()
            .for_each(|(path, counts)| add(&limit.domain, path.to_string().into(), counts));
    }
    for (name, domain) in &current.domains {
        add(name, OTHER.into(), &domain.other);
        add(name, OVERRIDE.into(), &domain.overrides);
    }
    page.push_str(HEAD);
    for ((domain, label), counts) in &sums {
        let (domain, label) = (Escaped(domain), Escaped(label));
        for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (verdict, source) = words(place);
            writeln!(
                page,
                "tollgate_decisions_total{{domain=\"{domain}\",rule=\"{label}\",source=\"{source}\",\
                 verdict=\"{verdict}\"}} {count}"
            )?;
        }
    }
    Ok(())
}

fn write_domains(shown: &Shown, page: &mut String) -> fmt::Result {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (name, domain) in &shown.current.domains {
        let sum = sums.entry(name).or_default();
        [&domain.overrides, &domain.other, &domain.gone]
            .iter()
            .for_each(|counts| add_all(sum, &counts.now()));
        let leaving = shown.leaving.iter().filter(|counter| Arc::ptr_eq(&counter.domain, domain));
        leaving.for_each(|counter| add_all(sum, &counter.series.total()));
    }
    for (limit, counter) in &shown.current.labels {
        add_all(sums.entry(&limit.domain).or_default(), &counter.series.total());
    }
    page.push_str(HEAD_OF_DOMAINS);
    for (domain, sum) in &sums {
        let domain = Escaped(domain);
        for verdict in VERDICTS.into_iter().chain([UNDECIDED_WORD]) {
            let counts = sum.iter().enumerate().filter(|(place, _)| words(*place).0 == verdict);
            let count: u64 = counts.map(|(_, count)| count).sum();
            writeln!(
                page,
                "tollgate_domain_decisions_total{{domain=\"{domain}\",verdict=\"{verdict}\"}} {count}"
            )?;
        }
    }
    Ok(())
}

/// A label's value, escaped as the text format demands.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
