//! Requests whose buckets lie in several slots of a Redis Cluster, so that no single call can decide them.
//!
//! The takes of a request in one slot are a leg. Each leg is a call of its own, which charges all of it or nothing; the
//! request is admitted if all legs together are, by the rule that decides every request. If they are not, each leg that
//! was charged is undone: it gets back its cost less what was refilled since, by the clock of the master that charged
//! it, over the connection that charged it, once. So no limit ever admits more than its burst and its refill, whatever
//! is lost: a take that is not undone only admits less. Giving back the whole would admit more, since a part of it has
//! come back by itself.
//!
//! What holds tokens for nothing must be rare:
//! - If memory knows that the request is denied, its legs are asked only for their figures.
//! - A leg with a bucket that memory saw without room lately goes first and alone.
//! - Hits are given back last, and only by an admitted request: nobody could take them again.
//!
//! A leg that is asked only for its figures carries a take that never fits. So the script undoes all of it, charges what
//! is charged even if denied, and answers as in any denied request. Quotas in several legs deny only together, so each
//! leg takes them as shadows.
//!
//! Pure: the caller carries each [`Todo`] out. Time is that of the masters' answers.

mod answer;
mod leg;

use smallvec::SmallVec;

use super::denial_cache::DenialCache;
use crate::store::StoreError;
use answer::Seen;
pub(super) use answer::by_clock;
pub use leg::Todo;
use leg::{Charged, Leg, Purpose, Quotas, Stage, comes_last};
use tollgate_core::{
    decision::{Answer, Enforcement, Take, Takes, Verdict, verdict},
    descriptor::BucketKey,
};

/// A request in several slots, while it is decided. `O` names the connection over which an answer came.
#[derive(Debug)]
pub struct Legs<O> {
    takes: Takes,
    /// What each take has found, once its leg was answered.
    seen: SmallVec<[Option<Seen>; 4]>,
    legs: SmallVec<[Leg<O>; 4]>,
    quotas: Quotas,
    outlook: Outlook,
    /// The number of malformed buckets that were found.
    malformed: u32,
}

/// What is known about the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    Open,
    /// It will be a denial.
    Denied,
    /// The caller was told.
    Over,
}

type Todos<O> = SmallVec<[Todo<O>; 4]>;

// === impl Legs ===

impl<O> Legs<O> {
    /// The legs of a request.
    pub fn new(mut takes: Takes, slot_of: impl Fn(&BucketKey) -> u16) -> Legs<O> {
        // A hit that is spent from a lease could not be undone where it was charged. Leases for such requests are asked for
        // on their own.
        takes.iter_mut().for_each(|take| take.demand.lease_us = 0);
        let mut legs: SmallVec<[Leg<O>; 4]> = SmallVec::new();
        for (index, take) in takes.iter().enumerate() {
            let slot = slot_of(&take.key);
            match legs.iter_mut().find(|leg| leg.slot == slot) {
                Some(leg) => leg.members.push(index),
                None => legs.push(Leg::new(slot, index)),
            }
        }
        let has_quota =
            |leg: &&Leg<O>| leg.takes(&takes).any(|take| take.demand.enforcement == Enforcement::Quota);
        let are_spread = legs.iter().filter(has_quota).count() > 1;
        let quotas = if are_spread { Quotas::Spread } else { Quotas::Together };
        let seen = SmallVec::from_elem(None, takes.len());
        Legs { takes, seen, legs, quotas, outlook: Outlook::Open, malformed: 0 }
    }

    /// The slot of each leg.
    pub fn slots(&self) -> impl Iterator<Item = u16> {
        self.legs.iter().map(|leg| leg.slot)
    }

    /// The first things to do.
    pub fn begin(&mut self, denial_cache: &mut DenialCache, local_us: u64) -> Todos<O> {
        let mut todos = Todos::new();
        let remembered: SmallVec<[Option<Seen>; 4]> =
            self.takes.iter().map(|take| remembered(take, denial_cache, local_us)).collect();
        let may_fit = |(take, seen): (&Take, &Option<Seen>)| !take.demand.never_fits() && seen.is_none();
        let takes = self.takes.iter().zip(&remembered);
        if verdict(takes.map(|one| (one.0.demand.enforcement, may_fit(one)))) == Verdict::Deny {
            self.outlook = Outlook::Denied;
            self.seen = remembered;
        } else if let Some(leg) = self.legs.iter().position(|leg| {
            let mut denying = leg.takes(&self.takes).filter(|take| self.may_deny(take));
            denying.any(|take| denial_cache.was_without_room(&take.key, local_us))
        }) {
            self.ask(leg, Purpose::Take, &mut todos);
        }
        self.go_on(&mut todos);
        todos
    }

    /// Whether this take alone can deny the request.
    fn may_deny(&self, take: &Take) -> bool {
        let is_decisive = match take.demand.enforcement {
            Enforcement::Enforced => true,
            Enforcement::Quota => self.quotas == Quotas::Together,
            Enforcement::Shadow => false,
        };
        is_decisive && !take.demand.kind.gives_back()
    }

    /// A leg that was asked was answered, over that connection, or was not.
    pub fn answered(&mut self, leg: usize, answer: Result<(Answer, O), StoreError>) -> Todos<O> {
        let mut todos = Todos::new();
        let stage = std::mem::replace(&mut self.legs[leg].stage, Stage::Answered);
        match (answer, stage) {
            (Ok((answer, over)), Stage::UnderWay(purpose)) => self.note(leg, purpose, &answer, over),
            (Err(error), Stage::UnderWay(_)) if self.outlook != Outlook::Over => {
                self.outlook = Outlook::Over;
                todos.push(Todo::Done(Err(error)));
            }
            _ => {}
        }
        self.go_on(&mut todos);
        todos
    }

