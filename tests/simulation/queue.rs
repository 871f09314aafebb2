//! Which requests wait in a queue: a request waits only for older ones.

use super::{
    Broken,
    checks::SERVES_US,
    world::{Event, Fate, Request, SentBatch, World},
};
use tollgate_core::descriptor::Hits;

// The promised numbers, not the constants of the code, which might be wrong.
const PATIENCE_US: u64 = 100_000;
const MOST_TAKES: usize = 128;
pub(super) const LOOK_FOR_OVERDUE_EVERY_NS: u64 = 250_000_000;
/// Long after the clients stop asking, nothing is queued any more.
const LONG_NS: u64 = 10_000_000_000;
/// No request that could be sent waits for this number of batches in turn.
const BATCHES: u64 = 5;

/// The answers about a bucket that have reached a runtime.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// When the latest batch that brought one was sent, by the clock of its runtime.
    pub(super) sent_us: u64,
    /// The latest of those that were sent before the store was last disturbed.
    pub(super) stale_us: Option<u64>,
    /// The execution that the newest one tells of, and whether an older one arrived after it.
    pub(super) newest: u64,
    pub(super) is_overtaken: bool,
    /// The newest one shows that everything it asked for would fit again, or that nothing would.
    pub(super) shows_room: bool,
    pub(super) shows_none: bool,
    /// Which batch brought the latest one, when, and whether it was sent after all others had arrived.
    pub(super) latest: Option<usize>,
    pub(super) arrived_us: u64,
    pub(super) is_apart: bool,
}

