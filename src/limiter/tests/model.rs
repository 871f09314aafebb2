//! The simplest possible limiter, written only from the words of the design, to compare the real one with.

mod bucket;

use std::collections::HashMap;

use bucket::{Bucket, Terms};

use tollgate_core::{
    decision::Verdict,
    descriptor::Hits,
    limit::{Algorithm, LimitSpec},
};

/// The name of a bucket: its owner, its algorithm and the seconds of its period; and the number of the limit among
/// those of one descriptor that differ only in their numbers. The numbers of the limit are not part of it.
pub(super) type Name = (String, Algorithm, u64, usize);

/// One limit of one descriptor, and the hits that are asked of it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) descriptor: usize,
    pub(super) owner: String,
    /// The number of earlier limits that count in the same way.
    pub(super) alike: usize,
    pub(super) spec: LimitSpec,
    pub(super) quota: bool,
    pub(super) shadow: bool,
    pub(super) hits: Hits,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) descriptor: usize,
    pub(super) fits: bool,
    /// Reported as over its limit.
    pub(super) over: bool,
    pub(super) remaining: i128,
    pub(super) reset_us: i128,
    pub(super) never_fits: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) verdict: Verdict,
    pub(super) figures: Vec<Figures>,
    /// The index of the figures that the headers show.
    pub(super) speaker: Option<usize>,
    /// The indices of the figures that the descriptors show.
    pub(super) per_descriptor: Vec<usize>,
}

/// Whether a take fits, and its bucket.
type Seen = (bool, Bucket);

#[derive(Debug, Default)]
pub(super) struct Model {
    now_us: i128,
    buckets: HashMap<Name, (Terms, Bucket)>,
}

impl Member {
    fn name(&self) -> Name {
        let LimitSpec { algorithm, period, .. } = self.spec;
        (self.owner.clone(), algorithm, period.seconds(), self.alike)
    }

    fn terms(&self) -> Terms {
        Terms::new(&self.spec)
    }
}

impl Model {
    /// Beside these limits there may be a quota that fits in any case.
    pub(super) fn ask(&mut self, members: &[Member], now_us: u64, a_quota_fits: bool) -> Told {
        self.advance(i128::from(now_us));
        for member in members {
            let full = full(member, self.now_us);
            self.buckets.entry(member.name()).or_insert((member.terms(), full));
        }
        let before = self.buckets.clone();
        let seen: Vec<Seen> = members.iter().map(|member| self.apply(member)).collect();
        let fits: Vec<bool> = seen.iter().map(|(fits, _)| *fits).collect();
        let verdict = verdict(members, &fits, a_quota_fits);
        // The verdict comes before the charge; so far everything was charged only to see what fits.
        self.buckets = before;
        let figures: Vec<Figures> =
            (0..members.len()).map(|at| self.charge(members, at, &seen, verdict)).collect();
        let speaker = speaker(members, &figures, verdict);
        Told { verdict, speaker, per_descriptor: per_descriptor(members, &figures), figures }
    }

    fn advance(&mut self, now_us: i128) {
        for (terms, bucket) in self.buckets.values_mut() {
            bucket.advance(terms, self.now_us, now_us);
        }
        self.now_us = now_us;
    }

    /// Charges what fits or meters. Returns whether it fits, and the bucket.
    fn apply(&mut self, member: &Member) -> Seen {
        let (_, bucket) = self.buckets.get_mut(&member.name()).unwrap();
        let seen = bucket.clone();
        bucket.apply(&member.terms(), member.hits, self.now_us);
        (seen.fits(&member.terms(), member.hits), seen)
    }

