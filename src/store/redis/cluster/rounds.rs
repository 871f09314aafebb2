//! Carries a batch to a master of a Redis Cluster, and those of its requests that were sent elsewhere to where they
//! belong.
//!
//! A batch is a pipeline of one call for each request, and each reply is judged alone. Calls about leases travel with a
//! request for their bucket, or each by itself. A request is sent again only after
//! a reply which proves that nothing ran, and in three rounds at most. After silence, or if the connection breaks, the
//! whole pipeline counts as lost and is never sent again.

use std::{mem, sync::Arc};

use redis::{Pipeline, Value};

use super::{
    Made, Runtime, Via,
    master::Master,
    reply::{Again, Judged, judge},
};
use crate::store::{
    StoreError,
    redis::script::{self, Call, Now},
    refusal::Refusal,
};
use tollgate_core::{
    decision::{Granted, LeaseCall, Take},
    descriptor::BucketKey,
};

const ROUNDS: usize = 3;

/// One call: a request, or none, and what there is to report and to ask for about leases of its buckets.
pub(super) struct Order<'a> {
    takes: Option<&'a [Take]>,
    leases: Vec<LeaseCall>,
}

/// What was answered to a batch.
pub(super) struct Replies {
    /// For each order; the requests come first, as in the batch.
    pub(super) made: Vec<Result<Made, StoreError>>,
    /// The answers about leases, each with its bucket.
    pub(super) granted: Vec<(BucketKey, Granted)>,
}

/// The calls for these requests, in their order, and behind them those for leases of other buckets.
pub(super) fn orders<'a>(takes: impl Iterator<Item = &'a [Take]>, leases: &[LeaseCall]) -> Vec<Order<'a>> {
    let mut orders: Vec<Order> =
        takes.map(|takes| Order { takes: Some(takes), leases: Vec::new() }).collect();
    for lease in leases {
        let names =
            |order: &&mut Order| order.takes.iter().copied().flatten().any(|take| take.key == lease.key);
        match orders.iter_mut().find(names) {
            Some(order) => order.leases.push(*lease),
            None => orders.push(Order { takes: None, leases: vec![*lease] }),
        }
    }
    orders
}

/// The orders of one batch on their way.
pub(super) struct Rounds<'a> {
    runtime: &'a Arc<Runtime>,
    lane: usize,
    orders: Vec<Order<'a>>,
    /// After this time no further round begins.
    until_us: u64,
    replies: Replies,
    again: Vec<Errand>,
}

/// An order to be sent.
struct Errand {
    /// Its place in the batch.
    index: usize,
    to: Arc<Master>,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    /// Its slot is being moved there, so the node must be told that it is asked all the same.
    asking: bool,
    with_script: bool,
    /// It was sent again because its keys were in two places.
    waited: bool,
    /// Why it is sent again.
    after: Option<Refusal>,
}

// === impl Rounds ===

