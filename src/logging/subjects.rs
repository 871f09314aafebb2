//! Hourly warnings about many subjects, which clients choose: memory and log stay bounded whatever clients send.
//!
//! Up to [`MOST`] subjects have a warning each; further ones share one warning, which shows one of them. A subject
//! that is not seen for an hour after its line was due makes room. There is no lock and no allocation: a subject is a
//! seeded hash.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::quality::RandomState;

use super::hourly::{EVERY_US, Hourly};
use crate::clock::Clock;

/// The number of subjects that are told apart.
pub const MOST: usize = 256;
/// The number of places in which a subject may be, by its hash.
const PLACES: usize = 16;

/// The subjects of one kind of warning, shared by all threads.
#[derive(Debug)]
pub struct Subjects {
    seed: RandomState,
    places: Box<[Place]>,
    others: Hourly,
}

/// [`Subjects`] with a clock of their own.
#[derive(Debug)]
pub struct Warnings {
    clock: Clock,
    subjects: Subjects,
}

/// Which line is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The line of this subject.
    Subject {
        /// How often it happened since its last line, this time included.
        times: u64,
    },
    /// The line of all subjects that have none of their own. This subject is an example of them.
    Others {
        /// How often it happened with any of them since their last line, this time included.
        times: u64,
    },
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of its subject. 0: the place is free.
    subject: AtomicU64,
    hourly: Hourly,
}

impl Default for Subjects {
    fn default() -> Subjects {
        let places = (0..MOST).map(|_| Place::default()).collect();
        Subjects { seed: RandomState::default(), places, others: Hourly::new() }
    }
}

impl Default for Warnings {
    fn default() -> Warnings {
        Warnings { clock: Clock::start(), subjects: Subjects::default() }
    }
}

impl Warnings {
    /// Counts that it happened once more with this subject. Returns the line that is due, if any.
    pub fn occurs(&self, subject: impl Hash) -> Option<Due> {
        self.subjects.occurs(subject, self.clock.now_us())
    }
}

impl Subjects {
    /// Counts that it happened once more with this subject, at an instant in microseconds of a clock that does not step
    /// back. Returns the line that is due, if any.
    pub fn occurs(&self, subject: impl Hash, now_us: u64) -> Option<Due> {
        // 0 means a free place.
        let subject = self.seed.hash_one(subject).max(1);
        match self.place(subject, now_us) {
            Some(place) => place.hourly.occurs(now_us).map(|times| Due::Subject { times }),
            None => self.others.occurs(now_us).map(|times| Due::Others { times }),
        }
    }

    /// The place of this subject, or one that it can take.
    fn place(&self, subject: u64, now_us: u64) -> Option<&Place> {
        let places = MOST as u64;
        let candidates = (0..PLACES as u64).map(|nth| ((subject % places) + nth) % places);
        let mut candidates =
            candidates.filter_map(|number| self.places.get(usize::try_from(number).unwrap_or_default()));
        candidates
            .clone()
            .find(|place| place.has(subject))
            .or_else(|| candidates.find(|place| place.take_for(subject, now_us)))
    }
}

impl Place {
    fn has(&self, subject: u64) -> bool {
        self.subject.load(Ordering::Relaxed) == subject
    }

    /// Takes the place for this subject if it is free, or if its subject was not seen for an hour after its line was
    /// due.
    fn take_for(&self, subject: u64, now_us: u64) -> bool {
        let before = self.subject.load(Ordering::Relaxed);
        if before == subject {
            return true;
        }
        if before != 0 && !self.hourly.is_idle(now_us.saturating_sub(EVERY_US)) {
            return false;
        }
        match self.subject.compare_exchange(before, subject, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(before) => {
                // A free place has nothing to forget, and another thread may count there already for this subject.
                if before != 0 {
                    self.hourly.forget_count();
                }
                true
            }
            // Another thread took it. Unless that has the same subject, this one tries the next place.
            Err(taken_by) => taken_by == subject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(subjects: &Subjects, which: impl Iterator<Item = u64>, now_us: u64) -> (usize, Vec<u64>) {
        let due: Vec<Due> = which.filter_map(|subject| subjects.occurs(subject, now_us)).collect();
        let others = due.iter().filter_map(|due| match due {
            Due::Others { times } => Some(*times),
            Due::Subject { .. } => None,
        });
        let others: Vec<u64> = others.collect();
        (due.len() - others.len(), others)
    }

    #[test]
    fn each_subject_is_told_at_first_and_then_once_an_hour_with_its_count() {
        let subjects = Subjects::default();
        for subject in ["one", "two"] {
            assert_eq!(subjects.occurs(subject, 7), Some(Due::Subject { times: 1 }), "{subject}");
            assert_eq!(subjects.occurs(subject, 8), None, "{subject}");
        }
        assert_eq!(subjects.occurs("one", 7 + EVERY_US), Some(Due::Subject { times: 2 }));
    }

    #[test]
    fn only_one_of_several_threads_with_the_same_subject_tells() {
        for _ in 0..2_000 {
            let subjects = Subjects::default();
            let together = std::sync::Barrier::new(4);
            let tells = || {
                together.wait();
                subjects.occurs("one", 7).is_some()
            };
            let told = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(tells));
                threads.map(|thread| thread.join().unwrap()).into_iter().filter(|told| *told).count()
            });
            assert_eq!(told, 1);
        }
    }

    #[test]
    fn a_flood_of_subjects_costs_a_bounded_number_of_lines() {
        let subjects = Subjects::default();
        let (own, others) = told(&subjects, 0..50_000, 7);
        assert!((MOST / 2..=MOST).contains(&own), "{own} have lines of their own");
        assert_eq!(others, [1]);
        let (own, others) = told(&subjects, 0..50_000, 8);
        assert_eq!((own, others), (0, vec![]), "within the hour");
    }

    #[test]
    fn a_subject_that_is_no_longer_seen_makes_room_and_one_that_is_keeps_its_place() {
        let subjects = Subjects::default();
        told(&subjects, 0..50_000, 7);
        let kept = 0_u64;
        assert_eq!(subjects.occurs(kept, 7 + EVERY_US), Some(Due::Subject { times: 1 }));
        let later_us = 7 + 2 * EVERY_US;
        let (own, _) = told(&subjects, 50_000..100_000, later_us);
        assert!((MOST / 4..MOST).contains(&own), "{own} came in for those that went");
        assert_eq!(subjects.occurs(kept, later_us), Some(Due::Subject { times: 1 }));
    }
}
