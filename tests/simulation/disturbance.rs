//! Disturbances of a whole process or of the store in the middle of a run.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use super::{
    bucket::EDITIONS,
    plan::{CacheMode, MS},
    world::{Fate, Runtime, World},
};
use tollgate::{
    fallback::local::Local,
    store::redis::{
        denial_cache::{DenialCache, Shared},
        dispatch::Dispatcher,
    },
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    /// The store forgets every bucket, and its epoch.
    StoreLoss,
    /// The store's clock steps by this number of microseconds.
    ClockStep(i64),
    /// A replica dies with everything it knows, and another takes its place.
    Restart { replica: usize },
    /// A replica has this edition of the limits from now on.
    Reload { replica: usize, edition: usize },
    /// Nothing reaches the store for this long.
    Silence { ns: u64 },
}

/// Each disturbance with its time, in no order.
pub(super) fn plan(rng: &mut SmallRng, until_ns: u64, replicas: usize) -> Vec<(u64, Disturbance)> {
    let count = if rng.random_bool(0.5) { 0 } else { rng.random_range(1..=4) };
    let mut all: Vec<_> = (0..count).map(|_| (rng.random_range(0..until_ns), any(rng, replicas))).collect();
    // Numbers go up and down, and replicas reload one after the other.
    let reloads = if rng.random_bool(0.6) { 0 } else { rng.random_range(1..=8) };
    all.extend((0..reloads).map(|_| (rng.random_range(0..until_ns), reload(rng, replicas))));
    all
}

fn reload(rng: &mut SmallRng, replicas: usize) -> Disturbance {
    Disturbance::Reload { replica: rng.random_range(0..replicas), edition: rng.random_range(0..EDITIONS) }
}

fn any(rng: &mut SmallRng, replicas: usize) -> Disturbance {
    let replica = rng.random_range(0..replicas);
    match rng.random_range(0..5) {
        0 => Disturbance::StoreLoss,
        1 => Disturbance::ClockStep(*[1, 1_000, 300_000, 5_000_000].choose(rng).expect("one")),
        2 => Disturbance::ClockStep(-*[1, 1_000, 300_000, 5_000_000].choose(rng).expect("one")),
        3 => Disturbance::Restart { replica },
        _ => Disturbance::Silence { ns: rng.random_range(1..=800) * MS },
    }
}

/// What the runtimes of a process share.
#[derive(Debug)]
pub(super) struct Replica {
    denials: Shared,
    pub(super) local: Local,
    /// The edition of the limits that it has.
    pub(super) edition: usize,
    pub(super) restarts: i128,
}

impl Replica {
    pub(super) fn new(edition: usize) -> Replica {
        let local = Local::new(1_000_000, Box::new(|| None));
        Replica { denials: Shared::default(), local, edition, restarts: 0 }
    }

    pub(super) fn runtime(&self, denial_cache: CacheMode, deadline_us: u64) -> Runtime {
        let denial_cache = match denial_cache {
            CacheMode::On => DenialCache::sharing(&self.denials),
            CacheMode::Off => DenialCache::off(),
        };
        Runtime::new(Dispatcher::new(deadline_us), denial_cache)
    }
}

impl World<'_> {
    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::StoreLoss => {
                self.store.lose(self.now_ns, &self.plan.buckets);
                self.nobody_knows();
            }
            Disturbance::ClockStep(by_us) => {
                self.store.step(self.now_ns, by_us);
                self.nobody_knows();
            }
            Disturbance::Silence { ns } => self.silent_until_ns = self.silent_until_ns.max(self.now_ns + ns),
            Disturbance::Restart { replica } => self.restart(replica),
            Disturbance::Reload { replica, edition } => self.replicas[replica].edition = edition,
        }
        self.journal.note_all(self.now_ns, || format!("{disturbance:?}"));
    }

    /// Answers received before this are stale now.
    fn nobody_knows(&mut self) {
        self.disturbed_ns = Some(self.now_ns);
        let heard = self.runtimes.iter_mut().flat_map(|runtime| runtime.heard.values_mut());
        heard.for_each(|heard| heard.stale_us = Some(heard.sent_us));
    }

    fn restart(&mut self, replica: usize) {
        let old = &self.replicas[replica];
        let restarts = old.restarts + 1;
        self.replicas[replica] = Replica { restarts, ..Replica::new(old.edition) };
        for runtime in 0..self.runtimes.len() {
            if self.plan.runtimes[runtime].replica != replica {
                continue;
            }
            let new = self.replicas[replica].runtime(self.plan.denial_cache, self.plan.deadline_us);
            let old = std::mem::replace(&mut self.runtimes[runtime], new);
            self.runtimes[runtime].life = old.life + 1;
            for sent in old.under_way {
                self.sent_batches[sent].batch = None;
                self.sent_batches[sent].landed_ns = Some(self.now_ns);
            }
        }
        // The connections of its clients break, and they ask again later.
        for request in 0..self.requests.len() {
            let record = &self.requests[request];
            let is_open = matches!(record.fate, Fate::Queued | Fate::Sent);
            if is_open && self.plan.runtimes[self.plan.clients[record.client].runtime].replica == replica {
                self.cancel(request);
            }
        }
    }
}

/// How the disturbances of a run weaken its promises.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) losses: i128,
    pub(super) forward_us: i128,
    pub(super) is_set_back: bool,
}

impl Effects {
    pub(super) fn new(disturbances: &[(u64, Disturbance)]) -> Effects {
        let mut effects = Effects::default();
        for (_, disturbance) in disturbances {
            match disturbance {
                Disturbance::StoreLoss => effects.losses += 1,
                Disturbance::ClockStep(by_us) => {
                    effects.forward_us += i128::from(*by_us.max(&0));
                    effects.is_set_back |= *by_us < 0;
                }
                Disturbance::Restart { .. } | Disturbance::Reload { .. } | Disturbance::Silence { .. } => {}
            }
        }
        effects
    }
}
