//! The page of the limits in force, in the lines of envoyproxy/ratelimit.

use std::{fmt::Write as _, sync::Arc};

use tollgate_core::matcher::RuleLimit;

/// A line for each limit: `shop.plan_gold: unit=SECOND requests_per_unit=6, shadow_mode: false, quota_mode: false`. Where
/// the period is several units, their number comes after the unit.
pub(super) fn page(limits: &[Arc<RuleLimit>]) -> String {
    let mut page = String::new();
    for RuleLimit { domain, path, options, limit, .. } in limits.iter().map(AsRef::as_ref) {
        let unit = limit.unit().name().to_ascii_uppercase();
        let multiplier = match limit.period().multiplier {
            0 | 1 => String::new(),
            several => format!(" unit_multiplier={several}"),
        };
        // A String takes everything.
        let _ = writeln!(
            page,
            "{}.{}: unit={unit}{multiplier} requests_per_unit={}, shadow_mode: {}, quota_mode: {}",
            in_one_line(domain),
            in_one_line(path),
            limit.requests_per_unit(),
            options.shadow_mode,
            options.quota_mode
        );
    }
    page
}

fn in_one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
