//! The keys of the last five minutes, merged from the notes of all runtimes: the top ones of a rule, how many are near
//! or over their limit, and whose denials begin and end.
//!
//! At most [`MOST_KEYS`] are kept. If there are more, those with the fewest decisions are forgotten, and
//! [`Keys::left_out_at_most`] says how many decisions a key that is not there may have had.

mod nearness;
mod slices;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    recorder::Notes,
    sketch::{Counted, Last},
};
use crate::metrics::RowId;
pub(super) use nearness::Nearness;
pub(super) use slices::WINDOW_SECONDS;
use slices::{SLICES, Slices, Sum, slice};

/// The most keys that are kept.
const MOST_KEYS: usize = 20_000;
/// How many stay when there are more.
const STAY: usize = 15_000;
/// How long the last decision on a key is told.
const RECENT_SECONDS: u64 = 10;
/// Denials of a key have ended after so many seconds without one.
const QUIET_SECONDS: u64 = 10;

/// The keys of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// A tree, because a hash table would have twice the places that it needs, and four times while it grows.
    kept: BTreeMap<u128, KeyRow>,
    /// The decisions of a key that may have been missed, by slice from the oldest.
    missed: VecDeque<u64>,
    /// The second that is counted.
    second: u64,
    /// When a key was last forgotten or not told apart.
    last_missed: Option<u64>,
}

/// One key.
#[derive(Debug, Default, Clone)]
pub(super) struct KeyRow {
    row: Option<RowId>,
    slices: Slices,
    last: Last,
    last_second: u64,
    denials: Option<Denials>,
    pub(super) text: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Denials {
    since: u64,
    last: u64,
    denied: u64,
}

/// A key's sums of the last minutes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopKey {
    pub(super) key: u128,
    pub(super) decisions: u64,
    pub(super) error: u64,
    pub(super) denied: u64,
    pub(super) would_deny: u64,
    pub(super) share: f64,
    pub(super) nearness: Nearness,
    pub(super) text: Option<Arc<str>>,
}

/// The keys of a rule whose last decision was a moment ago.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Fullness {
    pub(super) near: u64,
    pub(super) over: u64,
    /// The largest part of a bucket that is in use.
    pub(super) share: f64,
}

/// Denials of a key that began or ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turn {
    Began { row: RowId, key: u128, text: Option<Arc<str>> },
    Ended { row: RowId, key: u128, text: Option<Arc<str>>, denied: u64, seconds: u64 },
}

/// How much of a burst is in use from where a key counts as near its limit.
pub(super) type Border<'a> = &'a dyn Fn(u32) -> u32;

