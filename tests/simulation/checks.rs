//! Promises that must hold at each moment.

use super::{
    Broken,
    bucket::number_of,
    plan::CacheMode,
    queue::Heard,
    world::{Fate, SentBatch, World},
};
use tollgate::store::StoreError;
use tollgate_core::{
    decision::{Answer, AnswerSource, Demand, Take, Verdict},
    descriptor::Hits,
    limit::Exact,
};

// The promised numbers, not the constants of the code, which might be wrong.
pub(super) const SERVES_US: u64 = 1_000_000;
const MOST_UNDER_WAY: usize = 2;
const MOST_TAKES: usize = 128;

/// What the denial cache told about one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    full_at: Exact,
    now_us: u64,
    local_us: u64,
}

impl World<'_> {
    // === answers ===

    pub(super) fn is_answered_well(
        &mut self,
        request: usize,
        answer: &Result<Answer, StoreError>,
    ) -> Result<(), Broken> {
        let record = &self.requests[request];
        let bucket = record.wishes[0].bucket;
        if record.fate == Fate::Answered {
            return Err(Broken::new("each request gets one answer", bucket, format!("request {request}")));
        }
        let waited_us = (self.now_ns - record.asked_ns) / 1_000;
        // At worst it waits for a batch to land until it is almost overdue, and is then sent itself; each batch may
        // be sent twice.
        let stopped_us = self.stopped_since_us(self.plan.clients[record.client].runtime, record.asked_ns);
        if waited_us > self.patience_us() + 4 * self.plan.deadline_us + 1_000 + stopped_us {
            let detail = format!("request {request} waited for {waited_us} µs");
            return Err(Broken::new("nothing stays queued forever", bucket, detail));
        }
        if record.fate == Fate::Queued {
            self.waited_rightly(request)?;
        }
        match answer {
            Err(StoreError::Overload) => self.is_given_up_rightly(request, waited_us),
            Ok(answer) if answer.source == AnswerSource::Cache => self.is_denied_rightly(request, answer),
            Err(StoreError::Tripped) => {
                let runtime = self.plan.clients[self.requests[request].client].runtime;
                self.runtimes[runtime].watch.refuses_rightly(self.local_us(runtime), bucket)
            }
            _ => Ok(()),
        }
    }

    /// The denial cache denied this: the store would deny it now too, and not for longer than was told.
    fn is_denied_rightly(&mut self, request: usize, answer: &Answer) -> Result<(), Broken> {
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        self.store_would_deny(runtime, &record.takes, answer)?;
        let is_fresh = |heard: &Heard| self.local_us(runtime) - heard.sent_us < SERVES_US;
        let is_known = |bucket| self.heard_by_its_process(runtime, bucket).any(is_fresh);
        if let Some(wish) = record.wishes.iter().find(|wish| !is_known(wish.bucket)) {
            let detail = format!("request {request}");
            return Err(Broken::new("memory serves for a second at most", wish.bucket, detail));
        }
        self.is_told_as_heard(request, answer)?;
        let store_us = self.store.now_us(self.now_ns);
        // After a step back a key must wait longer than a runtime can know that has not received an answer about it
        // since.
        let is_set_back = self.store.was_set_back_lately(self.now_ns);
        let is_known = !is_set_back || !record.wishes.iter().any(|wish| self.is_stale(runtime, wish.bucket));
        for ((wish, take), found) in record.wishes.iter().zip(&record.takes).zip(&answer.found) {
            let limit = &self.plan.buckets[wish.bucket].limits[wish.edition];
            let cost = take.demand.tokens().map(|tokens| tokens.cost).unwrap_or_default();
            let wait_us = |now_us| limit.wait_us(found.full_at(), cost, now_us);
            if is_known && !found.fits && wait_us(answer.now_us) < wait_us(store_us) {
                let detail = format!(
                    "request {request} is told to wait {} µs, and must wait {}",
                    wait_us(answer.now_us),
                    wait_us(store_us)
                );
                return Err(Broken::new("no wait is told too short", wish.bucket, detail));
            }
        }
        if let ([wish], [found]) = (&record.wishes[..], &answer.found[..]) {
            let told =
                Told { full_at: found.full_at(), now_us: answer.now_us, local_us: self.local_us(runtime) };
            return self.counts_down(runtime, wish.bucket, told);
        }
        Ok(())
    }

    /// The denial cache tells of no bucket with room, and of each as the newest answer showed it.
    fn is_told_as_heard(&self, request: usize, answer: &Answer) -> Result<(), Broken> {
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        for (wish, found) in record.wishes.iter().zip(&answer.found) {
            if found.fits {
                let detail = format!("request {request}: {answer:?}");
                return Err(Broken::new("memory answers only where nothing fits", wish.bucket, detail));
            }
            // What another runtime heard last counts as well, if this one has taken it over. Room is not remembered where
            // nothing was known, so an older answer that arrives after it counts again, for a second.
            let heard = || self.heard_by_its_process(runtime, wish.bucket);
            let oldest = heard().min_by_key(|heard| heard.newest);
            let oldest = oldest.filter(|_| heard().all(|heard| !heard.is_overtaken));
            let per_us = self.plan.buckets[wish.bucket].limits[wish.edition].per_us();
            let full_at =
                oldest.and_then(|heard| self.store.is_still_full_at(wish.bucket, per_us, heard.newest));
            if full_at.is_some_and(|full_at| full_at != found.full_at())
                && !self.store.was_set_back_lately(self.now_ns)
            {
                let detail = format!("request {request}: {found:?}, which is full at {full_at:?}");
                return Err(Broken::new("a level is told as it was last heard", wish.bucket, detail));
            }
        }
        Ok(())
    }

    /// When the denial cache tells the same again, the store's time has advanced by the time that has passed.
    fn counts_down(&mut self, runtime: usize, bucket: usize, told: Told) -> Result<(), Broken> {
        let Some(last) = self.runtimes[runtime].told.insert(bucket, told) else { return Ok(()) };
        // What was learnt there may replace what is known here at any time.
        let others = self.others_of_its_process(runtime);
        if others.iter().any(|other| self.runtimes[*other].heard.contains_key(&bucket)) {
            return Ok(());
        }
        let passed_us = told.local_us - last.local_us;
        let counted_us = told.now_us.saturating_sub(last.now_us);
        if last.full_at != told.full_at || counted_us + 2 + passed_us / 500 < passed_us {
            let detail = format!("{last:?}, then {told:?}");
            return Err(Broken::new("waits count down", bucket, detail));
        }
        Ok(())
    }

    fn store_would_deny(&self, runtime: usize, takes: &[Take], answer: &Answer) -> Result<(), Broken> {
        let replica = self.plan.runtimes[runtime].replica;
        let buckets = || takes.iter().map(|take| number_of(&take.key));
        // A missing bucket counts as used up under the burst of the limit that asks; memory is right again a second
        // later.
        let depends_on_burst = |bucket: usize| {
            let bucket_plan = &self.plan.buckets[bucket];
            bucket_plan.is_guarded()
                && self.store.counted_missing_as_used_up(bucket_plan, self.now_ns)
                && self
                    .plan
                    .limits_in_force(bucket_plan)
                    .any(|limit| *limit != bucket_plan.limits[self.plan.editions[0]])
                && self.store.was_missing_lately(bucket, self.now_ns)
        };
        let is_surprised = |bucket: usize| {
            self.is_stale(runtime, bucket) && self.store.makes_room(&self.plan.buckets[bucket], self.now_ns)
        };
        if buckets().any(is_surprised)
            || buckets().any(|bucket| self.store.hides_refund(bucket, replica, self.now_ns))
            || buckets().any(depends_on_burst)
            || self.store.would_answer(self.now_ns, takes).verdict == Verdict::Deny
        {
            return Ok(());
        }
        let bucket = buckets().next().expect("a request asks for something");
        let detail = format!(
            "at {} of the store's clock, where it is full at {:?}: {answer:?}",
            self.store.now_us(self.now_ns),
            self.store.full_at(bucket, 1)
        );
        Err(Broken::new("memory denies nothing that fits", bucket, detail))
    }

    /// Whether memory may still serve what this runtime knew about a bucket before the store was last disturbed.
    fn is_stale(&self, runtime: usize, bucket: usize) -> bool {
        let mut stale_us = self.heard_by_its_process(runtime, bucket).filter_map(|heard| heard.stale_us);
        stale_us.any(|stale_us| self.local_us(runtime) - stale_us < SERVES_US)
    }

    /// What each runtime of a process has heard of a bucket: all of them know it.
    pub(super) fn heard_by_its_process(&self, runtime: usize, bucket: usize) -> impl Iterator<Item = &Heard> {
        let all = std::iter::once(runtime).chain(self.others_of_its_process(runtime));
        all.filter_map(move |runtime| self.runtimes[runtime].heard.get(&bucket))
    }

    // === batches ===

    pub(super) fn is_sent_rightly(&mut self, sent: usize) -> Result<(), Broken> {
        let batch = &self.sent_batches[sent];
        let queued_us = |request: &usize| (self.now_ns - self.requests[*request].asked_ns) / 1_000;
        if let Some(request) =
            batch.requests.iter().find(|request| queued_us(request) > self.patience_us() * 1_001 / 1_000)
        {
            let (bucket, detail) = (self.requests[*request].wishes[0].bucket, format!("request {request}"));
            return Err(Broken::new("what was queued too long is not sent", bucket, detail));
        }
        let bucket = self.requests[batch.requests[0]].wishes[0].bucket;
        let takes: usize = batch.requests.iter().map(|request| self.requests[*request].takes.len()).sum();
        if takes > MOST_TAKES && batch.requests.len() > 1 {
            return Err(Broken::new("a batch carries at most 128 takes", bucket, format!("{takes} takes")));
        }
        let runtime = batch.runtime;
        let now_us = self.local_us(runtime);
        self.runtimes[runtime].watch.sent(sent, now_us, bucket)?;
        let under_way = self.runtimes[runtime].under_way.len();
        if under_way > MOST_UNDER_WAY {
            return Err(Broken::new("at most two batches are under way", bucket, format!("{under_way}")));
        }
        Ok(())
    }

    /// A batch was answered: all runtimes of this replica know at once what was given back, and no older answer makes
    /// them forget it.
    pub(super) fn is_learnt(&mut self, sent: usize) -> Result<(), Broken> {
        let SentBatch { runtime, sent_us, sent_ns, .. } = self.sent_batches[sent];
        self.hears(sent);
        let is_stale = self.disturbed_ns.is_some_and(|disturbed_ns| sent_ns <= disturbed_ns);
        let replica = self.plan.runtimes[runtime].replica;
        for request in self.sent_batches[sent].requests.clone() {
            for wish in self.requests[request].wishes.clone() {
                let shows = self.requests[request].shows(wish.bucket);
                let state = &mut self.runtimes[runtime];
                state.told.remove(&wish.bucket);
                let heard = state.heard.entry(wish.bucket).or_default();
                heard.sent_us = heard.sent_us.max(sent_us);
                heard.stale_us = if is_stale { heard.stale_us.max(Some(sent_us)) } else { heard.stale_us };
                heard.note(self.requests[request].order, shows);
                if matches!(wish.hits, Hits::GiveBack(_)) {
                    self.store.learnt(wish.bucket, request, replica);
                    self.note(request, |_| format!("is known to replica {replica}"));
                }
                if self.plan.buckets[wish.bucket].refunds {
                    self.denies_rightly(replica, wish.bucket)?;
                }
            }
        }
        self.room_is_seen(sent)
    }

    /// Answers have arrived at a runtime.
    fn hears(&mut self, sent: usize) {
        let SentBatch { runtime, sent_us, ref requests, .. } = self.sent_batches[sent];
        let now_us = self.local_us(runtime);
        let wishes = requests.iter().flat_map(|request| &self.requests[*request].wishes);
        for wish in wishes {
            let heard = self.runtimes[runtime].heard.entry(wish.bucket).or_default();
            if heard.latest != Some(sent) {
                heard.is_apart = sent_us > heard.arrived_us;
                (heard.latest, heard.arrived_us) = (Some(sent), now_us);
            }
        }
    }

    /// An answer that shows room ends what was known of a bucket, and one that shows none begins it, unless an older
    /// answer arrives later. That holds after a step back of the store's clock too, for answers that do not overlap.
    fn room_is_seen(&self, sent: usize) -> Result<(), Broken> {
        let SentBatch { runtime, sent_us, requests, .. } = &self.sent_batches[sent];
        // An answer to a batch that was sent over a second ago is learnt, and no longer served.
        let is_served = self.local_us(*runtime) - sent_us < SERVES_US;
        let is_learnt = self.plan.denial_cache == CacheMode::On && is_served;
        // A runtime that has stopped reads answers that are older by as long.
        let stops_ns = if self.plan.network.stopped > 0.0 { *self.plan.network.stop_ns.end() } else { 0 };
        let is_set_back = self.store.was_set_back_lately(self.now_ns.saturating_sub(stops_ns));
        for wish in requests.iter().flat_map(|request| &self.requests[*request].wishes) {
            let heard = &self.runtimes[*runtime].heard[&wish.bucket];
            let is_in_order = heard.is_apart || !is_set_back;
            let is_newest =
                self.heard_by_its_process(*runtime, wish.bucket).all(|other| other.newest <= heard.newest);
            let is_alone = self.heard_by_its_process(*runtime, wish.bucket).count() == 1;
            let is_in_order = is_in_order && (is_alone || is_newest && !is_set_back);
            if heard.is_overtaken || !is_in_order {
                continue;
            }
            let is_known = self.knows_empty(*runtime, wish.bucket);
            if heard.shows_room && is_known {
                let detail = format!("{heard:?}");
                return Err(Broken::new("room that was seen replaces what was known", wish.bucket, detail));
            }
            if heard.shows_none && !is_known && is_learnt && !self.plan.buckets[wish.bucket].refunds {
                let detail = format!("{heard:?}");
                return Err(Broken::new("what has no room is known", wish.bucket, detail));
            }
        }
        Ok(())
    }

    /// The answer of each runtime's denial cache to a request for a single hit now.
    fn denies_rightly(&self, replica: usize, bucket: usize) -> Result<(), Broken> {
        let bucket_plan = &self.plan.buckets[bucket];
        let limit = &bucket_plan.limits[self.replicas[replica].edition];
        let one = [Take { key: bucket_plan.key, demand: Demand::new(Hits::Take(1), limit) }];
        for (runtime, bucket_plan) in
            self.plan.runtimes.iter().enumerate().filter(|(_, bucket_plan)| bucket_plan.replica == replica)
        {
            let now_us = bucket_plan.clock.now_us(self.now_ns);
            if let Some(denial) = self.runtimes[runtime].denial_cache.borrow_mut().denial(&one, now_us) {
                self.store_would_deny(runtime, &one, &denial)?;
            }
        }
        Ok(())
    }

    pub(super) fn everyone_was_answered(&self) -> Result<(), Broken> {
        let is_open = |fate| matches!(fate, Fate::Queued | Fate::Sent);
        match self.requests.iter().position(|request| is_open(request.fate)) {
            Some(request) => {
                let bucket = self.requests[request].wishes[0].bucket;
                Err(Broken::new(
                    "each request gets one answer",
                    bucket,
                    format!("request {request} got none"),
                ))
            }
            None => Ok(()),
        }
    }
}