    /// Charges one limit as the verdict says, after those before it, and returns its figures.
    fn charge(&mut self, members: &[Member], at: usize, seen: &[Seen], verdict: Verdict) -> Figures {
        let (member, now_us) = (&members[at], self.now_us);
        let (terms, (fits, seen)) = (member.terms(), &seen[at]);
        if verdict == Verdict::Allow || terms.meters {
            self.apply(member);
        }
        let (_, bucket) = &self.buckets[&member.name()];
        let never_fits = !fits && never_fits(members, member);
        // What was charged though it does not fit has to come back first.
        let judged = if terms.meters { bucket } else { seen };
        let reset_us = if *fits {
            bucket.more_us(&terms, now_us)
        } else if never_fits {
            terms.period_us().max(60_000_000)
        } else {
            judged.wait_us(&terms, member.hits, now_us)
        };
        Figures {
            descriptor: member.descriptor,
            fits: *fits,
            over: !fits && !member.shadow,
            remaining: if *fits { bucket.remaining(&terms) } else { 0 },
            reset_us,
            never_fits,
        }
    }
}

/// Whether all that a request takes from a bucket is more than the bucket can hold.
fn never_fits(members: &[Member], member: &Member) -> bool {
    let same = members.iter().filter(|other| other.name() == member.name());
    let taken = same.map(|member| match member.hits {
        Hits::One => 1,
        Hits::Take(hits) => i128::from(hits),
        Hits::Peek | Hits::GiveBack(_) => 0,
    });
    member.terms().denies_all() || taken.sum::<i128>() > member.terms().burst()
}

fn full(member: &Member, now_us: i128) -> Bucket {
    let mut full = Bucket::full(member.spec.algorithm);
    full.advance(&member.terms(), now_us, now_us);
    full
}

fn quotas_deny(members: &[Member], fits: &[bool]) -> bool {
    let mut quotas = (0..members.len()).filter(|at| members[*at].quota).peekable();
    quotas.peek().is_some() && quotas.all(|at| !members[at].shadow && !fits[at])
}

fn verdict(members: &[Member], fits: &[bool], a_quota_fits: bool) -> Verdict {
    let is_enforced = |member: &Member| !member.quota && !member.shadow;
    let enforced_denies = members.iter().zip(fits).any(|(member, fits)| is_enforced(member) && !fits);
    if enforced_denies || (!a_quota_fits && quotas_deny(members, fits)) {
        Verdict::Deny
    } else {
        Verdict::Allow
    }
}

fn speaker(members: &[Member], figures: &[Figures], verdict: Verdict) -> Option<usize> {
    let fits: Vec<bool> = figures.iter().map(|figures| figures.fits).collect();
    let quotas_deny = quotas_deny(members, &fits);
    let denies = |at: &usize| figures[*at].over && (!members[*at].quota || quotas_deny);
    let all = 0..members.len();
    match verdict {
        Verdict::Deny => longest_wait(figures, all.filter(denies)),
        Verdict::Allow => least_left(figures, all.filter(|at| !members[*at].shadow)),
    }
}

/// An exceeded limit is shown rather than another one, and a shadow only if there is nothing else.
fn per_descriptor(members: &[Member], figures: &[Figures]) -> Vec<usize> {
    let mut descriptors: Vec<usize> = figures.iter().map(|figures| figures.descriptor).collect();
    descriptors.dedup();
    let shown = |descriptor: usize| {
        let its = || (0..members.len()).filter(move |at| members[*at].descriptor == descriptor);
        longest_wait(figures, its().filter(|at| figures[*at].over))
            .or_else(|| least_left(figures, its().filter(|at| !members[*at].shadow)))
            .or_else(|| least_left(figures, its()))
            .unwrap()
    };
    descriptors.into_iter().map(shown).collect()
}

/// The first of those with the longest wait.
fn longest_wait(figures: &[Figures], among: impl Iterator<Item = usize>) -> Option<usize> {
    among.min_by_key(|at| -figures[*at].reset_us)
}

/// The first of those with the least remaining.
fn least_left(figures: &[Figures], among: impl Iterator<Item = usize>) -> Option<usize> {
    among.min_by_key(|at| figures[*at].remaining)
}
