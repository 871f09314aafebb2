//! Tells whether files have changed, by their metadata.

use std::mem;

use crate::config::{Look, Seen};

/// The number of looks until a file that could not be read is tried again, at first and at most: a second, and a
/// minute.
const FIRST_PAUSE: u32 = 2;
const LONGEST_PAUSE: u32 = 120;

/// Files and folders, with how they looked before they were read and at the last look.
#[derive(Debug)]
pub(super) struct Watch {
    taken: Vec<Seen>,
    last: Vec<Look>,
    again: Option<Again>,
}

/// A file exists but could not be read, because file descriptors ran out or the disk did not answer. The file looks the
/// same when that is over, so it has to be tried again.
#[derive(Debug)]
struct Again {
    /// The errors that were logged.
    told: String,
    /// The number of looks between two tries, and until the next one.
    pause: u32,
    left: u32,
}

impl Watch {
    pub(super) fn new(taken: Vec<Seen>) -> Watch {
        let last = taken.iter().map(|seen| seen.look.clone()).collect();
        Watch { taken, last, again: None }
    }

    /// Like `new`, but the files are read again after a pause, which grows while the errors stay the same as `before`.
    pub(super) fn reading_again(taken: Vec<Seen>, told: String, before: &Watch) -> Watch {
        let earlier = before.again.as_ref().filter(|again| again.told == told);
        let pause = earlier.map_or(FIRST_PAUSE, |again| again.pause.saturating_mul(2).min(LONGEST_PAUSE));
        Watch { again: Some(Again { told, pause, left: pause }), ..Watch::new(taken) }
    }

    /// Whether these errors of the same files were logged already.
    pub(super) fn has_told(&self, errors: &str) -> bool {
        self.again.as_ref().is_some_and(|again| again.told == errors)
    }

    /// Whether the files are to be read: they have changed, or could not be read the last time.
    pub(super) fn is_due(&mut self) -> bool {
        if self.has_settled_anew() {
            self.again = None;
            return true;
        }
        let is_same = self.last.iter().eq(self.taken.iter().map(|seen| &seen.look));
        let Some(again) = self.again.as_mut().filter(|_| is_same) else { return false };
        again.left = again.left.saturating_sub(1);
        again.left == 0
    }

    /// Whether the files differ from what was read but not from the look before, so that their writer is done. Stays
    /// true until the files are read again and a new `Watch` follows them.
    pub(super) fn has_settled_anew(&mut self) -> bool {
        let looks: Vec<Look> = self.taken.iter().map(Seen::look_again).collect();
        let is_settled = !looks.iter().any(Look::is_unsure);
        let is_new = looks.iter().ne(self.taken.iter().map(|seen| &seen.look));
        mem::replace(&mut self.last, looks) == self.last && is_settled && is_new
    }
}
