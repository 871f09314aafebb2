//! Puts the lines of one log in the order of their times.
//!
//! Envoy writes a line when a request ends, and says when it began. So times go back by as much as requests take. Lines
//! wait here until the log has gone on by the window, within a bound on their number and size.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// A time so far ahead of all before is believed only if the next line is as far ahead: one line with a wild time would
/// make all after it late.
const WILD_US: u64 = 3_600_000_000;

/// A request, and when it began.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Timed {
    pub(super) at_us: u64,
    sequence: u64,
    pub(super) packed: Vec<u8>,
}

/// The lines that wait.
#[derive(Debug)]
pub(super) struct Order {
    waiting: BinaryHeap<Reverse<Timed>>,
    bytes: usize,
    sequence: u64,
    window_us: u64,
    most: Most,
    newest_us: Option<u64>,
    is_wild: bool,
    /// The number of lines that were older than one before them.
    pub(super) out_of_order: u64,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

impl Ord for Timed {
    fn cmp(&self, other: &Timed) -> Ordering {
        (self.at_us, self.sequence).cmp(&(other.at_us, other.sequence))
    }
}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Timed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// === impl Order ===

impl Order {
    pub(super) fn new(window_us: u64, most: Most) -> Order {
        Order {
            waiting: BinaryHeap::new(),
            bytes: 0,
            sequence: 0,
            window_us,
            most,
            newest_us: None,
            is_wild: false,
            out_of_order: 0,
        }
    }

    pub(super) fn put(&mut self, at_us: u64, packed: Vec<u8>) {
        match self.newest_us {
            Some(newest) if at_us < newest => {
                self.out_of_order += 1;
                self.is_wild = false;
            }
            Some(newest) if at_us > newest.saturating_add(WILD_US) && !self.is_wild => self.is_wild = true,
            _ => {
                self.newest_us = Some(at_us);
                self.is_wild = false;
            }
        }
        self.bytes += packed.len();
        self.sequence += 1;
        self.waiting.push(Reverse(Timed { at_us, sequence: self.sequence, packed }));
    }

    /// Whether the oldest line may go: nothing that is still to come should be older.
    pub(super) fn is_ready(&self) -> bool {
        let Some(oldest_us) = self.oldest_us() else { return false };
        let newest_us = self.newest_us.unwrap_or(0);
        self.waiting.len() > self.most.lines
            || self.bytes > self.most.bytes
            || oldest_us.saturating_add(self.window_us) < newest_us
    }

    pub(super) fn oldest_us(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(timed)| timed.at_us)
    }

    pub(super) fn pop(&mut self) -> Option<Timed> {
        let Reverse(timed) = self.waiting.pop()?;
        self.bytes -= timed.packed.len();
        Some(timed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(times: &[u64], window_us: u64, lines: usize) -> Vec<u64> {
        let mut order = Order::new(window_us, Most { lines, bytes: 1_000 });
        let mut out = Vec::new();
        for at_us in times {
            order.put(*at_us, vec![0]);
            while order.is_ready() {
                out.push(order.pop().unwrap().at_us);
            }
        }
        while let Some(timed) = order.pop() {
            out.push(timed.at_us);
        }
        out
    }

    #[test]
    fn lines_within_the_window_are_sorted_and_older_ones_come_late() {
        assert_eq!(ordered(&[10, 5, 12, 11, 30, 25, 60], 10, 100), [5, 10, 11, 12, 25, 30, 60]);
        assert_eq!(ordered(&[10, 30, 5], 10, 100), [10, 5, 30]);
    }

    #[test]
    fn no_more_lines_wait_than_may() {
        assert_eq!(ordered(&[5, 4, 3, 2, 1], 1_000, 2), [3, 2, 1, 4, 5]);
    }

    #[test]
    fn one_wild_time_does_not_make_all_others_late() {
        let wild = 10 * WILD_US;
        assert_eq!(ordered(&[10, wild, 12, 11, 40, 39], 10, 100), [10, 11, 12, 39, 40, wild]);
        assert_eq!(ordered(&[10, wild, wild + 1, wild + 30], 10, 100), [10, wild, wild + 1, wild + 30]);
    }
}
