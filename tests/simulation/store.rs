//! The store: `decide` on a table by its own clock, and a second account of every bucket.

use super::{
    Broken, bucket::Bucket, checks::SERVES_US, clock::SkewedClock, meter::Meter, plan::Plan, table::Table,
    traffic::Wish,
};
use tollgate_core::{
    decision::{Answer, State, Take, Verdict, decide},
    descriptor::Hits,
    limit::{Exact, Limit},
};

#[derive(Debug)]
pub(super) struct Store {
    clock: SkewedClock,
    /// The sum of all steps of its clock.
    stepped_us: i64,
    /// The number of requests executed so far, and which of them last changed each bucket.
    pub(super) executions: u64,
    changed_by: Vec<u64>,
    /// The instant of the last batch, by the store's clock, and the number of batches that it had so far.
    instant: (u64, u32),
    /// Whether the last change of each bucket was in a later batch of one instant: nobody can know which of their answers is newer.
    is_ambiguous: Vec<bool>,
    /// When each bucket was last found missing.
    missing_ns: Vec<Option<u64>>,
    /// When it last lost its buckets, and when its clock last stepped forward and back; no denial cache knows of these.
    lost_ns: Option<u64>,
    was_set_back_before_loss: bool,
    forward_ns: Option<u64>,
    back_ns: Option<u64>,
    table: Table,
    meters: Vec<Meter>,
    /// The refunds of each bucket, in the order of time.
    refunds: Vec<Vec<Refund>>,
    /// It is busy or stalled until this.
    pub(super) free_ns: u64,
}

/// A refund that the store has made and a replica may not know.
#[derive(Debug)]
struct Refund {
    at_ns: u64,
    request: usize,
    /// The replica that has received the answer.
    learnt_by: Option<usize>,
}

// === impl Store ===

impl Store {
    pub(super) fn new(plan: &Plan) -> Store {
        let meter = |bucket: &Bucket| Meter::new(plan.limits_in_force(bucket));
        let mut meters: Vec<Meter> = plan.buckets.iter().map(meter).collect();
        if let Some(epoch_us) = plan.epoch_us {
            begin(&mut meters, &plan.buckets, epoch_us);
        }
        let refunds = plan.buckets.iter().map(|_| Vec::new()).collect();
        let table = Table::new(plan.buckets.len(), plan.epoch_us);
        Store {
            clock: plan.store_clock,
            stepped_us: 0,
            executions: 0,
            changed_by: vec![0; plan.buckets.len()],
            instant: (0, 0),
            is_ambiguous: vec![false; plan.buckets.len()],
            missing_ns: vec![None; plan.buckets.len()],
            lost_ns: None,
            was_set_back_before_loss: false,
            forward_ns: None,
            back_ns: None,
            table,
            meters,
            refunds,
            free_ns: 0,
        }
    }

    pub(super) fn now_us(&self, at_ns: u64) -> u64 {
        self.clock.now_us(at_ns).saturating_add_signed(self.stepped_us)
    }

    pub(super) fn shows_ns(&self, us: u64) -> u64 {
        self.clock.shows_ns(us.saturating_add_signed(-self.stepped_us))
    }

    pub(super) fn full_at(&self, bucket: usize, per_us: u32) -> Exact {
        State::full_at(self.table.states[bucket].as_ref(), per_us)
    }

    /// Whether it was missing so recently that what a replica knew at that time may still serve.
    pub(super) fn was_missing_lately(&self, bucket: usize, at_ns: u64) -> bool {
        self.table.states[bucket].is_none() || is_lately(self.missing_ns[bucket], at_ns)
    }

    // === disturbances ===

    pub(super) fn lose(&mut self, at_ns: u64, buckets: &[Bucket]) {
        let now_us = self.now_us(at_ns);
        self.table.lose();
        self.lost_ns = Some(at_ns);
        self.was_set_back_before_loss = self.back_ns.is_some();
        for (meter, _) in self.meters.iter_mut().zip(buckets).filter(|(_, bucket)| !bucket.is_guarded()) {
            meter.lose(now_us);
        }
    }

    pub(super) fn step(&mut self, at_ns: u64, by_us: i64) {
        let before_us = self.now_us(at_ns);
        self.stepped_us += by_us;
        let after_us = self.now_us(at_ns);
        self.meters.iter_mut().for_each(|meter| meter.step(before_us, after_us));
        let stepped_ns = if by_us < 0 { &mut self.back_ns } else { &mut self.forward_ns };
        *stepped_ns = Some(at_ns);
    }

