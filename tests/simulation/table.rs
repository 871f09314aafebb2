//! The buckets of the store, and a trial, in which a request changes nothing.

use super::bucket::number_of;
use tollgate_core::{
    decision::{Buckets, State},
    descriptor::BucketKey,
};

#[derive(Debug)]
pub(super) struct Table {
    pub(super) states: Vec<Option<State>>,
    /// A bucket is kept until this even if it is full.
    held_until_us: Vec<u64>,
    pub(super) epoch_us: Option<u64>,
}

impl Buckets for Table {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.states[number_of(key)].clone()
    }
    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.states[number_of(key)] = state;
    }

    fn epoch_us(&mut self, now_us: u64) -> u64 {
        *self.epoch_us.get_or_insert(now_us)
    }

    fn hold(&mut self, key: &BucketKey, until_us: u64) {
        let held_until_us = &mut self.held_until_us[number_of(key)];
        *held_until_us = until_us.max(*held_until_us);
    }
}

impl Table {
    pub(super) fn new(count: usize, epoch_us: Option<u64>) -> Table {
        Table { states: vec![None; count], held_until_us: vec![0; count], epoch_us }
    }

    pub(super) fn lose(&mut self) {
        *self = Table::new(self.states.len(), None);
    }

    pub(super) fn trial(&self, now_us: u64) -> Trial<'_> {
        Trial { table: self, changed: Vec::new(), now_us }
    }

    /// Whether the bucket is full and was forgotten by now.
    pub(super) fn has_forgotten(&self, bucket: usize, now_us: u64) -> bool {
        let is_full = self.states[bucket].as_ref().is_some_and(|state| state.spent_us() <= now_us);
        is_full && self.held_until_us[bucket] <= now_us
    }
}

/// The table as it would be if a request were executed.
pub(super) struct Trial<'a> {
    table: &'a Table,
    changed: Vec<(BucketKey, Option<State>)>,
    now_us: u64,
}

impl Buckets for Trial<'_> {
    fn state(&self, key: &BucketKey) -> Option<State> {
        let changed = self.changed.iter().rev().find(|(changed, _)| changed == key);
        let stored =
            || self.table.state(key).filter(|_| !self.table.has_forgotten(number_of(key), self.now_us));
        changed.map_or_else(stored, |(_, state)| state.clone())
    }
    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.changed.push((*key, state));
    }

    fn epoch_us(&mut self, now_us: u64) -> u64 {
        self.table.epoch_us.unwrap_or(now_us)
    }
}
