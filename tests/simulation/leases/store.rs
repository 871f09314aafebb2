//! The store at the other end: it executes the calls of a batch, and the second account judges what it answers.

use rand::RngExt;

use super::world::{Event, Request, World, is_among};
use tollgate_core::decision::{Answer, Granted, LeaseCall, Takes, Verdict, decide, lease};

impl World<'_> {
    pub(super) fn execute(&mut self, sent: usize) {
        let requests = self.sent[sent].requests.clone();
        // What only returns hits comes before the requests.
        let calls = self.sent[sent].calls.clone();
        let mut grants = vec![None; calls.len()];
        self.settle(&calls, |call| call.wants == 0, &mut grants);
        let answers: Vec<Answer> = requests.into_iter().map(|request| self.execute_one(request)).collect();
        self.settle(&calls, |call| call.wants > 0, &mut grants);
        let grants = grants.into_iter().flatten().collect();
        self.sent[sent].executed_ns = self.now_ns;
        self.sent[sent].reply = Some((answers, grants));
        if !self.rng.random_bool(self.plan.network.lost_back) {
            let way_ns = self.way_ns();
            self.schedule(way_ns, Event::Land { sent });
        }
    }

    fn settle(
        &mut self,
        calls: &[LeaseCall],
        is_now: impl Fn(&LeaseCall) -> bool,
        grants: &mut [Option<Granted>],
    ) {
        let now_us = self.store_us();
        for (call, grant) in calls.iter().zip(grants).filter(|(call, _)| is_now(call)) {
            let bucket = crate::bucket::number_of(&call.key);
            self.begins(bucket);
            let granted = lease(call, now_us, &mut self.table).expect("no log has leases");
            if let Err(promise) = self.accounts[bucket].settle(call, &granted, now_us) {
                self.breaks(promise, format!("{call:?} {granted:?}, {:?}", self.accounts[bucket]));
            }
            *grant = Some(granted);
        }
    }

    /// A full bucket expires, and a store that has lost its epoch begins anew.
    pub(super) fn begins(&mut self, bucket: usize) {
        let now_us = self.store_us();
        if self.table.has_forgotten(bucket, now_us) {
            self.table.states[bucket] = None;
        }
        if self.table.epoch_us.is_none() && self.plan.buckets[bucket].is_guarded() {
            self.table.epoch_us = Some(now_us);
            for (account, bucket) in
                self.accounts.iter_mut().zip(&self.plan.buckets).filter(|(_, of)| of.is_guarded())
            {
                account.begin(now_us, bucket);
            }
        }
    }

    fn execute_one(&mut self, request: usize) -> Answer {
        let (now_us, is_partly) = (self.store_us(), self.requests[request].part.is_some());
        let Request { edition, wishes, part, .. } = &self.requests[request];
        let is_spent = |bucket: &usize| part.as_ref().is_some_and(|(_, leases)| is_among(leases, bucket));
        let rest = wishes.iter().copied().filter(|(bucket, _)| !(is_partly && is_spent(bucket)));
        let takes: Vec<_> =
            rest.map(|(bucket, hits)| (bucket, self.plan.take(bucket, *edition, hits))).collect();
        takes.iter().for_each(|(bucket, _)| self.begins(*bucket));
        let asked: Takes = takes.iter().map(|(_, take)| *take).collect();
        let answer = decide(&asked, now_us, &mut self.table);
        for ((bucket, take), found) in takes.iter().zip(&answer.found) {
            let fits = self.accounts[*bucket].fits(&take.demand, now_us);
            if fits != found.fits {
                let detail = format!("{take:?} fits: {}, {:?}", found.fits, self.accounts[*bucket]);
                self.breaks("a take fits beside what is reserved, or not at all", detail);
            }
        }
        if answer.verdict == Verdict::Allow {
            for (bucket, take) in takes {
                self.accounts[bucket].charge(&take.demand, now_us);
                self.admits(bucket, &take.demand, now_us);
            }
        }
        answer
    }
}
