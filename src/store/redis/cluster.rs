//! Buckets in a Redis Cluster: one runtime's store.
//!
//! All limits of a descriptor lie in one slot, and are decided by one call to its master. Each master has a line and a
//! dispatcher of its own, so one that is away trips nothing else; the denial cache is the runtime's. Requests are routed
//! here, by the [map of slots](super::slots) and where the masters send them, on connections that send nothing again by
//! themselves: a pipeline that were sent again after one MOVED would charge all its other requests twice.

mod epochs;
mod legs;
mod master;
mod reply;
mod rounds;
mod ticket;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, oneshot},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    OwnThread, RedisBackend,
    advice::Advice,
    batches::LOOK_FOR_OVERDUE_EVERY,
    denial_cache::{self, DenialCache},
    dispatch::Dispatched,
    keys::{slot, slot_of_name},
    leases::Leases,
    leasing::{self, Fresh, Lessee},
    line::Line,
    replica_count::Reach,
    slots::{NodeId, Slots},
};
use crate::{
    clock::Clock,
    store::{
        Asking, StoreError,
        health::{LineHealth, StoreHealth},
    },
    tasks::{self, Task},
    traces::{SpanContext, Tracer},
};
use master::{Kept, Master};
use ticket::{Caller, Made, Ticket, Via};
use tollgate_core::{
    decision::{Answer, Take, Takes},
    descriptor::{BucketKey, KeyForm},
};

/// How long a master that serves no slot any more may answer what was sent to it.
const GRACE: Duration = Duration::from_secs(2);
/// The time between two looks whether the first connection is up.
const LOOK_FOR_FIRST_EVERY: Duration = Duration::from_millis(10);

/// One runtime's store in a Redis Cluster.
#[derive(Debug)]
pub struct ClusterStore {
    runtime: Arc<Runtime>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the requests and tasks of one runtime use.
#[derive(Debug)]
pub(super) struct Runtime {
    slots: Arc<Slots>,
    masters: OwnThread<HashMap<NodeId, Kept>>,
    denial_cache: OwnThread<DenialCache>,
    deadline: Duration,
    acks: u32,
    clock: Clock,
    health: Arc<StoreHealth>,
    advice: Arc<Advice>,
    tracer: Option<Tracer>,
    /// Those of all masters, so that a request over several slots is decided from them as any other.
    leases: OwnThread<Leases>,
    /// Wakes the task that ends leases, when there is one again.
    leased: Notify,
}

// === impl ClusterStore ===

impl ClusterStore {
    /// Starts connecting and returns at once. Must be called within a tokio runtime.
    pub(super) fn open(backend: &RedisBackend, slots: &Arc<Slots>, deadline: Duration) -> ClusterStore {
        let denial_cache = backend.denials.as_deref().map_or_else(DenialCache::off, DenialCache::sharing);
        let answered = denial_cache.answered_elsewhere();
        let runtime = Arc::new(Runtime {
            slots: Arc::clone(slots),
            masters: OwnThread::default(),
            denial_cache: OwnThread::new(denial_cache),
            deadline,
            acks: backend.acks,
            clock: *backend.clock,
            health: Arc::clone(&backend.health),
            advice: Arc::clone(&backend.advice),
            tracer: backend.tracer.clone(),
            leases: OwnThread::new(Leases::counted_in(&backend.leased_hits)),
            leased: Notify::new(),
        });
        let mut tasks = Vec::new();
        let of = |runtime: &Arc<Runtime>| Arc::clone(runtime);
        let unmet = Arc::new(OwnThread::new(Some(LineHealth::new(&backend.health))));
        let followed = of(&runtime);
        tasks.push(tasks::keep(Task::StoreConnection, move || follow(of(&followed), Arc::clone(&unmet))));
        let queues = of(&runtime);
        tasks.push(tasks::keep(Task::StoreQueue, move || give_up_overdue(of(&queues))));
        if let Some(answered) = answered {
            let queues = of(&runtime);
            tasks.push(tasks::keep(Task::StoreQueue, move || {
                let runtime = of(&queues);
                let wake = move || runtime.masters().iter().for_each(|master| master.wake_sender());
                denial_cache::when_answered(Arc::clone(&answered), wake)
            }));
        }
        let leases = of(&runtime);
        tasks.push(tasks::keep(Task::StoreQueue, move || leasing::end(of(&leases))));
        if slots.is_free() {
            let slots = Arc::clone(slots);
            tasks.push(tasks::keep(Task::StoreConnection, move || Arc::clone(&slots).watch()));
        }
        if backend.replica_count.is_free() {
            let (replica_count, reach) = (Arc::clone(&backend.replica_count), of(&runtime));
            tasks.push(tasks::keep(Task::ReplicaCount, move || {
                Arc::clone(&replica_count).count(Reach::Cluster(of(&reach)))
            }));
            let (board, reach) = (Arc::clone(&backend.board), of(&runtime));
            let keep = move || Arc::clone(&board).keep(Reach::Cluster(of(&reach)));
            tasks.push(tasks::keep(Task::Live, keep));
            let epochs = of(&runtime);
            tasks.push(tasks::keep(Task::ReplicaCount, move || epochs::keep(of(&epochs))));
        }
        ClusterStore { runtime, tasks }
    }

