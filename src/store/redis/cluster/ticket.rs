//! Who waits for the answer of one slot, and what is answered.

use tokio::sync::{mpsc, oneshot};

use crate::{
    store::{
        StoreError,
        redis::{dispatch, slots::NodeId},
    },
    traces::SpanContext,
};
use tollgate_core::decision::Answer;

/// Where a take was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Via {
    pub(super) master: NodeId,
    /// The number of the connection.
    pub(super) connection: u64,
}

/// An answer, and where it was made; none if memory gave it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) answer: Answer,
    pub(super) via: Option<Via>,
}

/// Who waits for the answer of one slot.
#[derive(Debug)]
pub(super) struct Ticket {
    /// None once it was told.
    caller: Option<Caller>,
    pub(super) via: Option<Via>,
    /// The caller's span, if the request is recorded.
    pub(super) span: Option<SpanContext>,
}

#[derive(Debug)]
pub(super) enum Caller {
    /// The caller of a request whose buckets lie in one slot.
    One(oneshot::Sender<Result<Answer, StoreError>>),
    /// The task of a request over several slots, which waits for each leg.
    Leg { leg: usize, answers: mpsc::UnboundedSender<(usize, Result<Made, StoreError>)> },
}

// === impl Ticket ===

impl Ticket {
    pub(super) fn new(caller: Caller, span: Option<SpanContext>) -> Ticket {
        Ticket { caller: Some(caller), via: None, span }
    }

    fn tell(&mut self, made: Result<Made, StoreError>) {
        // Fails if the caller has gone meanwhile.
        match self.caller.take() {
            Some(Caller::One(sender)) => drop(sender.send(made.map(|made| made.answer))),
            Some(Caller::Leg { leg, answers }) => drop(answers.send((leg, made))),
            None => {}
        }
    }
}

impl dispatch::Ticket for Ticket {
    fn is_gone(&self) -> bool {
        match &self.caller {
            Some(Caller::One(sender)) => sender.is_closed(),
            Some(Caller::Leg { answers, .. }) => answers.is_closed(),
            None => true,
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.caller, Some(Caller::One(_)))
    }

    fn answer(mut self, answer: Result<Answer, StoreError>) {
        let via = self.via;
        self.tell(answer.map(|answer| Made { answer, via }));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Abandoned));
    }
}
