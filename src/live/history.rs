//! The last five minutes of a number of rows, second by second.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::metrics::Counts;

/// The seconds that are kept.
pub(super) const SECONDS: usize = 300;

/// Decisions per second, from the oldest.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: VecDeque<[u32; 3]>,
    /// Seconds in a row without a decision.
    idle: usize,
}

impl History {
    pub(super) fn add(&mut self, counts: &Counts) {
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back([counts.admitted, counts.denied, counts.would_deny].map(number));
        self.idle = if counts.decisions() == 0 { self.idle + 1 } else { 0 };
    }

    /// Whether it holds nothing but zeros.
    pub(super) fn is_idle(&self) -> bool {
        self.idle >= self.seconds.len()
    }

    pub(super) fn json(&self) -> Value {
        let each = |at: usize| self.seconds.iter().map(|second| second[at]).collect::<Vec<u32>>();
        json!({ "admitted": each(0), "denied": each(1), "would_deny": each(2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_five_minutes_are_kept_and_zeros_alone_are_idle() {
        let mut history = History::default();
        for admitted in 0..310 {
            history.add(&Counts { admitted, ..Counts::default() });
        }
        let shown = history.json();
        let admitted = shown["admitted"].as_array().unwrap();
        assert_eq!((admitted.len(), &admitted[0], &admitted[299]), (300, &json!(10), &json!(309)));
        for _ in 0..300 {
            assert!(!history.is_idle());
            history.add(&Counts::default());
        }
        assert!(history.is_idle());
    }
}
