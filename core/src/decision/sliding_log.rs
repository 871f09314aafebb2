//! The sliding-window log: at most `limit` hits in every period, wherever it starts.
//!
//! Each admitted take is kept until its period has passed. This is exact but needs memory, so it is for few keys.
//! Hits of one instant are one run. A run is kept with the instant at which it leaves, so a hit counts in the
//! half-open period that ends with that instant. After a step back of the clock, every run stays longer by at most
//! the length of the step.

use super::{
    Seen, State,
    demand::{Count, Demand, Kind, Step},
};

/// The hits that count, from the oldest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    runs: Vec<Run>,
    held: u32,
}

/// Hits of one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The instant from which on they no longer count, in microseconds.
    pub leaves_us: u64,
    /// How many they are.
    pub hits: u32,
}

impl Log {
    /// A log of these runs, which must be in order from the oldest.
    pub fn new(runs: Vec<Run>) -> Log {
        let held = runs.iter().fold(0, |sum: u32, run| sum.saturating_add(run.hits));
        Log { runs, held }
    }

    /// The number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// The number of hits.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Whether no hit is kept.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// When the last hit leaves, in microseconds; 0 for an empty log.
    pub fn empty_us(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.leaves_us)
    }

    /// The part of the log that still counts.
    fn at(&self, now_us: u64) -> Log {
        Log::new(self.runs[self.runs.partition_point(|run| run.leaves_us <= now_us)..].to_vec())
    }

    fn oldest_us(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.leaves_us)
    }

    /// When at most `most` hits are left, in microseconds.
    fn falls_to_us(&self, most: u32) -> u64 {
        let mut held = self.held;
        for run in &self.runs {
            held -= run.hits;
            if held <= most {
                return run.leaves_us;
            }
        }
        0
    }

    fn add(&mut self, hits: u32, leaves_us: u64) {
        self.held += hits;
        match self.runs.last_mut() {
            // Even after a step back of the clock the log must stay in the order of time.
            Some(last) if last.leaves_us >= leaves_us => last.hits += hits,
            _ => self.runs.push(Run { leaves_us, hits }),
        }
    }

    /// Takes back the newest hits.
    fn give_back(&mut self, mut hits: u32) {
        hits = hits.min(self.held);
        self.held -= hits;
        while let Some(last) = self.runs.last_mut().filter(|_| hits > 0) {
            let taken = last.hits.min(hits);
            last.hits -= taken;
            hits -= taken;
            if last.hits == 0 {
                self.runs.pop();
            }
        }
    }

    /// Takes these hits out of those that leave at `leaves_us`, as far as they are there. False if there are none.
    fn take_out(&mut self, hits: u32, leaves_us: u64) -> bool {
        let Ok(at) = self.runs.binary_search_by_key(&leaves_us, |run| run.leaves_us) else { return false };
        let taken = self.runs[at].hits.min(hits);
        self.held -= taken;
        self.runs[at].hits -= taken;
        if self.runs[at].hits == 0 {
            self.runs.remove(at);
        }
        true
    }
}

impl Demand {
    /// The number of hits in a log that held `held` before this take was charged.
    pub fn charged_held(&self, asked: &Count, held: u32) -> u32 {
        let hits = u32::try_from(asked.hits).unwrap_or(u32::MAX);
        match self.kind {
            Kind::Peek => held,
            Kind::GiveBack | Kind::Undo { .. } => held.saturating_sub(hits),
            Kind::Take => held.saturating_add(hits),
        }
    }
}

/// A log that was filled at this instant.
pub(super) fn spent(count: &Count, now_us: u64) -> State {
    if count.limit == 0 {
        return State::SlidingLog(Box::default());
    }
    let leaves_us = now_us.saturating_add(count.length_us);
    State::SlidingLog(Box::new(Log::new(vec![Run { leaves_us, hits: count.limit }])))
}

pub(super) fn step(demand: &Demand, asked: &Count, state: Option<&State>, now_us: u64) -> Step {
    let mut log = match state {
        Some(State::SlidingLog(log)) => log.at(now_us),
        _ => Log::default(),
    };
    let hits = u32::try_from(asked.hits).unwrap_or(u32::MAX);
    let fits = demand.kind.gives_back() || log.held.saturating_add(hits) <= asked.limit;
    let fits_at_us = match asked.limit.checked_sub(hits) {
        _ if fits => 0,
        Some(most) => log.falls_to_us(most),
        None => log.empty_us(),
    };
    let seen = Seen::SlidingLog { held: log.held, oldest_us: log.oldest_us(), fits_at_us };
    let is_changed = fits
        && !demand.changes_nothing()
        && match demand.kind {
            Kind::Undo { taken_us } => log.take_out(hits, taken_us.saturating_add(asked.length_us)),
            Kind::GiveBack => {
                log.give_back(hits);
                true
            }
            Kind::Take | Kind::Peek => {
                log.add(hits, now_us.saturating_add(asked.length_us));
                true
            }
        };
    let charged = is_changed.then(|| (log.held > 0).then(|| State::SlidingLog(Box::new(log))));
    Step { seen, fits, charged, missed_until_us: 0, is_reserved: false }
}