    /// Takes all or none. Without a connection it fails at once, unless memory or a lease can decide the request.
    pub fn take(&self, span: Option<SpanContext>, takes: Takes) -> Asking<'_> {
        leasing::take(&*self.runtime, takes, |rest| match only_slot(&rest) {
            Some(slot) => self.runtime.ask(slot, span, rest),
            None => Asking::steps(self.take_from_several(span, rest)),
        })
    }

    async fn take_from_several(&self, span: Option<SpanContext>, takes: Takes) -> Result<Answer, StoreError> {
        self.runtime.want_leases(&takes);
        let answer = legs::take(&self.runtime, span, takes.clone()).await?;
        self.runtime.leases.with(|leases| leases.were_charged(&takes, &answer));
        Ok(answer)
    }

    /// Reports what was spent of all leases, so that the rest comes back. Returns when Redis knows, or cannot be told.
    pub async fn end_leases(&self) {
        leasing::end_all(&*self.runtime).await;
    }

    /// The form of the keys of its buckets.
    pub fn key_form(&self) -> KeyForm {
        KeyForm::Tagged
    }

    /// Whether this bucket was recently seen without room.
    pub fn is_known_empty(&self, key: &BucketKey) -> bool {
        let now_us = self.runtime.clock.now_us();
        self.runtime.denial_cache.with(|denial_cache| denial_cache.knows(key, now_us))
    }
}

impl Drop for ClusterStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The tasks of the masters hold the runtime, which holds the masters.
        let masters = self.runtime.masters.with(std::mem::take);
        drop(masters);
    }
}

/// The slot of all these buckets. None if there are several.
fn only_slot(takes: &[Take]) -> Option<u16> {
    let (first, others) = takes.split_first()?;
    let only = slot(&first.key);
    let is_only = |take: &Take| take.key.digest() == first.key.digest() || slot(&take.key) == only;
    others.iter().all(is_only).then_some(only)
}

// === impl Runtime ===

