//! Batches on their way, and what the masters make of them.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{
    super::audit::{Taken, bucket_of, hits, is_refund},
    Charge, Event, Sent, Via, World,
};
use tollgate::store::StoreError;
use tollgate_core::decision::{Answer, Found, Kind, Take, Takes, decide};

impl World<'_> {
    pub(super) fn wake(&mut self, runtime: usize, shard: usize) {
        if let Some(idle) = self.runtimes[runtime].idle[shard].checked_sub(1) {
            self.runtimes[runtime].idle[shard] = idle;
            self.schedule(10_000, Event::Next { runtime, shard });
        }
    }

    pub(super) fn next(&mut self, number: usize, shard: usize) {
        let local_us = self.local_us(number);
        let runtime = &mut self.runtimes[number];
        let Some(batch) = runtime.dispatchers[shard].next(&mut runtime.memory, local_us) else {
            runtime.idle[shard] += 1;
            return;
        };
        let (sent, count) = (self.sent.len(), batch.requests.len());
        let via = Via { shard, connection: self.shards[shard].connection };
        let answers = vec![None; count];
        let asked = batch.requests.iter();
        let asked = asked.map(|one| (one.ticket.request, one.ticket.leg, one.takes.clone())).collect();
        self.calls += count;
        self.sent.push(Sent { runtime: number, via, batch: Some(batch), asked, answers });
        self.schedule(self.plan.deadline_us * 1_000, Event::Deadline { sent });
        if !self.rng.random_bool(self.plan.lost) {
            let way_ns = self.way_ns();
            self.schedule(way_ns, Event::Execute { sent, shard, which: (0..count).collect(), round: 0 });
        }
    }

    /// Each request of a batch is answered alone, and one whose slot is elsewhere is sent on.
    pub(super) fn execute(&mut self, sent: usize, shard: usize, which: Vec<usize>, round: u32) {
        let via = Via { shard, connection: self.shards[shard].connection };
        let is_given_up = self.sent[sent].batch.is_none();
        if round == 0 && self.sent[sent].via != via || round > 0 && is_given_up {
            return;
        }
        let mut elsewhere: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for one in which {
            let (request, leg, takes) = self.sent[sent].asked[one].clone();
            let slot = usize::from(self.plan.slot(&takes[0].key));
            let owner = self.owners[slot];
            if owner != shard {
                self.redirected += 1;
                let runtime = self.sent[sent].runtime;
                self.runtimes[runtime].owners[slot] = owner;
                elsewhere.entry(owner).or_default().push(one);
                continue;
            }
            match self.open.get_mut(&(request, leg)).filter(|open| **open > 0) {
                Some(open) => *open -= 1,
                None => self.breaks(format!("leg {leg} of request {request} is executed twice")),
            }
            let answer = self.decide(shard, request, &takes);
            self.note_charge(request, via, &takes, &answer);
            if !is_given_up {
                self.made.insert((request, leg), via);
                self.sent[sent].answers[one] = Some(Ok(answer));
            }
        }
        for (owner, which) in elsewhere {
            if round < 3 {
                let way_ns = self.way_ns() + self.way_ns();
                self.schedule(way_ns, Event::Execute { sent, shard: owner, which, round: round + 1 });
            }
        }
        if !is_given_up
            && self.sent[sent].answers.iter().all(Option::is_some)
            && !self.rng.random_bool(self.plan.lost)
        {
            let way_ns = self.way_ns();
            self.schedule(way_ns, Event::Land { sent });
        }
    }

    fn decide(&mut self, number: usize, request: usize, takes: &Takes) -> Answer {
        let clock_us = self.clock_us(number);
        let shard = &mut self.shards[number];
        for take in takes {
            shard.changes.push((self.now_ns, take.key, shard.buckets.get(&take.key).cloned()));
        }
        let answer = decide(takes, clock_us, &mut shard.buckets);
        for (take, found) in takes.iter().zip(&answer.found) {
            if !take.is_charged(found, answer.verdict) {
                continue;
            }
            let slot = usize::from(self.plan.slot(&take.key));
            let (at_us, bucket) = (self.elapsed[slot].at(clock_us), bucket_of(take));
            let amount = hits(take, &self.plan.buckets[bucket].limit);
            let taken = |hits| Taken { request, bucket, at_us, at_ns: self.now_ns, hits, is_lost: false };
            match take.demand.kind {
                Kind::Take => self.taken.push(taken(amount)),
                Kind::GiveBack if is_refund(take) => {
                    self.taken.push(taken(-amount));
                    self.refunded_by.push(request);
                }
                _ => {}
            }
        }
        answer
    }

    fn note_charge(&mut self, request: usize, via: Via, takes: &Takes, answer: &Answer) {
        let is_charged = |(take, found): &(&Take, &Found)| {
            take.demand.kind == Kind::Take && take.is_charged(found, answer.verdict)
        };
        let charged: Takes =
            takes.iter().zip(&answer.found).filter(is_charged).map(|(take, _)| *take).collect();
        if let Some(first) = charged.first() {
            let slot = self.plan.slot(&first.key);
            let charge = Charge { via, at_us: answer.now_us, takes: charged, is_undone: false };
            self.charged.insert((request, slot), charge);
        }
    }

    pub(super) fn land(&mut self, sent: usize, error: Option<StoreError>) {
        let Some(batch) = self.sent[sent].batch.take() else { return };
        let (number, shard) = (self.sent[sent].runtime, self.sent[sent].via.shard);
        let answers = self.sent[sent].answers.drain(..).flatten().collect::<Vec<_>>();
        let answers = error.map_or(Ok(answers), Err);
        let local_us = self.local_us(number);
        let runtime = &mut self.runtimes[number];
        runtime.dispatchers[shard].landed(batch, answers, &mut runtime.memory, local_us);
        // Requests of the other runtimes of its process may have waited for this.
        let replica = self.plan.runtimes[number].0;
        for other in (0..self.runtimes.len()).filter(|other| *other != number) {
            if self.plan.runtimes[other].0 == replica {
                (0..self.shards.len()).for_each(|shard| self.wake(other, shard));
            }
        }
        self.next(number, shard);
    }

    pub(super) fn undo(&mut self, request: usize, via: Via, slot: u16, takes: &Takes) {
        let runtime = self.requests[request].runtime;
        let shard = via.shard;
        let is_there = self.owners[usize::from(slot)] == shard;
        // The connection is gone, or the slot has moved.
        if self.shards[shard].connection != via.connection || !is_there {
            return;
        }
        let answer = self.decide(shard, usize::MAX, takes);
        let (way_ns, sent_us) = (self.way_ns(), self.local_us(runtime));
        let takes = takes.clone();
        self.schedule(way_ns, Event::Learn { runtime, takes, answer, sent_us });
    }
}
