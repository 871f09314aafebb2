//! Finds limits whose new numbers make keys wait that have used up their burst under the old ones.
//!
//! A bucket keeps the time at which it will be full. If the new burst takes less time to fill than the old one, a key
//! whose bucket needs more time than that is denied until it does not, however quickly the bucket refills now.

use std::collections::HashMap;

use tollgate_core::{
    limit::Algorithm,
    matcher::{Matcher, RuleLimit},
};

/// A shorter wait is not worth a warning.
const WORTH_TELLING_US: u64 = 60_000_000;

/// The limit whose used-up keys wait the longest, if that wait is worth a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortened {
    pub(super) domain: String,
    pub(super) rule: String,
    /// For how long a key that has used up its burst may be denied.
    pub(super) denied_us: u64,
    /// The number of limits that are worth a warning.
    pub(super) limits: usize,
}

/// What limits have in common that use the same bucket before and after a change: domain, rule, seconds, and name.
type Place<'m> = (&'m str, &'m str, u64, Option<&'m str>);

/// `None` if no key has to wait for over a minute.
pub(super) fn shortened(before: &Matcher, after: &Matcher) -> Option<Shortened> {
    let (before, after) = (by_place(before), by_place(after));
    let mut limits = 0;
    let mut longest: Option<(u64, &RuleLimit)> = None;
    for (place, old) in &before {
        let new = after.get(place).into_iter().flatten();
        // Tiers of one rule are paired by how long their bursts take, because the tier of a key is not known here.
        for (old, new) in old.iter().zip(new) {
            let denied_us = fill_us(old).saturating_sub(fill_us(new));
            if denied_us <= WORTH_TELLING_US {
                continue;
            }
            limits += 1;
            // On a tie the first in the configuration, because a hash map has no order.
            if longest.is_none_or(|(most, first)| (denied_us, first.index) > (most, new.index)) {
                longest = Some((denied_us, new));
            }
        }
    }
    let (denied_us, limit) = longest?;
    let (domain, rule) = (limit.domain.to_string(), limit.label().into_owned());
    Some(Shortened { domain, rule, denied_us, limits })
}

/// The limits of each place, with the longest to fill first.
fn by_place(matcher: &Matcher) -> HashMap<Place<'_>, Vec<&RuleLimit>> {
    let mut places: HashMap<Place<'_>, Vec<&RuleLimit>> = HashMap::new();
    // A limit of 0 denies everything anyway.
    let buckets = matcher
        .limits()
        .iter()
        .filter(|limit| limit.limit.algorithm() == Algorithm::TokenBucket && limit.limit.burst() > 0);
    for limit in buckets {
        let seconds = limit.limit.period().seconds();
        places.entry((&limit.domain, &limit.path, seconds, limit.bucket_name())).or_default().push(limit);
    }
    places.values_mut().for_each(|limits| limits.sort_by_key(|limit| std::cmp::Reverse(fill_us(limit))));
    places
}

fn fill_us(limit: &RuleLimit) -> u64 {
    limit.limit.worth_of_burst().ceil_us()
}

/// As in `90 minutes`, rounded up.
pub(super) fn words(us: u64) -> String {
    let minutes = us.div_ceil(60_000_000);
    match minutes {
        0..=180 => format!("{minutes} minutes"),
        181..=4_320 => format!("{} hours", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(24 * 60)),
    }
}

#[cfg(test)]
mod tests;
