//! Answers from leases that leave together with the answers of a batch.
//!
//! Where most requests travel to Redis, an answer of its own costs a write to its connection, and wakes the client once more:
//! more than the decision. So while batches follow each other closely, such an answer waits for those of the next batch, as
//! it would without a lease. It does not wait for a Redis that is far away or slow: where a batch that others wait for has no
//! answer within [`NEAR_US`], all answers leave.

use std::mem;

use tokio::sync::oneshot;

use super::denial_cache::Trip;
use crate::store::StoreError;
use tollgate_core::decision::Answer;

/// A batch that takes longer is not waited for.
pub const NEAR_US: u64 = 1_000;

/// The answer, when it leaves.
pub type Leaves = oneshot::Receiver<Result<Answer, StoreError>>;

/// What becomes of an answer.
#[derive(Debug)]
pub enum Boarded {
    /// It should leave at once.
    Not(Answer),
    /// No other answer waits for the same batch yet.
    First(Leaves),
    /// Others wait for it too.
    With(Leaves),
}

#[derive(Debug)]
struct Rider {
    leaves: oneshot::Sender<Result<Answer, StoreError>>,
    answer: Answer,
}

/// The answers from leases that wait for those of a batch.
#[derive(Debug, Default)]
pub struct Riders {
    /// For the next batch.
    waiting: Vec<Rider>,
    /// For batches that are under way, by their number.
    aboard: Vec<(u64, Vec<Rider>)>,
    departed: u64,
    /// How long the last batch took.
    trip_us: u64,
}

// === impl Riders ===

impl Riders {
    /// Whether nothing waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.aboard.is_empty()
    }

    /// Lets an answer wait for those of the next batch, unless the last one took too long.
    pub fn board(&mut self, answer: Answer) -> Boarded {
        if self.trip_us >= NEAR_US {
            return Boarded::Not(answer);
        }
        let (leaves, ride) = oneshot::channel();
        let boarded = if self.waiting.is_empty() { Boarded::First(ride) } else { Boarded::With(ride) };
        self.waiting.push(Rider { leaves, answer });
        boarded
    }

    /// A batch is sent. If answers wait for it, its number must be told to [`arrive`](Self::arrive) when it is over.
    pub fn depart(&mut self) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        self.departed += 1;
        self.aboard.push((self.departed, mem::take(&mut self.waiting)));
        Some(self.departed)
    }

    /// A batch was answered, or is given up.
    pub fn arrive(&mut self, ride: Option<u64>, trip: Trip) {
        self.trip_us = trip.arrived_us.saturating_sub(trip.sent_us);
        if self.trip_us >= NEAR_US {
            // Those that wait for another batch would wait for that long once more.
            self.leave_all();
        }
        if let Some(place) = self.aboard.iter().position(|(number, _)| Some(*number) == ride) {
            leave(self.aboard.swap_remove(place).1);
        }
    }

    /// A batch has no answer yet, and is no longer near.
    pub fn are_late(&mut self) {
        self.trip_us = NEAR_US;
        self.leave_all();
    }

    /// There is no next batch: what waits for it leaves.
    pub fn leave(&mut self) {
        leave(mem::take(&mut self.waiting));
    }

    /// Nothing waits any longer, whatever is under way.
    pub fn leave_all(&mut self) {
        self.leave();
        self.aboard.drain(..).for_each(|(_, riders)| leave(riders));
    }
}

fn leave(riders: Vec<Rider>) {
    for rider in riders {
        // Fails if the caller has gone meanwhile.
        let _ = rider.leaves.send(Ok(rider.answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::SmallVec;
    use tollgate_core::decision::{AnswerSource, Verdict};

    const QUICK: Trip = Trip { sent_us: 1_000, arrived_us: 1_200 };

    fn answer() -> Answer {
        Answer {
            now_us: 1,
            verdict: Verdict::Allow,
            found: SmallVec::new(),
            malformed: 0,
            source: AnswerSource::Lease,
        }
    }

    fn board(riders: &mut Riders) -> Option<Leaves> {
        match riders.board(answer()) {
            Boarded::Not(_) => None,
            Boarded::First(ride) | Boarded::With(ride) => Some(ride),
        }
    }

    #[test]
    fn an_answer_leaves_with_those_of_the_batch_that_is_sent_next() {
        let mut riders = Riders::default();
        let mut first = board(&mut riders).expect("a ride");
        riders.arrive(None, QUICK);
        assert!(first.try_recv().is_err());
        let sent = riders.depart();
        let mut second = board(&mut riders).expect("a ride");
        riders.arrive(sent, QUICK);
        assert!(first.try_recv().is_ok() && second.try_recv().is_err());
        riders.leave();
        assert!(second.try_recv().is_ok(), "there is no batch for it");
        assert!(riders.is_empty() && riders.depart().is_none());
    }

    #[test]
    fn no_answer_waits_for_a_redis_that_is_far_away_or_for_a_batch_that_takes_long() {
        let mut riders = Riders::default();
        let mut aboard = board(&mut riders).expect("a ride");
        let sent = riders.depart();
        assert!(aboard.try_recv().is_err());
        riders.leave_all();
        assert!(aboard.try_recv().is_ok());
        riders.arrive(sent, Trip { arrived_us: 1_000 + NEAR_US, ..QUICK });
        assert!(board(&mut riders).is_none());
        riders.arrive(None, QUICK);
        assert!(board(&mut riders).is_some());
        // Nor for one that has taken long already, until another is quick.
        riders.are_late();
        assert!(board(&mut riders).is_none());
        riders.arrive(None, QUICK);
        let mut waiting = board(&mut riders).expect("a ride");
        riders.arrive(None, Trip { arrived_us: 1_000 + NEAR_US, ..QUICK });
        assert!(waiting.try_recv().is_ok(), "the next one would take as long");
    }
}