    fn note(&mut self, leg: usize, purpose: Purpose, answer: &Answer, over: O) {
        let asked = self.asked(leg, purpose);
        self.malformed = self.malformed.saturating_add(answer.malformed);
        for (&(index, _), found) in asked.iter().zip(&answer.found) {
            // What memory knows has led to the denial, so the answer to the request must say it.
            if purpose != Purpose::Figures || self.seen[index].is_none() {
                self.seen[index] = Some(Seen::new(*found, answer));
            }
        }
        let leg = &mut self.legs[leg];
        match purpose {
            Purpose::Take => {
                leg.charged = Charged::by(asked.iter().map(|(_, take)| take), answer, over);
            }
            Purpose::GiveBack | Purpose::Figures => leg.stage = Stage::Complete,
        }
    }

    /// All that can be done now.
    fn go_on(&mut self, todos: &mut Todos<O>) {
        if self.outlook == Outlook::Open && self.verdict() == Verdict::Deny {
            self.outlook = Outlook::Denied;
        }
        match self.outlook {
            Outlook::Open => self.go_on_taking(todos),
            Outlook::Denied => {
                self.undo(todos);
                self.ask_all(Purpose::Figures, todos);
                self.end(todos);
            }
            Outlook::Over => self.undo(todos),
        }
    }

    fn go_on_taking(&mut self, todos: &mut Todos<O>) {
        if self.is_any_under_way() {
            return;
        }
        self.ask_all(Purpose::Take, todos);
        if !self.is_any_under_way() {
            self.ask_all(Purpose::GiveBack, todos);
        }
        self.end(todos);
    }

    /// The verdict, if all that is not known yet fits.
    fn verdict(&self) -> Verdict {
        let fits = |seen: &Option<Seen>| seen.as_ref().is_none_or(|seen| seen.found.fits);
        verdict(self.takes.iter().zip(&self.seen).map(|(take, seen)| (take.demand.enforcement, fits(seen))))
    }

    fn is_any_under_way(&self) -> bool {
        self.legs.iter().any(|leg| matches!(leg.stage, Stage::UnderWay(_)))
    }

    /// Asks every leg that has something left to be asked for this.
    fn ask_all(&mut self, purpose: Purpose, todos: &mut Todos<O>) {
        for leg in 0..self.legs.len() {
            let is_due = match (purpose, self.legs[leg].stage) {
                (_, Stage::UnderWay(_) | Stage::Complete)
                | (Purpose::Figures | Purpose::Take, Stage::Answered) => false,
                (Purpose::Figures, Stage::Waiting) => {
                    self.legs[leg].members.iter().any(|&index| self.seen[index].is_none())
                }
                (Purpose::Take, Stage::Waiting) => self.has(leg, |take| !comes_last(take)),
                (Purpose::GiveBack, Stage::Waiting | Stage::Answered) => self.has(leg, comes_last),
            };
            if is_due {
                self.ask(leg, purpose, todos);
            }
        }
    }

    fn has(&self, leg: usize, is_one: impl Fn(&Take) -> bool) -> bool {
        self.legs[leg].takes(&self.takes).any(is_one)
    }

    fn ask(&mut self, leg: usize, purpose: Purpose, todos: &mut Todos<O>) {
        let mut takes: Takes = self.asked(leg, purpose).into_iter().map(|(_, take)| take).collect();
        if purpose == Purpose::Figures {
            let Take { key, demand } = takes[0];
            takes.push(Take { key, demand: demand.never_fitting() });
        }
        let leg_asked = &mut self.legs[leg];
        leg_asked.stage = Stage::UnderWay(purpose);
        todos.push(Todo::Ask { leg, slot: leg_asked.slot, takes });
    }

    /// What a leg is asked, with the index of each take in the request.
    fn asked(&self, leg: usize, purpose: Purpose) -> SmallVec<[(usize, Take); 4]> {
        let members = self.legs[leg].members.iter().map(|&index| (index, self.takes[index]));
        members.filter_map(|(index, take)| Some((index, purpose.asks(take, self.quotas)?))).collect()
    }

    /// Undoes each leg that was charged.
    fn undo(&mut self, todos: &mut Todos<O>) {
        for leg in &mut self.legs {
            let charged = leg.charged.take();
            todos.extend(charged.map(|charged| charged.undone(leg.slot)));
        }
    }

    /// Tells the outcome, if every take has found something and nothing is under way.
    fn end(&mut self, todos: &mut Todos<O>) {
        if self.is_any_under_way() {
            return;
        }
        self.outlook = Outlook::Over;
        todos.push(Todo::Done(answer::joined(&self.takes, &self.seen, self.malformed)));
    }
}

// === parts ===

/// What memory knows of a bucket that has no room for this take now.
fn remembered(take: &Take, denial_cache: &mut DenialCache, local_us: u64) -> Option<Seen> {
    let alone = Take { demand: take.demand.enforcement(Enforcement::Enforced), ..*take };
    let denial = denial_cache.denial(&[alone], local_us)?;
    Some(Seen::new(denial.found[0], &denial))
}

#[cfg(test)]
mod tests;
