//! The hits of each rule under the names and labels that envoyproxy/ratelimit has, as its default mapping makes them.
//!
//! It has a label for the domain and for each of the first two levels; what lies deeper is summed up. The names of the
//! levels are those of [`Key`].

mod key;

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Write as _},
};

use super::{Counted, Decisions, LabelCounter, Series, Shown, Sum, Tally};
use crate::{
    fallback::Source,
    metrics::text::{Escaped, Kind, head},
};
pub(super) use key::Key;
use tollgate_core::matcher::RuleLimit;

/// The most rules, as envoyproxy/ratelimit tells them apart, that have series under its names; up to six each.
pub const MAX_REFERENCE_RULES: usize = 10_000;

const LEFT_OUT: &str = "Rules without series under envoyproxy/ratelimit's names, because 10,000 others have them. \
    tollgate_decisions_total shows them.";

/// Stands for all paths beyond the maximum.
const OTHER: &str = "other";
/// The key of limits that requests bring along. Their values would be without bound.
const OVERRIDE: &str = "(override)";

/// One metric of a rule.
struct Metric {
    name: &'static str,
    help: &'static str,
    value: fn(&Sum) -> u64,
    /// It has a series though it is 0, if its rule was asked at all.
    shows_zero: bool,
}

/// All after `ratelimit_service_rate_limit_`.
const METRICS: [Metric; 6] = [
    Metric {
        name: "total_hits",
        help: "Hits that requests asked of a rule.",
        value: Sum::all_hits,
        shows_zero: true,
    },
    Metric {
        name: "over_limit",
        help: "Hits that did not fit, of rules in shadow mode too. All hits of a denied request count, because none is \
            charged.",
        value: |sum| sum.hits_where(is_over),
        shows_zero: true,
    },
    Metric {
        name: "near_limit",
        help: "Hits that were taken beyond --near-limit-ratio of a limit. If they rise, the limit is nearly used up.",
        value: |sum| sum.near_hits,
        shows_zero: true,
    },
    Metric {
        name: "within_limit",
        help: "Hits that fitted.",
        value: |sum| sum.hits_where(|counted| !is_over(counted)),
        shows_zero: true,
    },
    Metric {
        name: "shadow_mode",
        help: "Hits that did not fit, of rules in shadow mode, which deny nothing.",
        value: |sum| sum.hits_where(|counted| counted == Counted::WouldDeny),
        shows_zero: false,
    },
    Metric {
        name: "over_limit_with_local_cache",
        help: "Hits that did not fit and were denied from memory, without asking Redis.",
        value: |sum| sum.hits_from(&[Source::Cache], is_over),
        shows_zero: false,
    },
];

fn is_over(counted: Counted) -> bool {
    counted != Counted::Allow
}

impl Decisions {
    /// Adds these metrics to the page. A rule appears with its first hit.
    pub(in crate::metrics) fn write_reference(&self, page: &mut String) {
        let mut shown = self.shown();
        shown.settle();
        let mut sums = sums(&shown);
        let left_out = shown.leave_out(&mut sums);
        drop(shown);
        for metric in METRICS {
            // A String takes all that is written.
            let _ = write(&metric, &sums, page);
        }
        let name = "tollgate_reference_rules_left_out";
        head(page, name, Kind::Gauge, LEFT_OUT);
        let _ = writeln!(page, "{name} {left_out}");
    }
}

impl Shown {
    /// Removes what is beyond the maximum, and returns how much that was. Whatever was shown once stays as long as its
    /// rule does, because a counter that went and came would look like a restart.
    fn leave_out(&mut self, sums: &mut BTreeMap<Key, Sum>) -> usize {
        self.named.retain(|key| sums.contains_key(key));
        let room = MAX_REFERENCE_RULES.saturating_sub(self.named.len());
        let new: Vec<Key> =
            sums.keys().filter(|key| !self.named.contains(*key)).take(room).cloned().collect();
        self.named.extend(new);
        let all = sums.len();
        sums.retain(|key, _| self.named.contains(key));
        all - sums.len()
    }
}

fn write(metric: &Metric, sums: &BTreeMap<Key, Sum>, page: &mut String) -> fmt::Result {
    let name = format!("ratelimit_service_rate_limit_{}", metric.name);
    head(page, &name, Kind::Counter, metric.help);
    for (Key { domain, key1, key2 }, sum) in sums {
        let value = (metric.value)(sum);
        if value == 0 && !metric.shows_zero {
            continue;
        }
        write!(page, "{name}{{domain=\"{}\",key1=\"{}\"", Escaped(domain), Escaped(key1))?;
        if let Some(key2) = key2 {
            write!(page, ",key2=\"{}\"", Escaped(key2))?;
        }
        writeln!(page, "}} {value}")?;
    }
    Ok(())
}

/// The sums of all rules in force. Limits that are gone count where a limit in force has the same key, so that no sum
/// ever falls.
fn sums(shown: &Shown) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for LabelCounter { limit, counter } in &shown.current.labels {
        for (key, sum) in hits_by_key(limit, &counter.series) {
            sums.entry(key).or_default().add(&sum);
        }
    }
    let leaving =
        shown.leaving.iter().flat_map(|leaving| hits_by_key(&leaving.limit, &leaving.counter.series));
    let gone = shown.gone.iter().map(|(key, sum)| (key.clone(), *sum));
    for (key, sum) in leaving.chain(gone) {
        if let Some(all) = sums.get_mut(&key) {
            all.add(&sum);
        }
    }
    for (name, domain) in &shown.current.domains {
        for (path, tally) in [(OTHER, &domain.other), (OVERRIDE, &domain.overrides)] {
            let sum = tally.now();
            if sum.all_hits() > 0 {
                sums.entry(Key::new(name, path)).or_default().add(&sum);
            }
        }
    }
    sums
}

/// The hits that a label and its paths have counted, by their keys. A key may come more than once.
pub(super) fn hits_by_key(limit: &RuleLimit, series: &Series) -> Vec<(Key, Sum)> {
    let all_hits = |tally: &Tally| Some(tally.now()).filter(|sum| sum.all_hits() > 0);
    let own = all_hits(&series.own).map(|sum| (limit.path.to_string(), sum));
    // The reference has no names of limits in its keys.
    let suffix = limit.label_under("").into_owned();
    let path_of = |label: &str| label.strip_suffix(&suffix).unwrap_or(label).to_owned();
    // Copied, because requests wait for the lock.
    let paths: Vec<(String, Sum)> =
        series.paths().iter().filter_map(|(label, tally)| Some((path_of(label), all_hits(tally)?))).collect();
    paths.into_iter().chain(own).map(|(path, sum)| (Key::new(&limit.domain, &path), sum)).collect()
}

/// The keys of these limits, where their paths show no values of requests.
pub(super) fn keys(labels: &[LabelCounter]) -> HashSet<Key> {
    labels.iter().map(|label| Key::new(&label.limit.domain, &label.limit.path)).collect()
}

#[cfg(test)]
mod tests;
