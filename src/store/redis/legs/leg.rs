//! One leg, and what its request has to do.

use smallvec::SmallVec;

use crate::store::StoreError;
use tollgate_core::decision::{Answer, Enforcement, Found, Kind, Take, Takes};

#[derive(Debug)]
pub(super) struct Leg<O> {
    pub(super) slot: u16,
    /// The indices of its takes in the request.
    pub(super) members: SmallVec<[usize; 4]>,
    pub(super) stage: Stage,
    /// It was charged, and may have to be undone.
    pub(super) charged: Option<Charged<O>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    UnderWay(Purpose),
    Answered,
    /// Also what it gives back was sent.
    Complete,
}

/// What a leg is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To charge its takes; nothing is given back yet.
    Take,
    /// To give back what the request gives back.
    GiveBack,
    /// To tell its figures, in a request that is denied.
    Figures,
}

/// Where the quotas of a request lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotas {
    /// In one leg, which judges them.
    Together,
    /// In several legs, none of which can judge them alone.
    Spread,
}

/// What a leg was charged.
#[derive(Debug)]
pub(super) struct Charged<O> {
    /// By the clock of the master.
    pub(super) at_us: u64,
    pub(super) over: O,
    pub(super) takes: Takes,
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Todo<O> {
    /// Ask the master of this slot, as any request is asked, and hand its answer to [`Legs::answered`].
    Ask {
        /// The number of the leg.
        leg: usize,
        /// Its slot.
        slot: u16,
        /// What is asked of its buckets.
        takes: Takes,
    },
    /// Send this over that connection: once, or never if it is gone. It must reach no other master, whose clock is
    /// another. Nobody waits for the answer.
    GiveBack {
        /// The slot of the buckets.
        slot: u16,
        /// The connection over which the take was answered.
        over: O,
        /// What is undone.
        takes: Takes,
    },
    /// The outcome, once for each request. Answers that are still under way must be handed over all the same.
    Done(Result<Answer, StoreError>),
}

/// Whether it gives back hits if the request is admitted, and only then.
pub(super) fn comes_last(take: &Take) -> bool {
    take.demand.kind.gives_back() && !take.demand.meters()
}

// === impl Leg ===

impl<O> Leg<O> {
    /// A leg with this take of the request.
    pub(super) fn new(slot: u16, index: usize) -> Leg<O> {
        Leg { slot, members: SmallVec::from_elem(index, 1), stage: Stage::Waiting, charged: None }
    }

    pub(super) fn takes<'t>(&self, takes: &'t Takes) -> impl Iterator<Item = &'t Take> {
        self.members.iter().map(|&index| &takes[index])
    }
}

// === impl Purpose ===

impl Purpose {
    /// What a leg is asked in place of this take of the request; none if it is not asked.
    pub(super) fn asks(self, take: Take, quotas: Quotas) -> Option<Take> {
        let is_spread_quota = take.demand.enforcement == Enforcement::Quota && quotas == Quotas::Spread;
        let demand = match self {
            Purpose::GiveBack if !comes_last(&take) => return None,
            Purpose::Take if comes_last(&take) => take.demand.giving_back_nothing(),
            Purpose::Take if is_spread_quota => take.demand.enforcement(Enforcement::Shadow),
            Purpose::GiveBack | Purpose::Take | Purpose::Figures => take.demand,
        };
        Some(Take { demand, ..take })
    }
}

// === impl Charged ===

impl<O> Charged<O> {
    /// What was charged to a leg that was asked these takes, apart from what is charged even if denied; none if nothing
    /// was.
    pub(super) fn by<'t>(
        asked: impl Iterator<Item = &'t Take>,
        answer: &Answer,
        over: O,
    ) -> Option<Charged<O>> {
        let is_undone = |(take, found): &(&Take, &Found)| {
            let is_charged = take.is_charged(found, answer.verdict);
            take.demand.kind == Kind::Take && !take.demand.meters() && is_charged
        };
        let charged = asked.zip(&answer.found).filter(is_undone);
        let takes: Takes = charged.map(|(take, _)| *take).collect();
        (!takes.is_empty()).then_some(Charged { at_us: answer.now_us, over, takes })
    }

    /// What undoes it.
    pub(super) fn undone(self, slot: u16) -> Todo<O> {
        let undone = |take: Take| Take { demand: take.demand.undo(self.at_us), ..take };
        Todo::GiveBack { slot, over: self.over, takes: self.takes.into_iter().map(undone).collect() }
    }
}
