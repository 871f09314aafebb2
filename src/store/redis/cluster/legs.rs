//! Carries the legs of a request over several slots to their masters, and what must be undone back to them.
//!
//! Each such request has a task of its own, so that a caller who goes away leaves nothing behind that was taken for him
//! and is never given back.

use std::{iter, sync::Arc};

use redis::{Pipeline, Value};
use tokio::sync::{mpsc, oneshot};

use super::{Caller, Made, Runtime, Ticket, Via, reply};
use crate::{
    store::{
        StoreError,
        redis::{
            denial_cache::Trip,
            dispatch::Dispatched,
            keys::slot,
            legs::{Legs, Todo},
            line::NO_LANE,
            script::Call,
        },
    },
    traces::SpanContext,
};
use tollgate_core::decision::{Answer, Takes};

type Answers = mpsc::UnboundedSender<(usize, Result<Made, StoreError>)>;

/// What waits for the answer of a leg.
struct Waiting<'a> {
    leg: usize,
    /// The span of the request, if it is recorded.
    span: Option<SpanContext>,
    answers: &'a Answers,
}

/// Takes all or none.
pub(super) async fn take(
    runtime: &Arc<Runtime>,
    span: Option<SpanContext>,
    takes: Takes,
) -> Result<Answer, StoreError> {
    let now_us = runtime.clock.now_us();
    if let Some(denial) = runtime.denial_cache.with(|denial_cache| denial_cache.denial(&takes, now_us)) {
        return Ok(denial);
    }
    let legs = Legs::new(takes, slot);
    // Nothing is taken for a request that cannot be decided.
    if let Some(error) = legs.slots().find_map(|slot| runtime.refusal(slot, now_us)) {
        return Err(error);
    }
    let (tell, told) = oneshot::channel();
    tokio::spawn(drive(Arc::clone(runtime), legs, span, tell));
    // The sender is dropped unused only if the runtime ends, or if the task panics.
    told.await.unwrap_or(Err(StoreError::Abandoned))
}

async fn drive(
    runtime: Arc<Runtime>,
    mut legs: Legs<Option<Via>>,
    span: Option<SpanContext>,
    tell: oneshot::Sender<Result<Answer, StoreError>>,
) {
    let (answers, mut answered) = mpsc::unbounded_channel();
    let (mut tell, mut under_way) = (Some(tell), 0_usize);
    let now_us = runtime.clock.now_us();
    let mut todos = runtime.denial_cache.with(|denial_cache| legs.begin(denial_cache, now_us));
    loop {
        for todo in todos {
            match todo {
                Todo::Ask { leg, slot, takes } => {
                    under_way += 1;
                    ask(&runtime, slot, takes, Waiting { leg, span, answers: &answers });
                }
                Todo::GiveBack { over, takes, .. } => {
                    if let Some(via) = over {
                        give_back(&runtime, via, takes);
                    }
                }
                Todo::Done(answer) => {
                    // Fails if the caller has gone.
                    let _ = tell.take().map(|tell| tell.send(answer));
                }
            }
        }
        if under_way == 0 {
            return;
        }
        let Some((leg, made)) = answered.recv().await else { return };
        under_way -= 1;
        todos = legs.answered(leg, made.map(|Made { answer, via }| (answer, via)));
    }
}

/// The answer comes by the channel, in any case.
fn ask(runtime: &Arc<Runtime>, slot: u16, takes: Takes, waiting: Waiting<'_>) {
    let Waiting { leg, span, answers } = waiting;
    let now = match runtime.master_of(slot) {
        None => Err(runtime.without_master(slot)),
        Some(master) => {
            let ticket = || (Ticket::new(Caller::Leg { leg, answers: answers.clone() }, span), ());
            match master.dispatch(runtime, takes, ticket) {
                Dispatched::Denied(answer) => Ok(Made { answer, via: None }),
                Dispatched::Refused(error) => Err(error),
                Dispatched::Queued(()) => return,
            }
        }
    };
    // The receiver is there as long as a leg is under way.
    let _ = answers.send((leg, now));
}

/// Undoes what was taken over that connection, over that connection and once, or never: another connection may lead to
/// another master, whose clock is another. Nobody waits for it.
fn give_back(runtime: &Arc<Runtime>, via: Via, takes: Takes) {
    let master = runtime.known(via.master);
    let line = master.as_ref().map(|master| &master.line);
    let connection = line.and_then(|line| line.connection()).filter(|one| one.number == via.connection);
    let (Some(master), Some(connection)) = (master, connection) else { return };
    let runtime = Arc::clone(runtime);
    tokio::spawn(async move {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(Call::new(iter::once(&takes[..])).command("EVALSHA", &connection.script));
        let sent_us = runtime.clock.now_us();
        let replies = master.line.send_all(&connection, NO_LANE, pipeline, runtime.deadline).await;
        let reply = replies.ok().and_then(|mut replies| replies.pop()).unwrap_or(Value::Nil);
        if let Some(answer) = reply::answer(reply, &takes, &master.place) {
            let trip = Trip { sent_us, arrived_us: runtime.clock.now_us() };
            runtime.denial_cache.with(|denial_cache| denial_cache.learn(&takes, &answer, trip));
        }
    });
}