    /// A full bucket expires.
    fn forget_if_full(&mut self, number: usize, bucket: &Bucket, now_us: u64) -> Result<(), Broken> {
        if !self.table.has_forgotten(number, now_us) {
            return Ok(());
        }
        self.table.states[number] = None;
        self.is_missing_rightly(number, bucket, now_us)
    }

    /// The bucket went missing, which makes no difference if it was full.
    fn is_missing_rightly(&mut self, number: usize, bucket: &Bucket, now_us: u64) -> Result<(), Broken> {
        let epoch_us = self.table.epoch_us.filter(|_| bucket.is_guarded());
        if epoch_us.is_some_and(|epoch_us| !self.meters[number].forget(epoch_us, now_us)) {
            let detail = format!("at {now_us}, where the store began at {epoch_us:?}");
            return Err(Broken::new("only a full bucket is forgotten", number, detail));
        }
        Ok(())
    }

    /// Executes one request, and compares its answer with the second account.
    pub(super) fn execute(
        &mut self,
        at_ns: u64,
        request: usize,
        (wishes, takes): (&[Wish], &[Take]),
        buckets: &[Bucket],
    ) -> Result<Answer, Broken> {
        let now_us = self.now_us(at_ns);
        if self.table.epoch_us.is_none() && wishes.iter().any(|wish| buckets[wish.bucket].is_guarded()) {
            begin(&mut self.meters, buckets, now_us);
        }
        for wish in wishes {
            self.forget_if_full(wish.bucket, &buckets[wish.bucket], now_us)?;
        }
        let states = |table: &Table| -> Vec<Option<State>> {
            wishes.iter().map(|wish| table.states[wish.bucket].clone()).collect()
        };
        let before = states(&self.table);
        for (wish, _) in wishes.iter().zip(&before).filter(|(_, before)| before.is_none()) {
            self.missing_ns[wish.bucket] = Some(at_ns);
        }
        let answer = decide(takes, now_us, &mut self.table);
        self.executions += 1;
        for (wish, before) in wishes.iter().zip(&before) {
            if self.table.states[wish.bucket] != *before {
                self.changed_by[wish.bucket] = self.executions;
                self.is_ambiguous[wish.bucket] = self.instant.1 > 1;
            }
        }
        self.is_exact(now_us, request, wishes, &answer, buckets)?;
        match answer.verdict {
            Verdict::Allow => self.passed(at_ns, request, wishes, buckets)?,
            Verdict::Deny => {
                let after = states(&self.table);
                if let Some(changed) = before.iter().zip(&after).position(|(before, after)| before != after) {
                    let detail = format!("request {request} changed it");
                    let bucket = wishes[changed].bucket;
                    return Err(Broken::new("a denied request changes nothing", bucket, detail));
                }
            }
        }
        Ok(answer)
    }

    /// Whether each take fits exactly if the second account says so. A bucket that is named twice adds up.
    fn is_exact(
        &self,
        now_us: u64,
        request: usize,
        wishes: &[Wish],
        answer: &Answer,
        buckets: &[Bucket],
    ) -> Result<(), Broken> {
        let mut trials: Vec<(usize, Meter)> = Vec::new();
        for (wish, found) in wishes.iter().zip(&answer.found) {
            let Wish { bucket, hits, edition } = *wish;
            let limit = &buckets[bucket].limits[edition];
            let at = trials.iter().position(|(tried, _)| *tried == bucket).unwrap_or_else(|| {
                trials.push((bucket, self.meters[bucket].clone()));
                trials.len() - 1
            });
            let trial = &mut trials[at].1;
            let (may_fit, must_fit) = trial.fits(hits, limit, now_us);
            if found.fits && !may_fit || !found.fits && must_fit {
                let detail = format!("{hits:?} of request {request} fits: {}; {trial:?}", found.fits);
                return Err(Broken::new("the store's answer is exact", bucket, detail));
            }
            if found.fits {
                trial.charge(hits, limit, now_us);
            }
        }
        Ok(())
    }