impl<'a> Rounds<'a> {
    pub(super) fn new(
        runtime: &'a Arc<Runtime>,
        lane: usize,
        orders: Vec<Order<'a>>,
        until_us: u64,
    ) -> Rounds<'a> {
        let made = orders.iter().map(|_| Err(StoreError::Abandoned)).collect();
        let replies = Replies { made, granted: Vec::new() };
        Rounds { runtime, lane, orders, until_us, replies, again: Vec::new() }
    }

    /// Sends all requests to this master, and some of them on. Fails if the master's reply is missing.
    pub(super) async fn send(mut self, master: &Arc<Master>) -> Result<Replies, StoreError> {
        let all = (0..self.orders.len()).map(|index| (index, Manner::default())).collect();
        self.exchange(master, all).await?;
        for _ in 1..ROUNDS {
            if self.again.is_empty() || self.runtime.clock.now_us() > self.until_us {
                break;
            }
            self.send_on().await;
        }
        for errand in self.again {
            let refusal = errand.manner.after.unwrap_or(Refusal::Other);
            self.replies.made[errand.index] = Err(StoreError::Refused(refusal));
        }
        Ok(self.replies)
    }

    /// One round of the requests that are sent again, one master after the other.
    async fn send_on(&mut self) {
        let mut errands = mem::take(&mut self.again);
        while let Some(Errand { to, .. }) = errands.first() {
            let to = Arc::clone(to);
            to.tried().await;
            let mut group = Vec::new();
            errands.retain(|errand| {
                let belongs = errand.to.id == to.id;
                group.extend(belongs.then_some((errand.index, errand.manner)));
                !belongs
            });
            let indices: Vec<usize> = group.iter().map(|(index, _)| *index).collect();
            if let Err(error) = self.exchange(&to, group).await {
                for index in indices {
                    self.replies.made[index] = Err(error.clone());
                }
            }
        }
    }

    /// Sends these requests to a master, and judges each reply.
    async fn exchange(
        &mut self,
        master: &Arc<Master>,
        requests: Vec<(usize, Manner)>,
    ) -> Result<(), StoreError> {
        let connection = master.line.connection().ok_or(StoreError::Disconnected)?;
        let via = Via { master: master.id, connection: connection.number };
        let pipeline = self.pipeline(&requests, &connection.script);
        let replies = master.line.send_all(&connection, self.lane, pipeline, self.runtime.deadline).await?;
        let mut replies = replies.into_iter();
        let mut is_told = false;
        for (index, manner) in requests {
            if manner.asking {
                replies.next();
            }
            let reply = replies.next().unwrap_or(Value::Nil);
            let Order { takes, leases } = &self.orders[index];
            self.replies.made[index] = match judge(reply, *takes, leases, &master.place) {
                Judged::Answered { answer, granted } => {
                    self.replies.granted.extend(leases.iter().map(|lease| lease.key).zip(granted));
                    answer.map(|answer| Made { answer, via: Some(via) }).ok_or(StoreError::Abandoned)
                }
                Judged::Failed(error) => Err(error),
                Judged::Refused(complaint) => {
                    // One reply of many tells enough.
                    if mem::replace(&mut is_told, true) {
                        master.line.health.count(complaint.refusal);
                    } else {
                        master.line.is_refused(connection.number, &complaint);
                    }
                    Err(StoreError::Refused(complaint.refusal))
                }
                Judged::Again(again) => {
                    master.line.health.count(again.refusal());
                    let refusal = again.refusal();
                    match self.errand(index, master, again, manner) {
                        Some(errand) => self.again.push(errand),
                        None => self.replies.made[index] = Err(StoreError::Refused(refusal)),
                    }
                    continue;
                }
            };
        }
        Ok(())
    }

    fn pipeline(&self, requests: &[(usize, Manner)], digest: &str) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(requests.len() + 1);
        let mut is_sent = false;
        for (index, manner) in requests {
            if manner.asking {
                pipeline.cmd("ASKING");
            }
            let Order { takes, leases } = &self.orders[*index];
            let call = Call::with_leases(*takes, leases);
            if call.needs_epoch() {
                self.runtime.slots.asks_for_epochs();
            }
            // The first call that carries the script loads it for those behind it.
            let carries = manner.with_script && !mem::replace(&mut is_sent, true);
            let text = carries.then(|| script::text(Now::Server));
            pipeline.add_command(match &text {
                Some(text) => call.command("EVAL", text),
                None => call.command("EVALSHA", digest),
            });
        }
        pipeline
    }

    /// None if the request must not be sent again.
    fn errand(&self, index: usize, from: &Arc<Master>, again: Again, before: Manner) -> Option<Errand> {
        let manner = Manner { after: Some(again.refusal()), ..before };
        let slots = &self.runtime.slots;
        let (to, manner) = match again {
            Again::Moved { slot, to } => {
                let to = self.runtime.master(slots.moved(slot, to)?)?;
                (to, Manner { asking: false, ..manner })
            }
            Again::Ask(to) => (self.runtime.master(slots.named(to)?)?, Manner { asking: true, ..manner }),
            Again::Later if before.waited => return None,
            Again::Later => (Arc::clone(from), Manner { waited: true, ..manner }),
            Again::WithScript => (Arc::clone(from), Manner { with_script: true, ..manner }),
        };
        Some(Errand { index, to, manner })
    }
}
