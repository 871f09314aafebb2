//! The calls about leases: those that travel with requests, those that no request waits for, and what follows their
//! answers.

use std::collections::hash_map::Entry;

use super::{
    Leases, MOST, MOST_DUE, MOST_LOOKED_AT,
    bucket::{Bucket, Purpose},
};
use crate::store::redis::denial_cache::Trip;
use tollgate_core::{
    decision::{Answer, Demand, Granted, Kind, LeaseCall, Take, Takes},
    descriptor::BucketKey,
};

/// Where the bucket of a due call is, as a server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this server.
    Here,
    /// On another one.
    Elsewhere,
    /// On one that is away.
    Away,
}

impl Leases {
    /// The calls that travel with a batch of these requests: those that ask for nothing before the requests, and the others
    /// behind them. Each must end in [`landed`](Self::landed).
    pub fn calls<'a>(&mut self, requests: impl Iterator<Item = &'a Takes>, now_us: u64) -> Vec<LeaseCall> {
        let mut calls = Vec::new();
        for take in requests.flatten() {
            if take.demand.lease_us == 0 && self.leased == 0 {
                continue;
            }
            let Some(bucket) = self.watched(take, now_us) else { continue };
            let purpose = if take.demand.kind.gives_back() {
                Purpose::Report
            } else if bucket.is_too_much(&take.demand, now_us) {
                Purpose::Release
            } else if take.demand.lease_us > 0 {
                Purpose::Renew
            } else {
                continue;
            };
            if take.demand.lease_us > 0 && take.demand.kind == Kind::Take {
                bucket.is_asked(&take.demand, now_us);
            }
            calls.extend(bucket.call(&take.key, purpose, now_us));
        }
        calls
    }

    /// Ends the leases of buckets that are asked for under a limit without one: a changed configuration has turned them off.
    pub fn end_unwanted<'a>(&mut self, requests: impl Iterator<Item = &'a Takes>, now_us: u64) {
        if self.leased == 0 {
            return;
        }
        // Hits that are given back, or charged though they do not fit, are asked of Redis under any limit.
        let is_unleased =
            |demand: &Demand| demand.lease_us == 0 && demand.kind == Kind::Take && !demand.meters();
        for take in requests.flatten().filter(|take| is_unleased(&take.demand)) {
            let bucket = self.buckets.get_mut(&take.key).filter(|bucket| bucket.is_leased());
            let Some(bucket) = bucket else { continue };
            bucket.retire(now_us);
            if bucket.is_due(now_us) {
                self.is_due(take.key, now_us);
            }
        }
    }

    /// Notes takes that travel in a way in which no call about leases can. If one of their buckets is worth a lease, a call
    /// becomes due.
    pub fn asked_otherwise(&mut self, takes: &[Take], now_us: u64) {
        for take in takes.iter().filter(|take| take.demand.kind == Kind::Take && take.demand.lease_us > 0) {
            let Some(bucket) = self.watched(take, now_us) else { continue };
            bucket.is_asked(&take.demand, now_us);
            if bucket.is_wanting(now_us) {
                self.is_due(take.key, now_us);
            }
        }
    }

    /// The bucket of a take, if it is watched from now on.
    fn watched(&mut self, take: &Take, now_us: u64) -> Option<&mut Bucket> {
        if self.buckets.len() >= MOST {
            self.sweep(now_us);
        }
        let has_room = self.buckets.len() < MOST;
        match self.buckets.entry(take.key) {
            Entry::Occupied(bucket) => Some(bucket.into_mut()),
            Entry::Vacant(place) => {
                let may_be_leased = take.demand.lease_us > 0 && take.demand.kind == Kind::Take;
                if !may_be_leased || !self.twice.note(&take.key) || !has_room {
                    return None;
                }
                self.births = self.births.wrapping_add(1);
                Some(place.insert(Bucket::new(&take.demand, self.births, now_us)))
            }
        }
    }

    /// Those of the due calls whose bucket is here, up to a number that Redis answers quickly. Each must end in
    /// [`landed`](Self::landed) or in [`not_sent`](Self::not_sent). Calls to a server that is away would stand in the way of
    /// the others: they become due again when somebody looks for leases that are over.
    pub fn due_calls(
        &mut self,
        whereabouts: impl Fn(&BucketKey) -> Whereabouts,
        now_us: u64,
    ) -> Vec<LeaseCall> {
        let mut calls = Vec::new();
        for _ in 0..self.due.len().min(MOST_LOOKED_AT) {
            let Some((since_us, key)) = self.due.pop_front() else { break };
            // It may have travelled with a request meanwhile.
            let Some(bucket) = self.buckets.get_mut(&key).filter(|bucket| bucket.has_due()) else { continue };
            match whereabouts(&key) {
                Whereabouts::Here => calls.extend(bucket.call(&key, Purpose::Renew, now_us)),
                Whereabouts::Elsewhere => self.due.push_back((since_us, key)),
                Whereabouts::Away => bucket.is_away(),
            }
            if calls.len() >= MOST_DUE {
                break;
            }
        }
        calls
    }

    /// The calls could not be sent, and are still due.
    pub fn not_sent(&mut self, calls: &[LeaseCall]) {
        for call in calls {
            if let Some(bucket) = self.buckets.get_mut(&call.key) {
                bucket.not_sent();
                self.due.push_back((0, call.key));
            }
        }
    }

    /// A batch was answered, refused or lost: its calls, and its requests that the store decided. What a call shows comes first,
    /// because the store may have charged some of these requests after it.
    pub fn batch_landed<'a>(
        &mut self,
        calls: impl Iterator<Item = (&'a LeaseCall, Option<&'a Granted>)>,
        decided: impl Iterator<Item = (&'a Takes, &'a Answer)>,
        trip: Trip,
    ) {
        calls.for_each(|(call, granted)| self.landed(call, granted, trip));
        decided.for_each(|(takes, answer)| self.were_charged(takes, answer));
    }

    /// A call was answered; or it was refused or lost, which are the same here.
    pub fn landed(&mut self, call: &LeaseCall, granted: Option<&Granted>, trip: Trip) {
        self.counts.answered += u64::from(granted.is_some());
        self.counts.lost += u64::from(granted.is_none());
        if let Some(bucket) = self.buckets.get_mut(&call.key) {
            let was_leased = bucket.is_leased();
            self.counts.lapsed += u64::from(bucket.landed(call, granted, trip));
            self.counts.reserved += granted.map_or(0, |granted| u64::from(granted.granted));
            self.follow(call.key, was_leased, trip.arrived_us);
        }
        self.tell();
    }
}
