//! All events in the order of one virtual time: clients ask, batches travel, the store decides.
//!
//! Each runtime is driven as `store/redis/batches.rs` drives it: a request is dispatched, and a slot is woken if it was
//! queued; a slot takes the next batch, waits for its answer or the deadline, reports that it landed, and takes the
//! next one.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
};

use rand::{SeedableRng, rngs::SmallRng};

use super::{
    Broken,
    breaker::BreakerWatch,
    checks::Told,
    clients::{Post, Ticket},
    disturbance::Replica,
    journal::Journal,
    plan::Plan,
    questions::Elsewhere,
    queue::{Heard, LOOK_FOR_OVERDUE_EVERY_NS},
    store::Store,
    traffic::Wish,
};
use tollgate::store::{
    StoreError,
    redis::{
        denial_cache::DenialCache,
        dispatch::{
            Dispatcher,
            queue::{Batch, MOST_UNDER_WAY},
        },
    },
};
use tollgate_core::decision::{Answer, Take, Verdict};

#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) plan: &'a Plan,
    /// Two random generators, so that the requests do not depend on the network.
    pub(super) traffic: SmallRng,
    pub(super) weather: SmallRng,
    pub(super) now_ns: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    pub(super) store: Store,
    /// When the store was last disturbed in a way that no denial cache can know.
    pub(super) disturbed_ns: Option<u64>,
    /// Nothing reaches the store before this.
    pub(super) silent_until_ns: u64,
    pub(super) replicas: Vec<Replica>,
    pub(super) runtimes: Vec<Runtime>,
    pub(super) requests: Vec<Request>,
    pub(super) sent_batches: Vec<SentBatch>,
    /// The bucket for which a client comes back.
    pub(super) returns_for: Vec<Option<usize>>,
    pub(super) post: Rc<Post>,
    pub(super) journal: Journal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Demand {
        client: usize,
    },
    Cancel {
        request: usize,
    },
    /// `life` is that of the process that was woken.
    NextBatch {
        runtime: usize,
        life: u32,
    },
    /// An idle slot looks at the queue again, since a request waits for another runtime.
    LookAgain {
        runtime: usize,
        life: u32,
    },
    Arrive {
        sent: usize,
        attempt: u32,
    },
    Execute {
        sent: usize,
        attempt: u32,
    },
    Reply {
        sent: usize,
        attempt: u32,
    },
    Deadline {
        sent: usize,
        attempt: u32,
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
    pub(super) dispatcher: Dispatcher<Ticket>,
    /// In a cell, since checks read it too.
    pub(super) denial_cache: RefCell<DenialCache>,
    /// The number of processes before this one.
    pub(super) life: u32,
    /// The number of slots that wait to be woken; and whether a wake-up found none, as tokio's `Notify` remembers it.
    pub(super) idle: usize,
    pub(super) permit: bool,
    pub(super) under_way: Vec<usize>,
    /// Requests that have been neither sent nor answered.
    pub(super) queued: Vec<usize>,
    /// What the denial cache last told about a bucket, until the store tells something new.
    pub(super) told: HashMap<usize, Told>,
    /// What it may know about a bucket.
    pub(super) heard: HashMap<usize, Heard>,
    pub(super) watch: BreakerWatch,
    /// When its thread was stopped, and when it went on.
    pub(super) stops: Vec<(u64, u64)>,
    /// When a batch of it landed last.
    pub(super) landed_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: usize,
    pub(super) wishes: Vec<Wish>,
    pub(super) takes: Vec<Take>,
    pub(super) asked_ns: u64,
    pub(super) fate: Fate,
    /// When the store executed it, and what it said.
    pub(super) executed: Option<(u64, Verdict)>,
    /// Its place among all that the store executed, and for each wish whether the same would fit once more.
    pub(super) order: u64,
    pub(super) fits_again: Vec<bool>,
    pub(super) elsewhere: Elsewhere,
    /// At some time a batch had no room for everything in the queue.
    pub(super) is_crowded: bool,
    /// When it was answered, and what.
    pub(super) answered: Option<(u64, (Verdict, tollgate::fallback::Source))>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Queued,
    Sent,
    Answered,
    Cancelled,
}

/// A batch that was sent. Its requests are kept after it has landed, since the store may execute it later.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) runtime: usize,
    /// None if it has landed.
    pub(super) batch: Option<Batch<Ticket>>,
    pub(super) requests: Vec<usize>,
    /// Request and bucket, for each bucket that the runtime knew to be without room: others may wait for it.
    pub(super) empty: Vec<(usize, usize)>,
    pub(super) landed_ns: Option<u64>,
    pub(super) sent_ns: u64,
    /// The same by the clock of its runtime.
    pub(super) sent_us: u64,
    pub(super) attempt: u32,
    pub(super) reply: Option<Result<Vec<Answer>, StoreError>>,
}

