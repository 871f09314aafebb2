//! What each rule did within the last second, and the past five minutes of those that did something.
//!
//! Memory is bounded for any number of rules: at most [`MOST_HISTORIES`] rules have a past, and at most [`MOST_SHOWN`]
//! are shown. The counts of all others are part of one sum.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    history::History,
    replicas::{OtherRow, Others},
};
use crate::metrics::{Counts, LimitCounters, Row, RowId};

/// The most rules that are shown.
pub const MOST_SHOWN: usize = 200;
/// The most rules whose past is kept.
const MOST_HISTORIES: usize = 1_000;
/// The most rules that only other replicas have.
const MOST_FOREIGN: usize = 1_000;

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Rows {
    generation: Option<u64>,
    pub(super) rows: Vec<RuleRow>,
    places: HashMap<RowId, usize>,
    /// By domain and rule.
    names: HashMap<String, usize>,
    /// The rows from here on are of rules that only other replicas have.
    foreign: usize,
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
    /// What the last second came to in this process.
    pub(super) second: Counts,
    /// The same in all replicas.
    pub(super) all: Counts,
    /// What it came to in each other replica.
    pub(super) parts: Vec<(String, Counts)>,
    /// What the others know of its keys.
    pub(super) keys_near: u64,
    pub(super) keys_over: u64,
    pub(super) share: Option<f64>,
    pub(super) last_denial_us: Option<u64>,
    pub(super) history: Option<Box<History>>,
    /// Denials and admissions of about the last minute, the recent ones weighing more.
    lately: (u64, u64),
    /// It was not shown in the second before.
    pub(super) is_new: bool,
}

impl Rows {
    /// Ends a second at `now_us`. What the counters counted since the last call, and what other replicas show, is what it
    /// came to.
    pub(super) fn tick(&mut self, counters: &LimitCounters, others: &Others, now_us: u64) {
        if self.generation != Some(counters.generation()) {
            self.follow(counters);
        }
        for (row, counts) in self.rows.iter_mut().zip(counters.counts()) {
            row.count(counts, now_us);
        }
        self.merge(others);
        for row in &mut self.rows {
            row.end(&mut self.histories);
        }
        self.choose();
    }

    fn merge(&mut self, others: &Others) {
        for row in &mut self.rows {
            row.parts.clear();
            (row.all, row.keys_near, row.keys_over, row.share) = (row.second, 0, 0, None);
        }
        for (name, other) in &others.by_name {
            for theirs in &other.rows {
                let Some(at) = self.place(theirs) else { continue };
                let row = &mut self.rows[at];
                row.keys_near = row.keys_near.max(theirs.keys_near);
                row.keys_over = row.keys_over.max(theirs.keys_over);
                row.share = [row.share, theirs.share].into_iter().flatten().reduce(f64::max);
                row.last_denial_us = row.last_denial_us.max(theirs.last_denial_us);
                if other.is_fresh {
                    row.all.add(&theirs.counts);
                    row.parts.push((name.clone(), theirs.counts));
                }
            }
        }
    }

    /// The row of a rule of another replica, which gets one if it has none here.
    fn place(&mut self, theirs: &OtherRow) -> Option<usize> {
        let name = name(&theirs.domain, &theirs.rule);
        if let Some(at) = self.names.get(&name) {
            return Some(*at);
        }
        if self.rows.len() - self.foreign >= MOST_FOREIGN {
            return None;
        }
        let (domain, rule) = (theirs.domain.as_str().into(), theirs.rule.as_str().into());
        let row = Row { id: RowId::default(), domain, rule, limits: Vec::new() };
        self.names.insert(name, self.rows.len());
        self.places.insert(row.id, self.rows.len());
        self.rows.push(RuleRow::new(row));
        Some(self.rows.len() - 1)
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
        let names = self.rows.iter().enumerate();
        self.names = names.map(|(place, row)| (name(&row.row.domain, &row.row.rule), place)).collect();
        self.foreign = self.rows.len();
        self.generation = Some(counters.generation());
    }

    fn choose(&mut self) {
        let rows = &mut self.rows;
        let shown = (0..rows.len()).filter(|at| rows[*at].is_shown());
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

    /// The number of rules that are not shown, and their sum in this process and in all.
    pub(super) fn left_out(&self) -> (usize, Counts, Counts) {
        let shown: HashSet<usize> = self.shown.iter().copied().collect();
        let (mut rules, mut own, mut all) = (0, Counts::default(), Counts::default());
        let left_out = self.rows.iter().enumerate().filter(|(at, row)| !shown.contains(at) && row.is_shown());
        for (_, row) in left_out {
            rules += 1;
            own.add(&row.second);
            all.add(&row.all);
        }
        (rules, own, all)
    }
}

impl RuleRow {
    fn new(row: Row) -> RuleRow {
        RuleRow {
            row,
            before: Counts::default(),
            second: Counts::default(),
            all: Counts::default(),
            parts: Vec::new(),
            keys_near: 0,
            keys_over: 0,
            share: None,
            last_denial_us: None,
            history: None,
            lately: (0, 0),
            is_new: true,
        }
    }

    fn count(&mut self, counts: Counts, now_us: u64) {
        self.second = counts.since(&self.before);
        self.before = counts;
        if self.second.denied > 0 {
            self.last_denial_us = Some(now_us);
        }
    }

    fn end(&mut self, histories: &mut usize) {
        // In 1/64 of a decision, of which 1/64 is forgotten each second.
        let later = |lately: u64, more: u64| lately - lately.div_ceil(64) + more * 64;
        self.lately = (later(self.lately.0, self.all.denied), later(self.lately.1, self.all.admitted));
        match &mut self.history {
            Some(history) => {
                history.add(&self.all);
                if history.is_idle() {
                    self.history = None;
                    *histories -= 1;
                }
            }
            None if self.all.decisions() > 0 && *histories < MOST_HISTORIES => {
                let mut history = History::default();
                history.add(&self.all);
                self.history = Some(Box::new(history));
                *histories += 1;
            }
            None => {}
        }
    }

    /// What has no limits of its own, such as the limits of requests, is shown once it has counted.
    fn is_shown(&self) -> bool {
        !self.row.limits.is_empty() || self.before.decisions() > 0 || self.history.is_some()
    }

    /// The domain and the rule, as events name them.
    pub(super) fn names(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.row.domain), Arc::clone(&self.row.rule))
    }
}

fn name(domain: &str, rule: &str) -> String {
    format!("{domain}\0{rule}")
}
