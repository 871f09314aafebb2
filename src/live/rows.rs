//! What each rule did within the last second, and the past five minutes of those that did something.
//!
//! Memory is bounded for any number of rules: at most [`MOST_HISTORIES`] rules have a past, and at most [`MOST_SHOWN`]
//! are shown. The counts of all others are part of one sum.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::history::History;
use crate::metrics::{Counts, LimitCounters, Row, RowId};

/// The most rules that are shown.
pub const MOST_SHOWN: usize = 200;
/// The most rules whose past is kept.
const MOST_HISTORIES: usize = 1_000;

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Rows {
    generation: Option<u64>,
    pub(super) rows: Vec<RuleRow>,
    places: HashMap<RowId, usize>,
    histories: usize,
    /// Those that are shown, the busiest first.
    pub(super) shown: Vec<usize>,
    was_shown: HashSet<RowId>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct RuleRow {
    pub(super) row: Row,
    before: Counts,
    /// What the last second came to.
    pub(super) second: Counts,
    pub(super) last_denial_us: Option<u64>,
    pub(super) history: Option<Box<History>>,
    /// Denials and admissions of about the last minute, the recent ones weighing more.
    lately: (u64, u64),
    /// It was not shown in the second before.
    pub(super) is_new: bool,
}

impl Rows {
    /// Ends a second at `now_us`. What the counters counted since the last call is what it came to.
    pub(super) fn tick(&mut self, counters: &LimitCounters, now_us: u64) {
        if self.generation != Some(counters.generation()) {
            self.follow(counters);
        }
        for (row, counts) in self.rows.iter_mut().zip(counters.counts()) {
            row.tick(counts, now_us, &mut self.histories);
        }
        self.choose();
    }

    /// The rows of these counters take the place of those before. A row that is still there keeps its past.
    fn follow(&mut self, counters: &LimitCounters) {
        let old = self.rows.drain(..).map(|row| (row.row.id, row));
        let mut old: HashMap<RowId, RuleRow> = old.collect();
        for row in counters.rows() {
            let known = old.remove(&row.id);
            self.rows.push(match known {
                Some(known) => RuleRow { row, ..known },
                None => RuleRow::new(row),
            });
        }
        self.histories = self.rows.iter().filter(|row| row.history.is_some()).count();
        self.places = self.rows.iter().enumerate().map(|(place, row)| (row.row.id, place)).collect();
        self.generation = Some(counters.generation());
    }

    fn choose(&mut self) {
        let rows = &mut self.rows;
        // What has no limits of its own, such as the limits of requests, is shown once it has counted.
        let shown =
            (0..rows.len()).filter(|at| !rows[*at].row.limits.is_empty() || rows[*at].before.decisions() > 0);
        self.shown = shown.collect();
        let rank = |at: &usize| (std::cmp::Reverse(rows[*at].lately), *at);
        if self.shown.len() > MOST_SHOWN {
            self.shown.select_nth_unstable_by_key(MOST_SHOWN, rank);
            self.shown.truncate(MOST_SHOWN);
        }
        self.shown.sort_by_key(rank);
        let was_shown = std::mem::take(&mut self.was_shown);
        for at in &self.shown {
            let row = &mut rows[*at];
            row.is_new = !was_shown.contains(&row.row.id);
            self.was_shown.insert(row.row.id);
        }
    }

    pub(super) fn get(&self, id: RowId) -> Option<&RuleRow> {
        self.places.get(&id).map(|place| &self.rows[*place])
    }

    /// All rows, in one sum.
    pub(super) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.rows.iter().for_each(|row| sum.add(&row.second));
        sum
    }

    /// The number of rules that are not shown, and their sum.
    pub(super) fn left_out(&self) -> (usize, Counts) {
        let shown: HashSet<usize> = self.shown.iter().copied().collect();
        let mut sum = Counts::default();
        let left_out = self.rows.iter().enumerate().filter(|(at, row)| {
            !shown.contains(at) && (!row.row.limits.is_empty() || row.before.decisions() > 0)
        });
        let rules = left_out.map(|(_, row)| sum.add(&row.second)).count();
        (rules, sum)
    }
}

impl RuleRow {
    fn new(row: Row) -> RuleRow {
        RuleRow {
            row,
            before: Counts::default(),
            second: Counts::default(),
            last_denial_us: None,
            history: None,
            lately: (0, 0),
            is_new: true,
        }
    }

    fn tick(&mut self, counts: Counts, now_us: u64, histories: &mut usize) {
        self.second = counts.since(&self.before);
        self.before = counts;
        if self.second.denied > 0 {
            self.last_denial_us = Some(now_us);
        }
        // In 1/64 of a decision, of which 1/64 is forgotten each second.
        let later = |lately: u64, more: u64| lately - lately.div_ceil(64) + more * 64;
        self.lately = (later(self.lately.0, self.second.denied), later(self.lately.1, self.second.admitted));
        match &mut self.history {
            Some(history) => {
                history.add(&self.second);
                if history.is_idle() {
                    self.history = None;
                    *histories -= 1;
                }
            }
            None if self.second.decisions() > 0 && *histories < MOST_HISTORIES => {
                let mut history = History::default();
                history.add(&self.second);
                self.history = Some(Box::new(history));
                *histories += 1;
            }
            None => {}
        }
    }

    /// The domain and the rule, as events name them.
    pub(super) fn names(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.row.domain), Arc::clone(&self.row.rule))
    }
}
