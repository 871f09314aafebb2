//! Clients, the runtimes of several replicas, and the store, in the order of one virtual time.
//!
//! Each runtime is driven as `store/redis/batches.rs` and `store/redis/leasing.rs` drive it: a request is decided from leases
//! as far as they go, the rest is queued, slots carry batches, answers from leases may wait for a batch, and a timer ends
//! leases that are over.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{account::Account, bounds::Admitted, plan::Plan};
use crate::{clients::Post, plan::MS, queue::LOOK_FOR_OVERDUE_EVERY_NS, table::Table};
use tollgate::store::redis::{
    denial_cache::{DenialCache, Shared},
    dispatch::queue::MOST_UNDER_WAY,
    leases::{Leases, Part},
    queues::{Departure, Queues},
    riders::Leaves,
};
use tollgate_core::decision::{Answer, Granted, LeaseCall};

/// The time between arrivals, and the least time between two looks at a runtime's leases.
const TICK_NS: u64 = MS / 4;
const LOOK_NO_SOONER_NS: u64 = 2 * MS;

pub(super) type Ticket = crate::clients::Ticket;

#[derive(Debug)]
pub(super) struct World<'p> {
    pub(super) plan: &'p Plan,
    pub(super) rng: SmallRng,
    pub(super) now_ns: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    pub(super) runtimes: Vec<Runtime>,
    /// The edition of the limits that each replica has.
    pub(super) editions: Vec<usize>,
    pub(super) requests: Vec<Request>,
    pub(super) sent: Vec<Sent>,
    pub(super) post: Rc<Post>,
    pub(super) rides: Vec<Ride>,
    // The store.
    pub(super) table: Table,
    pub(super) accounts: Vec<Account>,
    pub(super) free_ns: u64,
    pub(super) silent_until_ns: u64,
    /// Nobody has a connection until then.
    pub(super) away_until_ns: u64,
    /// When the store last forgot each bucket.
    pub(super) lost_ns: Vec<Option<u64>>,
    /// When it was last lost or reset.
    pub(super) forgiven_ns: Vec<Option<u64>>,
    /// What each bucket admitted, and when it was lost.
    pub(super) admitted: Vec<Vec<Admitted>>,
    pub(super) calls: usize,
    pub(super) from_leases: usize,
    pub(super) rode: usize,
    pub(super) from_memory: usize,
    pub(super) broken: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Tick {
        runtime: usize,
    },
    /// `life` is that of the process that was woken.
    NextBatch {
        runtime: usize,
        life: u32,
    },
    Execute {
        sent: usize,
    },
    Land {
        sent: usize,
    },
    Deadline {
        sent: usize,
    },
    /// Answers from leases no longer wait for it.
    Late {
        sent: usize,
    },
    Look {
        runtime: usize,
        life: u32,
    },
    GiveUpOverdue {
        runtime: usize,
    },
    Disturb {
        disturbance: usize,
    },
}

#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) queues: Queues<Ticket>,
    /// What the store granted last, of what has arrived, for each bucket.
    pub(super) held: HashMap<usize, Held>,
    pub(super) life: u32,
    pub(super) idle: usize,
    pub(super) permit: bool,
    /// Whether the task that ends leases waits for its timer.
    pub(super) looks_ns: Option<u64>,
    pub(super) asked: u64,
    pub(super) admitted: u64,
}

/// A lease as the store granted it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) call: LeaseCall,
    pub(super) granted_ns: u64,
    pub(super) granted_us: u64,
    /// When what is reserved lapses, or the window ends.
    pub(super) lapses_us: u64,
}

/// Buckets, and the lease of each when hits of it were set aside.
pub(super) type Leased = Vec<(usize, Held)>;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) runtime: usize,
    pub(super) life: u32,
    pub(super) edition: usize,
    /// Bucket and hits.
    pub(super) wishes: Vec<(usize, u64)>,
    pub(super) asked_ns: u64,
    /// What leases have set aside for it.
    pub(super) part: Option<(Box<Part>, Leased)>,
    /// Whether it was allowed; none while it is not answered, or if it got no answer of the store.
    pub(super) allowed: Option<bool>,
    pub(super) answered_ns: Option<u64>,
}

/// An answer from a lease that waits for a batch.
#[derive(Debug)]
pub(super) struct Ride {
    pub(super) request: usize,
    pub(super) leaves: Leaves,
}

/// A batch that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) runtime: usize,
    /// None if it has landed. It may be executed all the same.
    pub(super) departure: Option<Departure<Ticket>>,
    pub(super) requests: Vec<usize>,
    pub(super) calls: Vec<LeaseCall>,
    pub(super) executed_ns: u64,
    pub(super) reply: Option<(Vec<Answer>, Vec<Granted>)>,
}

