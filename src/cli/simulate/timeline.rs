//! Requests and denials over time, in steps that grow with the length of the log.

use std::collections::HashMap;

use foldhash::fast::RandomState;

const MINUTE_US: u64 = 60_000_000;
/// The most steps. A longer log has longer ones.
const MOST_STEPS: usize = 1_440;
/// The limits whose denials are counted apart, those that deny first.
const MOST_LIMITS: usize = 200;

/// Counts for each step, a minute or a multiple of it.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) starts_us: u64,
    pub(super) step_us: u64,
    pub(super) requests: Vec<u64>,
    /// By the index of the limit; `usize::MAX` stands for those that are not counted apart.
    pub(super) denied: HashMap<usize, Vec<u64>, RandomState>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { starts_us: u64::MAX, step_us: MINUTE_US, requests: Vec::new(), denied: HashMap::default() }
    }
}

impl Timeline {
    pub(super) fn request(&mut self, now_us: u64) {
        if self.starts_us == u64::MAX {
            self.starts_us = now_us - now_us % MINUTE_US;
        }
        let step = self.step(now_us);
        count(&mut self.requests, step);
    }

    pub(super) fn denied(&mut self, now_us: u64, limit: usize) {
        let step = self.step(now_us);
        let is_known = self.denied.contains_key(&limit) || self.denied.len() < MOST_LIMITS;
        count(self.denied.entry(if is_known { limit } else { usize::MAX }).or_default(), step);
    }

    fn step(&mut self, now_us: u64) -> usize {
        loop {
            let step = now_us.saturating_sub(self.starts_us) / self.step_us;
            match usize::try_from(step) {
                Ok(step) if step < MOST_STEPS => return step,
                _ => self.double(),
            }
        }
    }

    fn double(&mut self) {
        self.step_us *= 2;
        for counts in self.denied.values_mut().chain([&mut self.requests]) {
            *counts = counts.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
    }
}

fn count(counts: &mut Vec<u64>, step: usize) {
    if counts.len() <= step {
        counts.resize(step + 1, 0);
    }
    counts[step] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_has_longer_steps_and_loses_no_count() {
        let mut timeline = Timeline::default();
        let minutes = 10_000;
        for minute in 0..minutes {
            timeline.request(90_000_000_000_030 + minute * MINUTE_US);
            timeline.denied(90_000_000_000_030 + minute * MINUTE_US, 3);
        }
        assert_eq!(timeline.requests.iter().sum::<u64>(), minutes);
        assert_eq!(timeline.denied[&3], timeline.requests);
        assert!(timeline.requests.len() <= MOST_STEPS && timeline.step_us == 8 * MINUTE_US);
    }
}
