//! The keys that one runtime decided on within a second, in a table of a fixed size.
//!
//! A key belongs to one set of the table, which has room for [`WAYS`] keys. If a set is full, a new key takes the place
//! of the one with the fewest decisions and begins with its count, as in the space-saving algorithm (Metwally, Agrawal
//! and El Abbadi, 2005). So no count is too low for a key that is in the table; one that was taken over states how much
//! it may be too high; and a key that is not in the table had at most [`Sketch::most_evicted`] decisions.

use crate::{logging::names::number, metrics::RowId};
use tollgate_core::descriptor::BucketKey;

const WAYS: usize = 8;
/// A power of two, so that bits of the key are the number of its set.
const SETS: usize = 512;

/// The most keys of one runtime that are told apart within a second.
#[cfg(test)]
pub(super) const MOST_KEYS: usize = WAYS * SETS;

/// One runtime's keys of one second. The tables begin with the first decision: a runtime that gets none needs none.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    /// Apart from what is counted, so that a lookup reads two cache lines.
    keys: Box<[[u128; WAYS]]>,
    counted: Box<[[Counted; WAYS]]>,
    most_evicted: u32,
}

/// What was counted of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// The row of the last decision.
    pub(super) row: Option<RowId>,
    /// All decisions. 0: there is no such key.
    pub(super) decisions: u32,
    /// Up to so many of them were those of other keys.
    pub(super) error: u32,
    pub(super) denied: u32,
    pub(super) would_deny: u32,
    /// As of the last decision.
    pub(super) last: Last,
}

/// What the last decision on a key said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) burst: u32,
    pub(super) remaining: u32,
    /// It denied, or would have denied.
    pub(super) is_over: bool,
}

/// The verdict of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Denied,
    WouldDeny,
}

/// Whether the table knew the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Before,
    FromNowOn,
}

impl Sketch {
    pub(super) fn count(
        &mut self,
        key: &BucketKey,
        row: RowId,
        verdict: Verdict,
        (burst, remaining): (u32, u32),
    ) -> Known {
        let key = number(key);
        let set = set_of(key);
        if !self.has_begun() {
            self.begin();
        }
        let found = self.keys[set].iter().position(|known| *known == key);
        let (way, known) = match found {
            Some(way) => (way, Known::Before),
            None => (self.make_room(set, key), Known::FromNowOn),
        };
        let counted = &mut self.counted[set][way];
        counted.row = Some(row);
        counted.decisions = counted.decisions.saturating_add(1);
        match verdict {
            Verdict::Admitted => {}
            Verdict::Denied => counted.denied += 1,
            Verdict::WouldDeny => counted.would_deny += 1,
        }
        counted.last = Last { burst, remaining, is_over: verdict != Verdict::Admitted };
        known
    }

    pub(super) fn has_begun(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Makes the tables, unless they are there.
    #[cold]
    pub(super) fn begin(&mut self) {
        if !self.has_begun() {
            self.keys = vec![[0; WAYS]; SETS].into();
            self.counted = vec![[Counted::default(); WAYS]; SETS].into();
        }
    }

    /// Not inlined, because it is rare.
    #[cold]
    fn make_room(&mut self, set: usize, key: u128) -> usize {
        let counted = &mut self.counted[set];
        let fewest = (0..WAYS).min_by_key(|way| counted[*way].decisions).unwrap_or_default();
        let evicted = counted[fewest].decisions;
        self.most_evicted = self.most_evicted.max(evicted);
        self.keys[set][fewest] = key;
        counted[fewest] = Counted { decisions: evicted, error: evicted, ..Counted::default() };
        fewest
    }

    /// The most decisions that a key can have had that is not in the table; 0 if all keys are.
    pub(super) fn most_evicted(&self) -> u32 {
        self.most_evicted
    }

    /// All keys, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u128, &Counted)> {
        let all = self.keys.iter().flatten().copied().zip(self.counted.iter().flatten());
        all.filter(|(_, counted)| counted.decisions > 0)
    }

    pub(super) fn clear(&mut self) {
        self.keys.fill([0; WAYS]);
        self.counted.fill([Counted::default(); WAYS]);
        self.most_evicted = 0;
    }
}

fn set_of(key: u128) -> usize {
    (key % SETS as u128) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(number: u64) -> BucketKey {
        let digest = blake3::hash(&number.to_le_bytes());
        BucketKey::from_bytes(digest.as_bytes()[..16].try_into().unwrap())
    }

    #[test]
    fn a_count_is_never_too_low_and_says_how_much_it_may_be_too_high() {
        let (mut sketch, mut exact) = (Sketch::default(), HashMap::<u128, u32>::new());
        let row = RowId::default();
        // Few keys with many decisions, among three times as many keys as there is room for.
        let mut seed = 1_u64;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = seed >> 33;
            let number =
                if drawn.is_multiple_of(2) { drawn / 2 % 40 } else { drawn % (3 * MOST_KEYS as u64) };
            let key = key(number);
            sketch.count(&key, row, Verdict::Denied, (10, 0));
            *exact.entry(self::number(&key)).or_default() += 1;
        }
        let kept: HashMap<u128, Counted> = sketch.keys().map(|(key, counted)| (key, *counted)).collect();
        assert!(sketch.most_evicted() > 0 && kept.len() <= MOST_KEYS);
        for (key, true_count) in &exact {
            match kept.get(key) {
                Some(Counted { decisions, error, denied, .. }) => {
                    assert!((decisions - error..=*decisions).contains(true_count), "{decisions} {error}");
                    assert!(denied <= true_count);
                }
                None => assert!(*true_count <= sketch.most_evicted()),
            }
        }
        for number in 0..40 {
            assert!(kept.contains_key(&self::number(&key(number))), "a key with many decisions is kept");
        }
    }

    #[test]
    fn a_runtime_without_decisions_has_no_table() {
        let mut sketch = Sketch::default();
        sketch.clear();
        assert!(!sketch.has_begun() && sketch.keys().next().is_none());
        sketch.count(&key(7), RowId::default(), Verdict::Admitted, (5, 4));
        assert!(sketch.has_begun());
    }

    #[test]
    fn few_keys_are_counted_exactly_and_a_cleared_table_has_none() {
        let (mut sketch, row) = (Sketch::default(), RowId::default());
        let known = [Verdict::Admitted, Verdict::Denied, Verdict::WouldDeny]
            .map(|verdict| sketch.count(&key(7), row, verdict, (5, 2)));
        assert_eq!(known, [Known::FromNowOn, Known::Before, Known::Before]);
        let last = Last { burst: 5, remaining: 2, is_over: true };
        let counted = Counted { row: Some(row), decisions: 3, error: 0, denied: 1, would_deny: 1, last };
        assert_eq!(sketch.keys().collect::<Vec<_>>(), [(number(&key(7)), &counted)]);
        sketch.clear();
        assert_eq!((sketch.keys().count(), sketch.most_evicted()), (0, 0));
    }
}
