//! Disturbances of a whole process or of the store in the middle of a run.

use super::{
    bounds::Admitted,
    plan::Disturbance,
    world::{Runtime, World, runtime},
};
use tollgate::store::redis::denial_cache::Shared;
use tollgate_core::{decision::decide, descriptor::Hits};

impl World<'_> {
    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::StoreLoss => {
                self.table.lose();
                (0..self.plan.buckets.len()).for_each(|bucket| self.loses(bucket));
            }
            Disturbance::Reset { bucket } => self.reset(bucket),
            Disturbance::Silence { ns } => self.silent_until_ns = self.silent_until_ns.max(self.now_ns + ns),
            Disturbance::Away { ns } => self.away(ns),
            Disturbance::Restart { replica } => self.restart(replica),
            Disturbance::Reload { replica, edition } => self.editions[replica] = edition,
        }
    }

    /// Gives everything back that was charged. What is reserved stays so.
    fn reset(&mut self, bucket: usize) {
        self.begins(bucket);
        let now_us = self.store_us();
        let edition = self.editions[0];
        let all = self.plan.demand(bucket, edition, Hits::GiveBack(u64::MAX));
        decide(&[all], now_us, &mut self.table);
        self.accounts[bucket].forgive(now_us);
        self.forgiven_ns[bucket] = Some(self.now_ns);
        self.admitted[bucket].push(Admitted { at_us: now_us, worth: 0, losses: 1 });
    }

    fn loses(&mut self, bucket: usize) {
        let is_empty_then = self.plan.buckets[bucket].is_guarded() && self.table.epoch_us.is_none();
        self.accounts[bucket].lose();
        (self.lost_ns[bucket], self.forgiven_ns[bucket]) = (Some(self.now_ns), Some(self.now_ns));
        let at_us = self.store_us();
        self.admitted[bucket].push(Admitted { at_us, worth: 0, losses: i128::from(!is_empty_then) });
    }

    /// All connections break, and what was under way may have been executed.
    fn away(&mut self, ns: u64) {
        self.away_until_ns = self.away_until_ns.max(self.now_ns + ns);
        (0..self.sent.len()).for_each(|sent| self.run_out(sent));
    }

    fn restart(&mut self, replica: usize) {
        let denials = Shared::default();
        for number in (0..self.runtimes.len()).filter(|number| self.plan.runtimes[*number].0 == replica) {
            let Runtime { life, asked, admitted, .. } = self.runtimes[number];
            self.runtimes[number] = Runtime { asked, admitted, ..runtime(self.plan, &denials, life + 1) };
        }
        for sent in self.sent.iter_mut().filter(|sent| self.plan.runtimes[sent.runtime].0 == replica) {
            sent.departure = None;
        }
    }
}
