//! What was counted under one limits file: by limit, by key, and over time.
//!
//! Memory grows with the number of keys, up to a bound, and never with the number of lines.

use std::{collections::HashMap, fmt::Write as _};

use foldhash::fast::RandomState;

use super::{log::shown, side::Culprit, timeline::Timeline};
use crate::{logging::keys::key_name, store::memory::MOST_BUCKETS};
use tollgate_core::{
    applied::{AppliedLimit, WithoutLimit},
    decision::Answer,
    descriptor::{BucketKey, Entry},
    matcher::{LimitIndex, Matcher, RuleLimit},
};

/// The denied keys that are counted one by one.
const MOST_DENIED: usize = 100_000;

/// Whether values of entries are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// A key is named by its digest.
    Hashed,
    Shown,
}

/// A bucket and how it is called: by its digest, or by the entries that the rule has no value for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) bucket: BucketKey,
    pub(super) name: String,
    values: Values,
}

#[derive(Debug)]
pub(super) struct Tally<'c> {
    pub(super) requests: u64,
    pub(super) denied: u64,
    /// Requests of no domain of the file, and descriptors that no limit applies to.
    pub(super) without_limit: WithoutLimit,
    /// Requests that `tollgate serve` would refuse, since they match too many limits.
    pub(super) refused: u64,
    /// Requests that were admitted because there was no room for their buckets.
    pub(super) without_room: u64,
    pub(super) limits: Vec<LimitTally>,
    keys: HashMap<BucketKey, KeyTally, RandomState>,
    /// Whether there were more keys than are counted.
    pub(super) is_short_of_keys: bool,
    pub(super) denied_keys: DeniedKeys<'c>,
    pub(super) timeline: Timeline,
}

#[derive(Debug, Clone, Default)]
pub(super) struct LimitTally {
    /// Takes that it was asked for.
    pub(super) asked: u64,
    /// Takes that did not fit, in shadow mode too.
    pub(super) over: u64,
    /// Requests that it denied.
    pub(super) denied: u64,
    /// Different keys.
    pub(super) clients: u64,
    /// Those of them that met a full bucket no longer.
    pub(super) touched: u64,
    pub(super) first_us: Option<u64>,
    pub(super) last_us: u64,
}

#[derive(Debug, Default)]
struct KeyTally {
    asked: u64,
    is_touched: bool,
}

/// Keys and how often they were denied.
#[derive(Debug, Default)]
pub(super) struct DeniedKeys<'c> {
    keys: HashMap<BucketKey, DeniedKey<'c>, RandomState>,
    /// Denials of keys beyond the bound.
    pub(super) others: u64,
}

#[derive(Debug)]
pub(super) struct DeniedKey<'c> {
    pub(super) limit: &'c RuleLimit,
    pub(super) name: String,
    pub(super) denied: u64,
    pub(super) asked: u64,
    pub(super) first_us: u64,
    pub(super) last_us: u64,
}

// === impl Key ===

impl Key {
    pub(super) fn new(bucket: BucketKey, values: Values) -> Key {
        let name = match values {
            Values::Hashed => key_name(&bucket).to_string(),
            Values::Shown => String::new(),
        };
        Key { bucket, name, values }
    }

    pub(super) fn push(&mut self, entry: Entry<'_>) {
        if self.values == Values::Shown {
            let gap = if self.name.is_empty() { "" } else { ", " };
            let (key, value) = (shown(entry.key), shown(entry.value));
            write!(self.name, "{gap}{key}={value}").expect("a String takes everything");
        }
    }
}

// === impl Tally ===

impl<'c> Tally<'c> {
    pub(super) fn new(matcher: &'c Matcher) -> Tally<'c> {
        Tally {
            requests: 0,
            denied: 0,
            without_limit: WithoutLimit::default(),
            refused: 0,
            without_room: 0,
            limits: vec![LimitTally::default(); matcher.limits().len()],
            keys: HashMap::default(),
            is_short_of_keys: false,
            denied_keys: DeniedKeys::default(),
            timeline: Timeline::default(),
        }
    }

    pub(super) fn add_without_limit(&mut self, more: WithoutLimit) {
        let WithoutLimit { unknown_domain, unmatched, exempt, unlimited } = &mut self.without_limit;
        *unknown_domain = unknown_domain.saturating_add(more.unknown_domain);
        *unmatched = unmatched.saturating_add(more.unmatched);
        *exempt = exempt.saturating_add(more.exempt);
        *unlimited = unlimited.saturating_add(more.unlimited);
    }

    /// Counts what a request found.
    pub(super) fn takes(&mut self, now_us: u64, limits: &[AppliedLimit<'_>], answer: &Answer) {
        self.timeline.request(now_us);
        for (applied, found) in limits.iter().zip(&answer.found) {
            let LimitIndex::Configured(index) = applied.limit.index else { continue };
            let limit = &mut self.limits[index];
            limit.asked += 1;
            if !found.fits {
                limit.over += 1;
                limit.first_us.get_or_insert(now_us);
                limit.last_us = now_us;
            }
            let key = if self.keys.len() < MOST_BUCKETS {
                self.keys.entry(applied.take.key).or_default()
            } else if let Some(key) = self.keys.get_mut(&applied.take.key) {
                key
            } else {
                self.is_short_of_keys = true;
                continue;
            };
            limit.clients += u64::from(key.asked == 0);
            key.asked += 1;
            limit.touched += u64::from(!found.fits && !key.is_touched);
            key.is_touched |= !found.fits;
        }
    }

    pub(super) fn denied(&mut self, now_us: u64, culprit: &Culprit<'c>) {
        self.denied += 1;
        let LimitIndex::Configured(index) = culprit.limit.index else { return };
        self.limits[index].denied += 1;
        self.timeline.denied(now_us, index);
        self.denied_keys.add(now_us, culprit);
    }

    /// The keys that were denied most, and how often each was asked for.
    pub(super) fn top(&self, most: usize) -> Vec<&DeniedKey<'c>> {
        self.denied_keys.top(most)
    }

    /// Takes over how often each denied key was asked for.
    pub(super) fn finish(&mut self) {
        for (bucket, denied) in &mut self.denied_keys.keys {
            denied.asked = self.keys.get(bucket).map_or(0, |key| key.asked);
        }
    }
}

// === impl DeniedKeys ===

impl<'c> DeniedKeys<'c> {
    pub(super) fn add(&mut self, now_us: u64, culprit: &Culprit<'c>) {
        if self.keys.len() >= MOST_DENIED && !self.keys.contains_key(&culprit.key.bucket) {
            self.others += 1;
            return;
        }
        let denied = self.keys.entry(culprit.key.bucket).or_insert_with(|| DeniedKey {
            limit: culprit.limit,
            name: culprit.key.name.clone(),
            denied: 0,
            asked: 0,
            first_us: now_us,
            last_us: now_us,
        });
        denied.denied += 1;
        denied.last_us = now_us;
    }

    /// By the number of denials; those of one number by name, so that two runs print the same.
    pub(super) fn top(&self, most: usize) -> Vec<&DeniedKey<'c>> {
        let mut keys: Vec<&DeniedKey<'c>> = self.keys.values().collect();
        keys.sort_unstable_by(|one, other| {
            let name = |key: &DeniedKey<'_>| (key.limit.index, key.first_us);
            other
                .denied
                .cmp(&one.denied)
                .then_with(|| name(one).cmp(&name(other)))
                .then_with(|| one.name.cmp(&other.name))
        });
        keys.truncate(most);
        keys
    }

    /// The number of keys, and whether there were more.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
