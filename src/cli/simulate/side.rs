//! One limits file at work: the rules that serve, the buckets of the memory store, and a clock that the log moves.

use super::{
    tally::{Key, Tally, Values},
    windows::Windows,
};
use crate::store::memory::MemoryStore;
use tollgate_core::{
    applied::{self, AppliedLimit, MatchedRule, QuotaMode},
    decision::{Answer, Enforcement, Take, Verdict},
    descriptor::{Entry, KeyForm, Request},
    matcher::{LimitIndex, Matcher, RuleLimit},
};

use smallvec::SmallVec;

/// A limits file, its buckets, and what was counted.
#[derive(Debug)]
pub(super) struct Side<'c> {
    matcher: &'c Matcher,
    quota_mode: QuotaMode,
    values: Values,
    store: Option<MemoryStore>,
    /// Fixed windows of the same numbers, beside.
    windows: Option<Windows>,
    pub(super) tally: Tally<'c>,
}

/// What became of one request.
#[derive(Debug)]
pub(super) struct Decided<'c> {
    pub(super) verdict: Verdict,
    /// The limit that denied it; of several the one with the longest wait.
    pub(super) culprit: Option<Culprit<'c>>,
}

/// A limit, and the bucket that had no room.
#[derive(Debug)]
pub(super) struct Culprit<'c> {
    pub(super) limit: &'c RuleLimit,
    pub(super) key: Key,
}

// === impl Side ===

impl<'c> Side<'c> {
    pub(super) fn new(matcher: &'c Matcher, quota_mode: QuotaMode, values: Values) -> Side<'c> {
        Side { matcher, quota_mode, values, store: None, windows: None, tally: Tally::new(matcher) }
    }

    /// The same, with fixed windows beside.
    pub(super) fn with_windows(self) -> Side<'c> {
        let windows = Some(Windows::new(self.matcher));
        Side { windows, ..self }
    }

    pub(super) fn windows(&self) -> Option<&Windows> {
        self.windows.as_ref()
    }

    pub(super) fn matcher(&self) -> &'c Matcher {
        self.matcher
    }

    /// Decides one request. `now_us` never steps back.
    pub(super) fn decide(&mut self, now_us: u64, request: &Request<'_>) -> Decided<'c> {
        let admitted = Decided { verdict: Verdict::Allow, culprit: None };
        self.tally.requests += 1;
        if request.descriptors.is_empty() {
            return admitted;
        }
        let Some(rules) = self.matcher.domain(request.domain) else {
            self.tally.without_limit.unknown_domain += 1;
            return admitted;
        };
        let Ok(applied) = rules.apply(request, self.quota_mode, KeyForm::Whole) else {
            self.tally.refused += 1;
            return admitted;
        };
        applied.note_billing(self.quota_mode);
        self.tally.add_without_limit(applied.without_limit);
        if applied.limits.is_empty() {
            return admitted;
        }
        let limits = &applied.limits;
        let takes: SmallVec<[Take; 4]> = limits.iter().map(|applied| applied.take).collect();
        // An epoch of 0 is so long ago that every missing bucket counts as full.
        let store = self.store.get_or_insert_with(|| MemoryStore::copy_of(now_us, 0, []));
        let Ok(answer) = store.take_at(&takes, now_us) else {
            self.tally.without_room += 1;
            return admitted;
        };
        self.tally.takes(now_us, limits, &answer);
        let culprit = culprit(limits, &answer).map(|index| {
            let limit = configured(self.matcher, &limits[index]);
            let key = name(&limits[index], &applied.rules, request, self.values);
            Culprit { limit, key }
        });
        if let Some(windows) = &mut self.windows {
            windows.take(now_us, limits, &answer, culprit.as_ref());
        }
        if let Some(culprit) = &culprit {
            self.tally.denied(now_us, culprit);
        }
        Decided { verdict: answer.verdict, culprit }
    }
}

fn configured<'c>(matcher: &'c Matcher, applied: &AppliedLimit<'_>) -> &'c RuleLimit {
    let LimitIndex::Configured(index) = applied.limit.index else {
        unreachable!("a log brings no limit along")
    };
    &matcher.limits()[index]
}

/// The index of the limit that a denial is put down to: of those that deny, the first with the longest wait.
fn culprit(limits: &[AppliedLimit<'_>], answer: &Answer) -> Option<usize> {
    if answer.verdict == Verdict::Allow {
        return None;
    }
    let over = |enforcement: Enforcement| {
        let over = limits.iter().zip(&answer.found).enumerate().filter(move |(_, (applied, found))| {
            !found.fits && applied.take.demand.enforcement == enforcement
        });
        over.map(|(index, _)| index)
    };
    // If no quota fits, the quotas deny as well.
    let quotas = limits
        .iter()
        .zip(&answer.found)
        .filter(|(applied, _)| applied.take.demand.enforcement == Enforcement::Quota);
    let quotas_deny = quotas.clone().count() > 0 && quotas.clone().all(|(_, found)| !found.fits);
    let quotas = over(Enforcement::Quota).filter(|_| quotas_deny);
    let denying: SmallVec<[usize; 4]> = over(Enforcement::Enforced).chain(quotas).collect();
    match denying[..] {
        [only] => Some(only),
        _ => denying.into_iter().rev().max_by_key(|index| {
            (applied::figures(limits, None, answer, *index).reset_us, std::cmp::Reverse(*index))
        }),
    }
}

/// The entries that name a bucket, except those that the rule has a value for.
fn name(applied: &AppliedLimit<'_>, rules: &[MatchedRule<'_>], request: &Request<'_>, values: Values) -> Key {
    let descriptor = &request.descriptors[applied.descriptor];
    let matched = rules.iter().find(|matched| matched.descriptor == applied.descriptor);
    let mut key = Key::new(applied.take.key, values);
    let path = &applied.limit.path;
    match matched {
        Some(matched) => push_all(&mut key, path, matched.rule.bucket_entries(descriptor.entries())),
        None => push_all(&mut key, path, descriptor.entries()),
    }
    key
}

fn push_all<'e>(key: &mut Key, path: &str, entries: impl Iterator<Item = Entry<'e>>) {
    let mut rest = path;
    for entry in entries {
        match after(rest, entry.key, Some(entry.value)) {
            Some(after) => rest = after,
            None => {
                rest = after(rest, entry.key, None).unwrap_or_default();
                key.push(entry);
            }
        }
    }
}

/// What follows `key_value`, or `key`, in a path.
fn after<'p>(path: &'p str, key: &[u8], value: Option<&[u8]>) -> Option<&'p str> {
    let mut rest = path.as_bytes().strip_prefix(key)?;
    if let Some(value) = value {
        rest = rest.strip_prefix(b"_")?.strip_prefix(value)?;
    }
    let at = path.len() - rest.len();
    let rest = path.get(at..)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}