impl World<'_> {
    /// Never shorter than the deadline: otherwise an answer that is late but in time would make other requests overdue.
    pub(super) fn patience_us(&self) -> u64 {
        PATIENCE_US.max(self.plan.deadline_us)
    }

    /// As the task of `store/redis/batches.rs` does that does not depend on the slots.
    pub(super) fn give_up_overdue(&mut self, runtime: usize) -> Result<(), Broken> {
        let now_us = self.local_us(runtime);
        self.runtimes[runtime].dispatcher.give_up_overdue(now_us);
        self.deliver()?;
        if self.now_ns < self.plan.until_ns + LONG_NS {
            self.schedule(LOOK_FOR_OVERDUE_EVERY_NS, Event::GiveUpOverdue { runtime });
        }
        Ok(())
    }

    /// Request and bucket, for each bucket of these requests that their runtime knows to be without room.
    pub(super) fn known_empty(&self, runtime: usize, requests: &[usize]) -> Vec<(usize, usize)> {
        let asking = requests.iter().flat_map(|&request| {
            let wishes = self.requests[request].wishes.iter();
            // No request waits for a give-back.
            let takes = wishes.filter(|wish| !matches!(wish.hits, Hits::GiveBack(_)));
            takes.map(move |wish| (request, wish.bucket))
        });
        asking.filter(|(_, bucket)| self.knows_empty(runtime, *bucket)).collect()
    }

    /// Whether a runtime knows that a bucket has no room, from an answer of the last second.
    pub(super) fn knows_empty(&self, runtime: usize, bucket: usize) -> bool {
        let (state, now_us) = (&self.runtimes[runtime], self.local_us(runtime));
        let is_fresh = |heard: &Heard| now_us - heard.sent_us < SERVES_US;
        self.heard_by_its_process(runtime, bucket).any(is_fresh)
            && state.denial_cache.borrow_mut().knows(&self.plan.buckets[bucket].key, now_us)
    }

    /// After a slot has taken its batch, only two kinds of requests may be left in the queue: those for which the
    /// batch had no room, and those that wait for older requests, which are under way or wait themselves. So no
    /// request is passed over forever.
    pub(super) fn nobody_waits_in_vain(&mut self, runtime: usize, is_sent: bool) -> Result<(), Broken> {
        self.runtimes[runtime].queued.retain(|request| self.requests[*request].fate == Fate::Queued);
        let (others, taken) = match self.runtimes[runtime].under_way.split_last() {
            Some((newest, others)) if is_sent => {
                (others.to_vec(), self.takes_of(&self.sent_batches[*newest]))
            }
            // No slot is free.
            Some(_) => return Ok(()),
            None => (Vec::new(), 0),
        };
        let queued = self.runtimes[runtime].queued.clone();
        let finds_room =
            |request: &usize| taken == 0 || taken + self.requests[*request].takes.len() <= MOST_TAKES;
        if !queued.iter().all(finds_room) {
            queued.into_iter().for_each(|request| self.requests[request].is_crowded = true);
            return Ok(());
        }
        let under_way = others.iter().flat_map(|sent| &self.sent_batches[*sent].empty);
        let under_way: Vec<(usize, usize)> = under_way.copied().collect();
        let mut reserved: Vec<usize> = Vec::new();
        for request in queued {
            let wishes = &self.requests[request].wishes;
            let waits_for = |bucket| {
                reserved.contains(&bucket)
                    || under_way.iter().any(|(older, asked)| *older < request && *asked == bucket)
            };
            let held: Vec<usize> = wishes.iter().map(|wish| wish.bucket).collect();
            let waits = held.iter().any(|bucket| waits_for(*bucket));
            if waits {
                self.waits_here(request);
            } else if !self.waits_elsewhere(runtime, request, &held) {
                let detail = format!("request {request}, though a slot is free");
                return Err(Broken::new("nobody waits in vain", held[0], detail));
            }
            reserved.extend(held.into_iter().filter(|bucket| self.knows_empty(runtime, *bucket)));
        }
        Ok(())
    }

    fn takes_of(&self, sent: &SentBatch) -> usize {
        sent.requests.iter().map(|request| self.requests[*request].takes.len()).sum()
    }

    /// The request was given up because of overload: more was asked than batches could carry, or a batch took long. A
    /// request that waits for others waits for a few batches only; none is given up while the store answers.
    pub(super) fn is_given_up_rightly(&self, request: usize, waited_us: u64) -> Result<(), Broken> {
        let bucket = self.requests[request].wishes[0].bucket;
        if waited_us < self.patience_us() * 999 / 1_000 {
            let detail = format!("request {request} was given up after {waited_us} µs");
            return Err(Broken::new("patience is kept", bucket, detail));
        }
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        let stopped_us = self.stopped_since_us(runtime, record.asked_ns);
        let most_us = (self.patience_us() + LOOK_FOR_OVERDUE_EVERY_NS / 1_000) * 1_001 / 1_000 + 1;
        let most_us = most_us + stopped_us;
        if waited_us > most_us {
            let detail = format!("request {request} was given up only after {waited_us} µs");
            return Err(Broken::new("an overdue request is given up though no slot is free", bucket, detail));
        }
        let long_ns = self.patience_us() * 1_000 / BATCHES;
        let took_ns = |sent: &SentBatch| sent.landed_ns.unwrap_or(self.now_ns) - sent.sent_ns;
        // Each batch is sent at most twice.
        let lately_ns = record.asked_ns.saturating_sub(2 * self.plan.deadline_us * 1_000);
        let lately = self.sent_batches.iter().rev().take_while(|sent| sent.sent_ns >= lately_ns);
        let mut meanwhile = lately.filter(|sent| {
            sent.runtime == runtime && sent.landed_ns.is_none_or(|landed_ns| landed_ns >= record.asked_ns)
        });
        if record.is_crowded || stopped_us > 0 || meanwhile.any(|sent| took_ns(sent) >= long_ns) {
            return Ok(());
        }
        let detail = format!("request {request}");
        Err(Broken::new("nothing is given up while the store answers", record.wishes[0].bucket, detail))
    }
}

impl Heard {
    /// Another answer has arrived.
    pub(super) fn note(&mut self, order: u64, (shows_room, shows_none): (bool, bool)) {
        self.is_overtaken = order < self.newest;
        if !self.is_overtaken {
            (self.newest, self.shows_room, self.shows_none) = (order, shows_room, shows_none);
        }
    }
}

impl Request {
    /// Whether its answer shows that everything it asked of this bucket would fit again, and whether nothing would.
    pub(super) fn shows(&self, bucket: usize) -> (bool, bool) {
        let answers = || self.wishes.iter().zip(&self.fits_again).filter(|(wish, _)| wish.bucket == bucket);
        (answers().all(|(_, fits)| *fits), answers().all(|(_, fits)| !fits))
    }
}