impl Keys {
    /// Adds what the runtimes noted in the second with this number, which rises. Returns whose denials began or ended.
    pub(super) fn tick<'n>(&mut self, second: u64, notes: impl Iterator<Item = &'n mut Notes>) -> Vec<Turn> {
        let slices = slice(second) - slice(self.second);
        for _ in 0..slices.min(SLICES) {
            self.missed.push_back(0);
        }
        while self.missed.len() > SLICES as usize {
            self.missed.pop_front();
        }
        self.second = second;
        let mut turns = Vec::new();
        for notes in notes {
            self.miss(notes.sketch.most_evicted().into());
            for (key, counted) in notes.sketch.keys() {
                let row = self.kept.entry(key).or_default();
                row.add(second, counted);
                if let (Some(text), None) = (notes.texts.get(&key), &row.text) {
                    row.text = Some(text.clone().into());
                }
                turns.extend(row.began(second, key, counted));
            }
        }
        for (key, row) in &mut self.kept {
            turns.extend(row.ended(second, *key));
        }
        let oldest = slice(second).saturating_sub(SLICES);
        self.kept.retain(|_, row| row.slices.newest() > oldest || row.denials.is_some());
        if self.kept.len() > MOST_KEYS {
            self.forget(&mut turns);
        }
        turns
    }

    /// Forgets the keys with the fewest decisions.
    fn forget(&mut self, turns: &mut Vec<Turn>) {
        let rank = |row: &KeyRow| (row.denials.is_some(), row.slices.sum(self.second).sure());
        let mut ranks: Vec<_> = self.kept.iter().map(|(key, row)| (rank(row), *key)).collect();
        let least = self.kept.len() - STAY;
        ranks.select_nth_unstable(least);
        let mut most = 0;
        for (_, key) in &ranks[..least] {
            let Some(mut row) = self.kept.remove(key) else { continue };
            most = most.max(row.slices.sum(self.second).decisions);
            turns.extend(row.ends(self.second, *key));
        }
        self.miss(most);
    }

    /// Any key may have had so many decisions that are not counted.
    fn miss(&mut self, decisions: u64) {
        if decisions > 0 {
            self.last_missed = Some(self.second);
            if let Some(newest) = self.missed.back_mut() {
                *newest += decisions;
            }
        }
    }

    /// The most decisions that a key can have had in the last minutes beyond those that are counted.
    pub(super) fn left_out_at_most(&self) -> u64 {
        self.missed.iter().sum()
    }

    /// Whether more keys may have been near or over than are known.
    pub(super) fn has_more(&self) -> bool {
        self.last_missed.is_some_and(|last| self.second - last <= RECENT_SECONDS)
    }

    /// The keys of each row whose last decision was a moment ago.
    pub(super) fn fullness(&self, border: Border<'_>) -> HashMap<RowId, Fullness> {
        let mut rows: HashMap<RowId, Fullness> = HashMap::new();
        for row in self.kept.values().filter(|row| self.second - row.last_second <= RECENT_SECONDS) {
            let Some(id) = row.row else { continue };
            let fullness = rows.entry(id).or_default();
            match row.nearness(border) {
                Nearness::Ok => {}
                Nearness::Near => fullness.near += 1,
                Nearness::Over => fullness.over += 1,
            }
            fullness.share = fullness.share.max(row.share());
        }
        rows
    }

    /// The keys of a row with the most decisions.
    pub(super) fn top(&self, row: RowId, most: usize, border: Border<'_>) -> Vec<TopKey> {
        let of_row = self.kept.iter().filter(|(_, kept)| kept.row == Some(row));
        let mut sums: Vec<_> = of_row.map(|(key, kept)| (kept.slices.sum(self.second), *key, kept)).collect();
        sums.sort_by_key(|(sum, key, _)| (std::cmp::Reverse(sum.sure()), *key));
        let top = sums.into_iter().filter(|(sum, ..)| sum.decisions > 0).take(most);
        let top = top.map(|(sum, key, kept)| {
            let Sum { decisions, error, denied, would_deny } = sum;
            let (share, nearness) = (kept.share(), kept.nearness(border));
            TopKey { key, decisions, error, denied, would_deny, share, nearness, text: kept.text.clone() }
        });
        top.collect()
    }
}

impl KeyRow {
    fn add(&mut self, second: u64, counted: &Counted) {
        self.slices.add(second, counted);
        (self.row, self.last, self.last_second) = (counted.row, counted.last, second);
    }

    fn began(&mut self, second: u64, key: u128, counted: &Counted) -> Option<Turn> {
        if counted.denied == 0 {
            return None;
        }
        let began = self.denials.is_none();
        let denials = self.denials.get_or_insert(Denials { since: second, last: second, denied: 0 });
        denials.last = second;
        denials.denied += u64::from(counted.denied);
        (began).then_some(Turn::Began { row: counted.row?, key, text: self.text.clone() })
    }

    fn ended(&mut self, second: u64, key: u128) -> Option<Turn> {
        let is_quiet = self.denials.is_some_and(|denials| second - denials.last >= QUIET_SECONDS);
        if is_quiet { self.ends(second, key) } else { None }
    }

    fn ends(&mut self, second: u64, key: u128) -> Option<Turn> {
        let Denials { since, last, denied } = self.denials.take()?;
        let seconds = last.min(second) - since + 1;
        Some(Turn::Ended { row: self.row?, key, text: self.text.clone(), denied, seconds })
    }

    fn share(&self) -> f64 {
        let Last { burst, remaining, is_over } = self.last;
        match burst {
            _ if is_over => 1.0,
            0 => 0.0,
            _ => f64::from(burst.saturating_sub(remaining)) / f64::from(burst),
        }
    }

    fn nearness(&self, border: Border<'_>) -> Nearness {
        Nearness::of(&self.last, border)
    }
}

#[cfg(test)]
mod tests;