// === impl World ===

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, seed: u64) -> World<'p> {
        let replicas = plan.replicas();
        let denials: Vec<Shared> = (0..replicas).map(|_| Shared::default()).collect();
        let runtimes =
            plan.runtimes.iter().map(|(replica, _)| runtime(plan, &denials[*replica], 0)).collect();
        let count = plan.buckets.len();
        World {
            plan,
            rng: SmallRng::seed_from_u64(!seed),
            now_ns: 0,
            agenda: BinaryHeap::new(),
            scheduled: 0,
            runtimes,
            editions: vec![0; replicas],
            requests: Vec::new(),
            sent: Vec::new(),
            post: Rc::default(),
            rides: Vec::new(),
            table: Table::new(count, Some(0)),
            accounts: plan.buckets.iter().map(Account::new).collect(),
            free_ns: 0,
            silent_until_ns: 0,
            away_until_ns: 0,
            lost_ns: vec![None; count],
            forgiven_ns: vec![None; count],
            admitted: vec![Vec::new(); count],
            calls: 0,
            from_leases: 0,
            rode: 0,
            from_memory: 0,
            broken: None,
        }
    }

    /// Runs until nothing is under way any more, or a promise is broken.
    pub(super) fn run(&mut self) {
        for runtime in 0..self.runtimes.len() {
            let offset_ns = self.rng.random_range(0..TICK_NS);
            self.schedule(offset_ns, Event::Tick { runtime });
            self.schedule(LOOK_FOR_OVERDUE_EVERY_NS, Event::GiveUpOverdue { runtime });
        }
        for (disturbance, (at_ns, _)) in self.plan.disturbances.iter().enumerate() {
            self.schedule(*at_ns, Event::Disturb { disturbance });
        }
        while let (None, Some(Reverse((at_ns, _, event)))) = (&self.broken, self.agenda.pop()) {
            self.now_ns = at_ns;
            match event {
                Event::Tick { runtime } => self.tick(runtime),
                Event::NextBatch { runtime, life } if life == self.runtimes[runtime].life => {
                    self.next_batch(runtime)
                }
                Event::Look { runtime, life }
                    if life == self.runtimes[runtime].life
                        && self.runtimes[runtime].looks_ns == Some(self.now_ns) =>
                {
                    self.look(runtime)
                }
                // The process that was woken is gone, or it has looked sooner.
                Event::NextBatch { .. } | Event::Look { .. } => {}
                Event::Execute { sent } => self.execute(sent),
                Event::Land { sent } => self.reply(sent),
                Event::Deadline { sent } => self.run_out(sent),
                Event::Late { sent } => self.is_late(sent),
                Event::GiveUpOverdue { runtime } => self.give_up_overdue(runtime),
                Event::Disturb { disturbance } => self.disturb(self.plan.disturbances[disturbance].1),
            }
            self.deliver();
        }
    }

    pub(super) fn schedule(&mut self, after_ns: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.push(Reverse((self.now_ns + after_ns, self.scheduled, event)));
    }

    pub(super) fn local_us(&self, runtime: usize) -> u64 {
        self.plan.runtimes[runtime].1.now_us(self.now_ns)
    }

    pub(super) fn store_us(&self) -> u64 {
        self.plan.store_clock.now_us(self.now_ns)
    }

    pub(super) fn breaks(&mut self, promise: &str, detail: String) {
        let at_ns = self.now_ns;
        self.broken.get_or_insert_with(|| format!("{promise}: at {at_ns} ns, {detail}"));
    }

    fn tick(&mut self, runtime: usize) {
        if self.now_ns >= self.plan.until_ns {
            return;
        }
        for _ in 0..self.plan.arrivals(&mut self.rng, runtime, self.now_ns) {
            self.ask(runtime);
        }
        self.schedule(TICK_NS, Event::Tick { runtime });
    }

    /// As the task does that ends leases.
    pub(super) fn look(&mut self, runtime: usize) {
        let now_us = self.local_us(runtime);
        let state = &mut self.runtimes[runtime];
        let next_us = state.queues.leases.look(now_us);
        state.looks_ns = None;
        if state.queues.leases.has_due(now_us) {
            self.wake(runtime);
        }
        if let Some(next_us) = next_us {
            self.will_look(runtime, (next_us.saturating_sub(now_us) * 1_000).max(LOOK_NO_SOONER_NS));
        }
    }

    fn will_look(&mut self, runtime: usize, after_ns: u64) {
        let at_ns = self.now_ns + after_ns;
        let state = &mut self.runtimes[runtime];
        if state.looks_ns.is_none_or(|looks_ns| looks_ns > at_ns) {
            state.looks_ns = Some(at_ns);
            let life = state.life;
            self.schedule(after_ns, Event::Look { runtime, life });
        }
    }

    /// After whatever may have made a call about a lease due.
    pub(super) fn tell(&mut self, runtime: usize) {
        let now_us = self.local_us(runtime);
        let leases = &self.runtimes[runtime].queues.leases;
        let (has_due, needs_a_look) = (leases.has_due(now_us), leases.needs_a_look(now_us));
        if has_due {
            self.wake(runtime);
        }
        if needs_a_look {
            self.will_look(runtime, LOOK_NO_SOONER_NS);
        }
    }

    fn give_up_overdue(&mut self, runtime: usize) {
        let now_us = self.local_us(runtime);
        self.runtimes[runtime].queues.give_up_overdue(now_us);
        if self.now_ns < self.plan.until_ns + 5_000 * MS {
            self.schedule(LOOK_FOR_OVERDUE_EVERY_NS, Event::GiveUpOverdue { runtime });
        }
    }
}

pub(super) fn is_among(leases: &[(usize, Held)], bucket: &usize) -> bool {
    leases.iter().any(|(leased, _)| leased == bucket)
}

pub(super) fn runtime(plan: &Plan, denials: &Shared, life: u32) -> Runtime {
    let denial_cache = if plan.has_denial_cache { DenialCache::sharing(denials) } else { DenialCache::off() };
    Runtime {
        queues: Queues::new(plan.deadline_us, denial_cache, Leases::default()),
        held: HashMap::new(),
        life,
        idle: MOST_UNDER_WAY,
        permit: false,
        looks_ns: None,
        asked: 0,
        admitted: 0,
    }
}
