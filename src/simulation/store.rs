//! The store: `decide` on a table, by a clock of its own, and a second account of every bucket beside it.

use super::{
    Broken,
    checks::SERVES_US,
    clock::SkewedClock,
    meter::Meter,
    plan::{Bucket, number_of},
    traffic::Wish,
};
use crate::{
    decision::{Answer, Buckets, State, Take, Verdict, decide},
    descriptor::{BucketKey, Hits},
    limit::Exact,
};

#[derive(Debug)]
pub(super) struct Store {
    clock: SkewedClock,
    table: Table,
    meters: Vec<Meter>,
    /// Of each bucket, in the order of time.
    refunds: Vec<Vec<Refund>>,
    /// Until then it is busy, or stalled.
    pub(super) free_ns: u64,
}

#[derive(Debug)]
struct Table(Vec<Option<State>>);

/// What a replica may not know, though the store has done it.
#[derive(Debug)]
struct Refund {
    at_ns: u64,
    request: usize,
    /// The replica that has had the answer.
    learnt_by: Option<usize>,
}

impl Buckets for Table {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.0[number_of(key)].clone()
    }
    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.0[number_of(key)] = state;
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new(clock: SkewedClock, buckets: &[Bucket]) -> Store {
        let meters = buckets.iter().map(|bucket| Meter::new(&bucket.limit)).collect();
        let refunds = buckets.iter().map(|_| Vec::new()).collect();
        let table = Table(vec![None; buckets.len()]);
        Store { clock, table, meters, refunds, free_ns: 0 }
    }

    pub(super) fn now_us(&self, at_ns: u64) -> u64 {
        self.clock.now_us(at_ns)
    }

    pub(super) fn shows_ns(&self, us: u64) -> u64 {
        self.clock.shows_ns(us)
    }

    pub(super) fn full_at(&self, bucket: usize) -> Exact {
        State::full_at(self.table.0[bucket].as_ref())
    }

    /// Runs one request, and holds its answer against the second account.
    pub(super) fn execute(
        &mut self,
        at_ns: u64,
        request: usize,
        wishes: &[Wish],
        takes: &[Take],
    ) -> Result<Answer, Broken> {
        let now_us = self.now_us(at_ns);
        let expected = self.expected(now_us, wishes);
        let before: Vec<Exact> = wishes.iter().map(|wish| self.full_at(wish.bucket)).collect();
        let answer = decide(takes, now_us, &mut self.table);
        for ((wish, found), fits) in wishes.iter().zip(&answer.found).zip(expected) {
            if found.fits != fits {
                let detail = format!("{:?} of request {request} fits: {fits}; told otherwise", wish.hits);
                return Err(Broken::new("the store's answer is exact", wish.bucket, detail));
            }
        }
        match answer.verdict {
            Verdict::Allow => self.passed(at_ns, request, wishes)?,
            Verdict::Deny => {
                let is_changed = |(wish, before): &(&Wish, Exact)| self.full_at(wish.bucket) != *before;
                if let Some((wish, _)) = wishes.iter().zip(before).find(is_changed) {
                    let detail = format!("request {request} changed it");
                    return Err(Broken::new("a denied request changes nothing", wish.bucket, detail));
                }
            }
        }
        Ok(answer)
    }

    fn passed(&mut self, at_ns: u64, request: usize, wishes: &[Wish]) -> Result<(), Broken> {
        let now_us = self.now_us(at_ns);
        for wish in wishes {
            if !self.meters[wish.bucket].passed(wish.hits, now_us) {
                let detail = format!("with {:?} of request {request}", wish.hits);
                return Err(Broken::new("never more than burst and refill", wish.bucket, detail));
            }
            if matches!(wish.hits, Hits::GiveBack(_)) {
                self.refunds[wish.bucket].push(Refund { at_ns, request, learnt_by: None });
            }
        }
        Ok(())
    }

    /// Which takes fit, by counting tokens; a bucket that stands twice adds up.
    fn expected(&self, now_us: u64, wishes: &[Wish]) -> Vec<bool> {
        let mut left: Vec<(usize, i128)> = Vec::new();
        let fits = |wish: &Wish| {
            let meter = &self.meters[wish.bucket];
            let seen = left.iter().rev().find(|(bucket, _)| *bucket == wish.bucket);
            let level = seen.map_or_else(|| meter.level(now_us), |(_, level)| *level);
            let after = meter.after(level, wish.hits);
            left.push((wish.bucket, after.unwrap_or(level)));
            after.is_some()
        };
        wishes.iter().map(fits).collect()
    }

    /// What the store would answer at this moment; nothing changes.
    pub(super) fn would_answer(&self, at_ns: u64, takes: &[Take]) -> Verdict {
        let mut trial = Trial { table: &self.table, changed: Vec::new() };
        decide(takes, self.now_us(at_ns), &mut trial).verdict
    }

    // === refunds ===

    pub(super) fn learnt(&mut self, bucket: usize, request: usize, replica: usize) {
        let of_request = self.refunds[bucket].iter_mut().filter(|refund| refund.request == request);
        of_request.for_each(|refund| refund.learnt_by = Some(replica));
    }

    /// Whether this bucket was given something back that the replica has had no answer about, and that what it
    /// knew before may still serve.
    pub(super) fn hides_refund(&self, bucket: usize, replica: usize, at_ns: u64) -> bool {
        // A second of a slow clock.
        let serves_ns = SERVES_US * 1_002;
        let mut lately =
            self.refunds[bucket].iter().rev().take_while(|refund| refund.at_ns + serves_ns > at_ns);
        lately.any(|refund| refund.learnt_by != Some(replica))
    }
}

/// The table as it would be if a request were executed.
struct Trial<'a> {
    table: &'a Table,
    changed: Vec<(BucketKey, Option<State>)>,
}

impl Buckets for Trial<'_> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        let changed = self.changed.iter().rev().find(|(changed, _)| changed == key);
        changed.map_or_else(|| self.table.state(key), |(_, state)| state.clone())
    }
    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.changed.push((*key, state));
    }
}
