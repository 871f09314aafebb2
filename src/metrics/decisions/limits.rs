//! Shows the numbers of the limits in force, so that a dashboard can draw what is used against what is allowed.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use super::Decisions;
use crate::metrics::text::{Escaped, Kind, head};
use tollgate_core::matcher::RuleLimit;

const LIMIT: (&str, &str) = (
    "tollgate_limit",
    "Hits that a limit in force allows in its window, as configured. Compare them with tollgate_decisions_total.",
);
const BURST: (&str, &str) = ("tollgate_burst", "Hits that a limit in force allows at once.");

/// What tells the limits apart: domain, label, tier, window and algorithm.
type Labels<'a> = (&'a str, Cow<'a, str>, Option<&'a str>, String, &'static str);

impl Decisions {
    /// Adds both gauges to the page.
    pub(in crate::metrics) fn write_limits(&self, page: &mut String) {
        let current = &self.shown().current;
        let mut limits: BTreeMap<Labels<'_>, (u32, u32)> = BTreeMap::new();
        for limit in &current.rules {
            let numbers = (limit.limit.requests_per_unit(), limit.limit.burst());
            // Two limits with equal labels would make the page invalid. The lower one is what clients meet.
            let shown = limits.entry(labels(limit)).or_insert(numbers);
            *shown = numbers.min(*shown);
        }
        for (name, help) in [LIMIT, BURST] {
            head(page, name, Kind::Gauge, help);
            for ((domain, label, tier, window, algorithm), (requests, burst)) in &limits {
                let (domain, label) = (Escaped(domain), Escaped(label));
                let tier = tier.map(|tier| format!(",tier=\"{}\"", Escaped(tier))).unwrap_or_default();
                let value = if name == LIMIT.0 { requests } else { burst };
                // A String takes all that is written.
                let _ = writeln!(
                    page,
                    "{name}{{algorithm=\"{algorithm}\",domain=\"{domain}\",rule=\"{label}\"{tier},window=\"{window}\"}} \
                     {value}"
                );
            }
        }
    }
}

fn labels(limit: &RuleLimit) -> Labels<'_> {
    let window = limit.limit.period().to_string();
    (&limit.domain, limit.label(), limit.tier.as_deref(), window, limit.limit.algorithm().name())
}