    fn passed(
        &mut self,
        at_ns: u64,
        request: usize,
        wishes: &[Wish],
        buckets: &[Bucket],
    ) -> Result<(), Broken> {
        let now_us = self.now_us(at_ns);
        for wish in wishes {
            let Wish { bucket, hits, edition } = *wish;
            let meter = &mut self.meters[bucket];
            let limit = &buckets[bucket].limits[edition];
            meter.charge(hits, limit, now_us);
            if !meter.holds() {
                let detail = format!("with {hits:?} of request {request}");
                return Err(Broken::new(
                    "never more than its length and the largest burst, in time",
                    bucket,
                    detail,
                ));
            }
            // Under a limit of 0 nothing is given back.
            if matches!(hits, Hits::GiveBack(_)) && limit.burst() > 0 {
                self.refunds[bucket].push(Refund { at_ns, request, learnt_by: None });
                if self.table.states[bucket].is_none() {
                    self.is_missing_rightly(bucket, &buckets[bucket], now_us)?;
                }
            }
        }
        Ok(())
    }

    /// The answer that the store would give now; nothing changes.
    pub(super) fn would_answer(&self, at_ns: u64, takes: &[Take]) -> Answer {
        let now_us = self.now_us(at_ns);
        decide(takes, now_us, &mut self.table.trial(now_us))
    }

    /// A batch is about to be executed.
    pub(super) fn begin_batch(&mut self, at_ns: u64) {
        let now_us = self.now_us(at_ns);
        let (last_us, batches) = self.instant;
        self.instant = (now_us, if now_us == last_us { batches + 1 } else { 1 });
    }

    /// When the bucket is full under a rate of `per_us`, if it is there and, as far as anybody can know, unchanged since that
    /// execution.
    pub(super) fn is_still_full_at(&self, bucket: usize, per_us: u32, execution: u64) -> Option<Exact> {
        let is_unchanged = self.changed_by[bucket] <= execution
            && !self.is_ambiguous[bucket]
            && self.table.states[bucket].is_some();
        is_unchanged.then(|| self.full_at(bucket, per_us))
    }

    /// Whether it recently counted as used up when missing, under the largest burst.
    pub(super) fn counted_missing_as_used_up(&self, bucket: &Bucket, at_ns: u64) -> bool {
        let lately_us = self.now_us(at_ns).saturating_sub(SERVES_US * 1_002 / 1_000);
        let began = Exact::at_us(self.table.epoch_us.unwrap_or(lately_us));
        let is_later =
            |limit: &Limit| began.plus(limit.worth_of_burst(), limit.per_us()) > Exact::at_us(lately_us);
        bucket.limits.iter().any(is_later)
    }

    pub(super) fn was_set_back_lately(&self, at_ns: u64) -> bool {
        is_lately(self.back_ns, at_ns)
    }

    // === refunds ===

    pub(super) fn learnt(&mut self, bucket: usize, request: usize, replica: usize) {
        let of_request = self.refunds[bucket].iter_mut().filter(|refund| refund.request == request);
        of_request.for_each(|refund| refund.learnt_by = Some(replica));
    }

    /// Whether the store was disturbed in a way that gave this bucket room, so recently that older knowledge may
    /// still serve.
    pub(super) fn makes_room(&self, bucket: &Bucket, at_ns: u64) -> bool {
        is_lately(self.forward_ns, at_ns)
            // A bucket that counts as used up does so by a clock that may have been set back.
            || is_lately(self.lost_ns, at_ns) && (!bucket.is_guarded() || self.was_set_back_before_loss)
            // After a step back, later answers count as older, also those about refunds.
            || is_lately(self.back_ns, at_ns) && bucket.refunds
    }

    /// Whether the replica has had no answer about a refund to this bucket, and what it knew before may still serve.
    pub(super) fn hides_refund(&self, bucket: usize, replica: usize, at_ns: u64) -> bool {
        let serves_ns = SERVES_US * 1_002;
        let mut lately =
            self.refunds[bucket].iter().rev().take_while(|refund| refund.at_ns + serves_ns > at_ns);
        lately.any(|refund| refund.learnt_by != Some(replica))
    }
}

fn is_lately(since_ns: Option<u64>, at_ns: u64) -> bool {
    // One second of a slow clock.
    since_ns.is_some_and(|since_ns| since_ns + SERVES_US * 1_002 > at_ns)
}

fn begin(meters: &mut [Meter], buckets: &[Bucket], epoch_us: u64) {
    let guarded = meters.iter_mut().zip(buckets).filter(|(_, bucket)| bucket.is_guarded());
    guarded.for_each(|(meter, _)| meter.begin(epoch_us));
}