impl Runtime {
    /// Asks the master of a slot for takes from buckets of that slot, all or none.
    fn ask(&self, slot: u16, span: Option<SpanContext>, takes: Takes) -> Asking<'_> {
        let Some(master) = self.master_of(slot) else {
            let now_us = self.clock.now_us();
            let denial = self.denial_cache.with(|denial_cache| denial_cache.denial(&takes, now_us));
            return Asking::answered(denial.ok_or_else(|| self.without_master(slot)));
        };
        let ticket = || {
            let (sender, answer) = oneshot::channel();
            (Ticket::new(Caller::One(sender), span), answer)
        };
        match master.dispatch(self, takes, ticket) {
            Dispatched::Denied(answer) => Asking::answered(Ok(answer)),
            Dispatched::Refused(error) => Asking::answered(Err(error)),
            Dispatched::Queued(answer) => Asking::queued(answer),
        }
    }

    /// The legs of a request carry no calls about leases, since a leg may be undone: those are errands.
    fn want_leases(&self, takes: &[Take]) {
        if takes.iter().all(|take| take.demand.lease_us == 0) {
            return;
        }
        let now_us = self.clock.now_us();
        let fresh = self.leases.with(|leases| {
            leases.asked_otherwise(takes, now_us);
            Fresh::of(leases, now_us)
        });
        fresh.tell(self);
    }

    /// The error if this runtime has no line to the master of a slot.
    fn without_master(&self, slot: u16) -> StoreError {
        let is_unserved = self.slots.is_known() && self.slots.owner(slot).is_none();
        if is_unserved { StoreError::Unserved } else { StoreError::Disconnected }
    }

    /// The error that a request would meet which asked for this slot now. None if it would be sent.
    fn refusal(&self, slot: u16, now_us: u64) -> Option<StoreError> {
        match self.master_of(slot) {
            None => Some(self.without_master(slot)),
            Some(master) => master.refusal(now_us),
        }
    }

    /// The master of a slot, if this runtime has a line to it.
    fn master_of(&self, slot: u16) -> Option<Arc<Master>> {
        self.known(self.slots.owner(slot)?)
    }

    /// Whether a call to this master would be sent now.
    fn is_there(&self, id: NodeId, now_us: u64) -> bool {
        self.known(id).is_some_and(|master| master.refusal(now_us).is_none())
    }

    fn known(&self, id: NodeId) -> Option<Arc<Master>> {
        self.masters.with(|masters| masters.get(&id).map(|kept| Arc::clone(&kept.master)))
    }

    /// A master that is known, or is from now on. None if the node is not known any more.
    fn master(self: &Arc<Self>, id: NodeId) -> Option<Arc<Master>> {
        self.known(id).or_else(|| {
            let kept = Master::start(self, id)?;
            let master = Arc::clone(&kept.master);
            self.masters.with(|masters| masters.insert(id, kept));
            Some(master)
        })
    }

    fn masters(&self) -> Vec<Arc<Master>> {
        self.masters.with(|masters| masters.values().map(|kept| Arc::clone(&kept.master)).collect())
    }

    /// The line to the master of a slot.
    fn line(&self, slot: u16) -> Option<Arc<Line>> {
        Some(Arc::clone(&self.master_of(slot)?.line))
    }
}

impl Runtime {
    /// The line to the master that holds a key of Tollgate's own.
    pub(super) fn line_of_key(&self, key: &str) -> Option<Arc<Line>> {
        self.line(slot_of_name(key))
    }
}

impl Lessee for Runtime {
    fn clock(&self) -> Clock {
        self.clock
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn leases<R>(&self, use_them: impl FnOnce(&mut Leases) -> R) -> R {
        self.leases.with(use_them)
    }

    fn wake_senders(&self, due: &[BucketKey]) {
        // A call whose slot nobody serves is looked at again.
        for master in due.iter().filter_map(|key| self.master_of(slot(key))) {
            master.wake_sender();
        }
    }

    fn wake_all_senders(&self) {
        self.masters().iter().for_each(|master| master.wake_sender());
    }

    fn leased(&self) -> &Notify {
        &self.leased
    }
}

// === tasks ===

/// Has a line to each master, forever. `unmet` counts as a connection that has never been up until one of them has.
async fn follow(runtime: Arc<Runtime>, unmet: Arc<OwnThread<Option<LineHealth>>>) {
    let mut changes = runtime.slots.changes();
    let mut leaving = JoinSet::new();
    loop {
        changes.mark_unchanged();
        let ids = runtime.slots.ids();
        for id in &ids {
            runtime.master(*id);
        }
        let gone =
            runtime.masters.with(|masters| masters.extract_if(|id, _| !ids.contains(id)).collect::<Vec<_>>());
        for (_, kept) in gone {
            leaving.spawn(async move {
                sleep(GRACE).await;
                drop(kept);
            });
        }
        while leaving.try_join_next().is_some() {}
        loop {
            if runtime.masters().iter().any(|master| master.line.is_up()) {
                drop(unmet.with(Option::take));
            }
            let changed = changes.changed();
            let is_unmet = unmet.with(|unmet| unmet.is_some());
            let has_changed = if is_unmet {
                timeout(LOOK_FOR_FIRST_EVERY, changed).await.is_ok()
            } else {
                changed.await.is_ok()
            };
            if has_changed {
                break;
            }
        }
    }
}

/// Bounds the wait in the queues, forever, without depending on the tasks that empty them.
async fn give_up_overdue(runtime: Arc<Runtime>) {
    loop {
        sleep(LOOK_FOR_OVERDUE_EVERY).await;
        let now_us = runtime.clock.now_us();
        for master in runtime.masters() {
            master.give_up_overdue(now_us);
        }
        // Bounds what the other runtimes have told, also while this one is idle.
        runtime.denial_cache.with(DenialCache::receive_refunds);
    }
}
