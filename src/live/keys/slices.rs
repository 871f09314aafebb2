//! What was decided on a key in the last minutes, by slices of half a minute.

use smallvec::SmallVec;

use crate::live::sketch::Counted;

/// The keys of the last minutes are those of eleven slices of half a minute, of which the newest has just begun.
pub(in crate::live) const WINDOW_SECONDS: u64 = SLICE_SECONDS * (SLICES as u64 - 1);
const SLICE_SECONDS: u64 = 30;
pub(super) const SLICES: u32 = 11;

/// The slices in which there were decisions, the newest at the end. Most keys of a flood have one.
#[derive(Debug, Default, Clone)]
pub(super) struct Slices(SmallVec<[Slice; 1]>);

#[derive(Debug, Clone, Copy)]
struct Slice {
    number: u32,
    decisions: u32,
    error: u32,
    denied: u32,
    would_deny: u32,
}

/// The sums of the last minutes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sum {
    pub(super) decisions: u64,
    pub(super) error: u64,
    pub(super) denied: u64,
    pub(super) would_deny: u64,
}

/// The number of the slice that this second is in.
pub(super) fn slice(second: u64) -> u32 {
    u32::try_from(second / SLICE_SECONDS).unwrap_or(u32::MAX)
}

impl Slices {
    pub(super) fn add(&mut self, second: u64, counted: &Counted) {
        let number = slice(second);
        self.0.retain(|slice| slice.is_within(number));
        match self.0.last_mut().filter(|newest| newest.number == number) {
            Some(newest) => newest.add(counted),
            None => {
                let Counted { decisions, error, denied, would_deny, .. } = *counted;
                self.0.push(Slice { number, decisions, error, denied, would_deny });
            }
        }
    }

    /// The number of the newest one.
    pub(super) fn newest(&self) -> u32 {
        self.0.last().map_or(0, |slice| slice.number)
    }

    /// The number of slices for which there is room. More than one take memory of their own.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.capacity()
    }

    pub(super) fn sum(&self, second: u64) -> Sum {
        let lately = self.0.iter().filter(|old| old.is_within(slice(second)));
        lately.fold(Sum::default(), |sum, slice| Sum {
            decisions: sum.decisions + u64::from(slice.decisions),
            error: sum.error + u64::from(slice.error),
            denied: sum.denied + u64::from(slice.denied),
            would_deny: sum.would_deny + u64::from(slice.would_deny),
        })
    }
}

impl Slice {
    fn add(&mut self, counted: &Counted) {
        self.decisions = self.decisions.saturating_add(counted.decisions);
        self.error = self.error.saturating_add(counted.error);
        self.denied = self.denied.saturating_add(counted.denied);
        self.would_deny = self.would_deny.saturating_add(counted.would_deny);
    }

    /// Whether it still counts in the slice with this number.
    fn is_within(&self, number: u32) -> bool {
        number.saturating_sub(self.number) < SLICES
    }
}

impl Sum {
    /// The decisions that are certain.
    pub(super) fn sure(&self) -> u64 {
        self.decisions - self.error
    }
}