impl Runtime {
    pub(super) fn new(dispatcher: Dispatcher<Ticket>, denial_cache: DenialCache) -> Runtime {
        Runtime {
            dispatcher,
            denial_cache: RefCell::new(denial_cache),
            life: 0,
            idle: MOST_UNDER_WAY,
            permit: false,
            under_way: Vec::new(),
            queued: Vec::new(),
            told: HashMap::new(),
            heard: HashMap::new(),
            watch: BreakerWatch::default(),
            stops: Vec::new(),
            landed_ns: None,
        }
    }
}

impl Request {
    pub(super) fn new(client: usize, wishes: Vec<Wish>, takes: Vec<Take>, asked_ns: u64) -> Request {
        Request {
            client,
            wishes,
            takes,
            asked_ns,
            fate: Fate::Queued,
            executed: None,
            order: 0,
            fits_again: Vec::new(),
            elsewhere: Elsewhere::default(),
            is_crowded: false,
            answered: None,
        }
    }
}

// === impl World ===

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, seed: u64, journal: Journal) -> World<'a> {
        let replicas = plan.runtimes.iter().map(|runtime| runtime.replica + 1).max().unwrap_or(0);
        let replicas: Vec<Replica> =
            (0..replicas).map(|replica| Replica::new(plan.editions[replica])).collect();
        let runtime = |replica: usize| replicas[replica].runtime(plan.denial_cache, plan.deadline_us);
        World {
            plan,
            traffic: SmallRng::seed_from_u64(seed),
            weather: SmallRng::seed_from_u64(!seed),
            now_ns: 0,
            agenda: BinaryHeap::new(),
            scheduled: 0,
            store: Store::new(plan),
            disturbed_ns: None,
            silent_until_ns: 0,
            runtimes: plan.runtimes.iter().map(|planned| runtime(planned.replica)).collect(),
            replicas,
            requests: Vec::new(),
            sent_batches: Vec::new(),
            returns_for: vec![None; plan.clients.len()],
            post: Rc::default(),
            journal,
        }
    }

    /// Runs until nothing is under way any more. Fails if a promise is broken.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        for client in 0..self.plan.clients.len() {
            self.ask_later(client);
        }
        for (disturbance, (at_ns, _)) in self.plan.disturbances.iter().enumerate() {
            self.schedule(*at_ns, Event::Disturb { disturbance });
        }
        for runtime in 0..self.runtimes.len() {
            self.schedule(LOOK_FOR_OVERDUE_EVERY_NS, Event::GiveUpOverdue { runtime });
        }
        while let Some(Reverse((at_ns, _, event))) = self.agenda.pop() {
            self.now_ns = at_ns;
            if let Some(goes_on_ns) = self.stopped_until(event) {
                self.schedule(goes_on_ns - at_ns, event);
                continue;
            }
            match event {
                Event::Demand { client } => self.ask(client)?,
                Event::Cancel { request } => self.cancel(request),
                // The process that was woken may be gone.
                Event::NextBatch { runtime, life } | Event::LookAgain { runtime, life }
                    if life != self.runtimes[runtime].life => {}
                Event::NextBatch { runtime, .. } => self.next_batch(runtime)?,
                Event::LookAgain { runtime, .. } => self.look_again(runtime)?,
                Event::Arrive { sent, attempt } => self.arrive(sent, attempt),
                Event::Execute { sent, attempt } => self.execute(sent, attempt)?,
                Event::Reply { sent, attempt } => self.reply(sent, attempt)?,
                Event::Deadline { sent, attempt } => self.run_out(sent, attempt)?,
                Event::GiveUpOverdue { runtime } => self.give_up_overdue(runtime)?,
                Event::Disturb { disturbance } => self.disturb(self.plan.disturbances[disturbance].1),
            }
        }
        self.everyone_was_answered()
    }

    pub(super) fn schedule(&mut self, after_ns: u64, event: Event) {
        // What is scheduled for the same instant happens in the order in which it was scheduled.
        self.scheduled += 1;
        self.agenda.push(Reverse((self.now_ns + after_ns, self.scheduled, event)));
    }

    pub(super) fn local_us(&self, runtime: usize) -> u64 {
        self.plan.runtimes[runtime].clock.now_us(self.now_ns)
    }

    /// The runtimes that share what they learn with this one.
    pub(super) fn others_of_its_process(&self, runtime: usize) -> Vec<usize> {
        let replica = |runtime: usize| self.plan.runtimes[runtime].replica;
        let others = (0..self.runtimes.len()).filter(|other| *other != runtime);
        others.filter(|other| replica(*other) == replica(runtime)).collect()
    }

    pub(super) fn note(&mut self, request: usize, line: impl FnOnce(&Request) -> String) {
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        let buckets = record.wishes.iter().map(|wish| wish.bucket);
        self.journal.note(self.now_ns, buckets, || {
            format!("request {request} of runtime {runtime} {}", line(record))
        });
    }
}
