//! Who waits in a queue, and for whom: for those that came earlier, and for nobody else.

use super::{
    Broken,
    checks::SERVES_US,
    world::{Fate, Heard, Request, SentBatch, World},
};
use tollgate_core::descriptor::Hits;

// What is promised; not the constants of the code, which might be wrong.
const PATIENCE_US: u64 = 100_000;
const MOST_TAKES: usize = 128;
/// Nobody who can travel waits for as many, one after the other.
const BATCHES: u64 = 5;

impl World<'_> {
    /// Never shorter than the deadline, or an answer that came late but in time would make others overdue.
    pub(super) fn patience_us(&self) -> u64 {
        PATIENCE_US.max(self.plan.deadline_us)
    }

    /// Which of these requests ask for which bucket that their runtime knows to be without room.
    pub(super) fn known_empty(&self, runtime: usize, requests: &[usize]) -> Vec<(usize, usize)> {
        let asking = requests.iter().flat_map(|&request| {
            let wishes = self.requests[request].wishes.iter();
            // Nobody waits for what is given back.
            let takes = wishes.filter(|wish| !matches!(wish.hits, Hits::GiveBack(_)));
            takes.map(move |wish| (request, wish.bucket))
        });
        asking.filter(|(_, bucket)| self.knows_empty(runtime, *bucket)).collect()
    }

    /// And not for longer than a second after it was heard of.
    pub(super) fn knows_empty(&self, runtime: usize, bucket: usize) -> bool {
        let (of, now_us) = (&self.runtimes[runtime], self.local_us(runtime));
        let is_fresh = |heard: &Heard| now_us - heard.sent_us < SERVES_US;
        of.heard.get(&bucket).is_some_and(is_fresh)
            && of.denial_cache.borrow_mut().knows(&self.plan.buckets[bucket].key, now_us)
    }

    /// What is left in the queue when a slot has looked at it: what finds no room in the batch, and what waits for
    /// older requests that are in the air, or that wait themselves. So nobody is passed over for ever.
    pub(super) fn nobody_waits_in_vain(&mut self, runtime: usize, is_sent: bool) -> Result<(), Broken> {
        self.runtimes[runtime].queued.retain(|request| self.requests[*request].fate == Fate::Queued);
        let (others, taken) = match self.runtimes[runtime].under_way.split_last() {
            Some((newest, others)) if is_sent => {
                (others.to_vec(), self.takes_of(&self.sent_batches[*newest]))
            }
            // As many may be in the air as may be.
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
            if !wishes.iter().any(|wish| waits_for(wish.bucket)) {
                let detail = format!("request {request}, though a slot is free");
                return Err(Broken::new("nobody waits in vain", wishes[0].bucket, detail));
            }
            let held = wishes.iter().map(|wish| wish.bucket);
            reserved.extend(held.filter(|bucket| self.knows_empty(runtime, *bucket)));
        }
        Ok(())
    }

    fn takes_of(&self, sent: &SentBatch) -> usize {
        sent.requests.iter().map(|request| self.requests[*request].takes.len()).sum()
    }

    /// It was overload: more was asked than batches could carry, or one of them took long. What waits for others
    /// waits for a few batches; nothing is given up while the store answers.
    pub(super) fn is_given_up_rightly(&self, request: usize) -> Result<(), Broken> {
        let of = &self.requests[request];
        let runtime = self.plan.clients[of.client].runtime;
        let long_ns = self.patience_us() * 1_000 / BATCHES;
        let took_ns = |sent: &SentBatch| sent.landed_ns.unwrap_or(self.now_ns) - sent.sent_ns;
        // Each is sent twice at most.
        let lately_ns = of.asked_ns.saturating_sub(2 * self.plan.deadline_us * 1_000);
        let lately = self.sent_batches.iter().rev().take_while(|sent| sent.sent_ns >= lately_ns);
        let mut meanwhile = lately.filter(|sent| {
            sent.runtime == runtime && sent.landed_ns.is_none_or(|landed_ns| landed_ns >= of.asked_ns)
        });
        if of.is_crowded || meanwhile.any(|sent| took_ns(sent) >= long_ns) {
            return Ok(());
        }
        let detail = format!("request {request}");
        Err(Broken::new("nothing is given up while the store answers", of.wishes[0].bucket, detail))
    }
}

impl Heard {
    /// Another answer has come.
    pub(super) fn note(&mut self, order: u64, (shows_room, shows_none): (bool, bool)) {
        self.is_overtaken = order < self.newest;
        if !self.is_overtaken {
            (self.newest, self.shows_room, self.shows_none) = (order, shows_room, shows_none);
        }
    }
}

impl Request {
    /// Whether its answer shows that all that it asked of this bucket would fit once more, and whether nothing would.
    pub(super) fn shows(&self, bucket: usize) -> (bool, bool) {
        let of = || self.wishes.iter().zip(&self.fits_again).filter(|(wish, _)| wish.bucket == bucket);
        (of().all(|(_, fits)| *fits), of().all(|(_, fits)| !fits))
    }
}
