//! What differs between two limits files, for the same requests.

use std::collections::BTreeMap;

use super::{
    side::{Culprit, Decided},
    tally::DeniedKeys,
};
use tollgate_core::{
    decision::Verdict,
    matcher::{LimitIndex, RuleLimit},
};

/// Requests by their verdicts under both files.
#[derive(Debug, Default)]
pub(super) struct Changes<'c> {
    pub(super) denied_by_both: u64,
    /// Denied by the file that is tried, and admitted by the other one.
    pub(super) newly_denied: Changed<'c>,
    /// The other way round.
    pub(super) newly_admitted: Changed<'c>,
}

/// Requests whose verdict changed in one way.
#[derive(Debug, Default)]
pub(super) struct Changed<'c> {
    pub(super) requests: u64,
    /// By the limit that denies, of the file that denies.
    limits: BTreeMap<LimitIndex, (&'c RuleLimit, u64)>,
    pub(super) keys: DeniedKeys<'c>,
}

impl<'c> Changes<'c> {
    pub(super) fn add(&mut self, now_us: u64, tried: &Decided<'c>, against: &Decided<'c>) {
        match (tried.verdict, against.verdict) {
            (Verdict::Deny, Verdict::Deny) => self.denied_by_both += 1,
            (Verdict::Deny, Verdict::Allow) => self.newly_denied.add(now_us, tried.culprit.as_ref()),
            (Verdict::Allow, Verdict::Deny) => self.newly_admitted.add(now_us, against.culprit.as_ref()),
            (Verdict::Allow, Verdict::Allow) => {}
        }
    }
}

impl<'c> Changed<'c> {
    fn add(&mut self, now_us: u64, culprit: Option<&Culprit<'c>>) {
        self.requests += 1;
        let Some(culprit) = culprit else { return };
        self.limits.entry(culprit.limit.index).or_insert((culprit.limit, 0)).1 += 1;
        self.keys.add(now_us, culprit);
    }

    /// The limits with their requests, the most first.
    pub(super) fn limits(&self) -> Vec<(&'c RuleLimit, u64)> {
        let mut limits: Vec<_> = self.limits.values().copied().collect();
        limits.sort_by_key(|(_, requests)| std::cmp::Reverse(*requests));
        limits
    }
}
