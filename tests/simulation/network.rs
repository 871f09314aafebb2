//! Batches under way: the slots of `store/redis/batches.rs`, the network, and the store at its other end.

use std::slice;

use rand::RngExt;

use super::{
    Broken,
    clients::Ticket,
    world::{Event, Fate, SentBatch, World},
};
use tollgate::store::{StoreError, redis::dispatch::queue::Batch, refusal::Refusal};
use tollgate_core::decision::Answer;

impl World<'_> {
    /// Wakes a slot if one waits; otherwise the next slot that would wait continues at once.
    pub(super) fn wake(&mut self, runtime: usize) {
        let wake_ns = self.weather.random_range(self.plan.network.wake_ns.clone());
        let state = &mut self.runtimes[runtime];
        if state.idle == 0 {
            state.permit = true;
            return;
        }
        state.idle -= 1;
        let life = state.life;
        self.schedule(wake_ns, Event::NextBatch { runtime, life });
    }

    /// A slot is free: it sends the next batch, or waits.
    pub(super) fn next_batch(&mut self, runtime: usize) -> Result<(), Broken> {
        loop {
            let now_us = self.local_us(runtime);
            let state = &mut self.runtimes[runtime];
            let batch = state.dispatcher.next(state.denial_cache.get_mut(), now_us);
            self.deliver()?;
            let is_sent = batch.is_some();
            if let Some(batch) = batch {
                self.note_sent(runtime, batch)?;
            }
            self.nobody_waits_in_vain(runtime, is_sent)?;
            if is_sent {
                self.is_sent_rightly(self.sent_batches.len() - 1)?;
                self.send(self.sent_batches.len() - 1);
                if self.runtimes[runtime].dispatcher.looks_again_us().is_some() {
                    self.wake(runtime);
                }
                self.may_stop(runtime);
                return Ok(());
            }
            let state = &mut self.runtimes[runtime];
            if !state.permit {
                state.idle += 1;
                self.look_again_later(runtime);
                return Ok(());
            }
            state.permit = false;
        }
    }

    fn note_sent(&mut self, runtime: usize, batch: Batch<Ticket>) -> Result<(), Broken> {
        let requests: Vec<usize> = batch.requests.iter().map(|request| request.ticket.request).collect();
        for &request in &requests {
            self.waited_rightly(request)?;
            self.requests[request].fate = Fate::Sent;
            self.note(request, |_| "is sent".to_owned());
        }
        self.runtimes[runtime].under_way.push(self.sent_batches.len());
        let sent_us = batch.sent_us;
        let empty = self.known_empty(runtime, &requests);
        self.sent_batches.push(SentBatch {
            runtime,
            batch: Some(batch),
            requests,
            empty,
            landed_ns: None,
            sent_ns: self.now_ns,
            sent_us,
            attempt: 0,
            reply: None,
        });
        Ok(())
    }

    fn send(&mut self, sent: usize) {
        let attempt = self.sent_batches[sent].attempt;
        self.schedule(self.plan.deadline_us * 1_000, Event::Deadline { sent, attempt });
        let is_lost = self.weather.random_bool(self.plan.network.lost_there);
        if !is_lost && self.silent_until_ns <= self.now_ns {
            let way_ns = self.weather.random_range(self.plan.network.there_ns.clone()) + self.lateness_ns();
            self.schedule(way_ns, Event::Arrive { sent, attempt });
        }
    }

    fn lateness_ns(&mut self) -> u64 {
        let is_late = self.weather.random_bool(self.plan.network.late);
        if is_late { self.weather.random_range(0..self.plan.deadline_us * 3_000) } else { 0 }
    }

    // === the store ===

    /// The store works in the order of arrival, one batch at a time.
    pub(super) fn arrive(&mut self, sent: usize, attempt: u32) {
        let network = &self.plan.network;
        let mut start_ns = self.store.free_ns.max(self.now_ns);
        if self.weather.random_bool(network.stalled) {
            start_ns += self.weather.random_range(0..network.stall_ns);
        }
        self.store.free_ns = start_ns + network.busy_ns;
        self.schedule(start_ns - self.now_ns, Event::Execute { sent, attempt });
    }

    pub(super) fn execute(&mut self, sent: usize, attempt: u32) -> Result<(), Broken> {
        let reply = if self.weather.random_bool(self.plan.network.refused) {
            let is_forgotten = attempt == 0 && self.weather.random_bool(0.5);
            Err(StoreError::Refused(if is_forgotten { Refusal::NoScript } else { Refusal::Loading }))
        } else {
            let mut answers = Vec::new();
            self.store.begin_batch(self.now_ns);
            for request in self.sent_batches[sent].requests.clone() {
                answers.push(self.execute_one(request)?);
            }
            Ok(answers)
        };
        let batch = &mut self.sent_batches[sent];
        if batch.attempt == attempt {
            batch.reply = Some(reply);
        }
        if !self.weather.random_bool(self.plan.network.lost_back) {
            let way_ns = self.weather.random_range(self.plan.network.back_ns.clone()) + self.lateness_ns();
            self.schedule(way_ns, Event::Reply { sent, attempt });
        }
        Ok(())
    }

    fn execute_one(&mut self, request: usize) -> Result<Answer, Broken> {
        let record = &mut self.requests[request];
        if record.executed.is_some() {
            let detail = format!("request {request} came to the store again");
            return Err(Broken::new("a request is executed at most once", record.wishes[0].bucket, detail));
        }
        let answer =
            self.store.execute(self.now_ns, request, (&record.wishes, &record.takes), &self.plan.buckets)?;
        record.executed = Some((self.now_ns, answer.verdict));
        record.order = self.store.executions;
        let fits = |take| self.store.would_answer(self.now_ns, slice::from_ref(take)).found[0].fits;
        record.fits_again = record.takes.iter().map(fits).collect();
        self.note(request, |_| format!("executed: {answer:?}"));
        Ok(answer)
    }

    // === the way back ===

    pub(super) fn reply(&mut self, sent: usize, attempt: u32) -> Result<(), Broken> {
        let batch = &mut self.sent_batches[sent];
        // It has landed already, or was sent again.
        if batch.attempt != attempt || batch.batch.is_none() {
            return Ok(());
        }
        match batch.reply.take().expect("the store has answered") {
            Err(error) => self.fail(sent, error),
            answers => self.landed(sent, answers),
        }
    }

    pub(super) fn run_out(&mut self, sent: usize, attempt: u32) -> Result<(), Broken> {
        let batch = &self.sent_batches[sent];
        if batch.attempt != attempt || batch.batch.is_none() {
            return Ok(());
        }
        self.fail(sent, StoreError::Deadline)
    }

    fn fail(&mut self, sent: usize, error: StoreError) -> Result<(), Broken> {
        let batch = &mut self.sent_batches[sent];
        if batch.attempt == 0 && error.may_be_sent_again() {
            batch.attempt += 1;
            self.send(sent);
            return Ok(());
        }
        self.landed(sent, Err(error))
    }

    fn landed(&mut self, sent: usize, answers: Result<Vec<Answer>, StoreError>) -> Result<(), Broken> {
        let runtime = self.sent_batches[sent].runtime;
        let batch = self.sent_batches[sent].batch.take().expect("it is under way");
        self.sent_batches[sent].landed_ns = Some(self.now_ns);
        let are_told = answers.is_ok();
        let now_us = self.local_us(runtime);
        let state = &mut self.runtimes[runtime];
        state.watch.landed(sent, matches!(answers, Err(StoreError::Deadline)), now_us);
        state.under_way.retain(|under_way| *under_way != sent);
        state.landed_ns = Some(self.now_ns);
        let answers = answers.map(|all| all.into_iter().map(Ok));
        state.dispatcher.landed(batch, answers, state.denial_cache.get_mut(), now_us);
        if are_told {
            self.is_learnt(sent)?;
        }
        self.deliver()?;
        for other in self.others_of_its_process(runtime) {
            self.wake(other);
        }
        // The slot of this batch continues with the next.
        self.next_batch(runtime)
    }
}
