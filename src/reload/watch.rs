//! Whether files have changed, told from what the system says about them.

use std::mem;

use crate::config::{Look, Seen};

/// Looks until a file is read again that could not be read, the first time and at most: a second, and a minute.
const FIRST_PAUSE: u32 = 2;
const LONGEST_PAUSE: u32 = 120;

/// Files and folders, how they looked before they were read, and at the last look.
#[derive(Debug)]
pub(super) struct Watch {
    taken: Vec<Seen>,
    last: Vec<Look>,
    again: Option<Again>,
}

/// A file could not be read though it was there, for want of a descriptor or of a disk that answers: what mends that
/// does not change how the file looks.
#[derive(Debug)]
struct Again {
    /// What was said of it.
    told: String,
    /// In looks: from try to try, and what is left of it.
    pause: u32,
    left: u32,
}

impl Watch {
    pub(super) fn new(taken: Vec<Seen>) -> Watch {
        let last = taken.iter().map(|seen| seen.look.clone()).collect();
        Watch { taken, last, again: None }
    }

    /// As new, and to be read again after a pause, which grows while the same is to be told as `before`.
    pub(super) fn reading_again(taken: Vec<Seen>, told: String, before: &Watch) -> Watch {
        let earlier = before.again.as_ref().filter(|again| again.told == told);
        let pause = earlier.map_or(FIRST_PAUSE, |again| again.pause.saturating_mul(2).min(LONGEST_PAUSE));
        Watch { again: Some(Again { told, pause, left: pause }), ..Watch::new(taken) }
    }

    /// This was told of the same files, and is no news.
    pub(super) fn has_told(&self, errors: &str) -> bool {
        self.again.as_ref().is_some_and(|again| again.told == errors)
    }

    /// Whether they are to be read: they have changed, or could not be read the last time.
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

    /// They differ from what was read, and have not changed since the look before: whoever writes them is done.
    /// True until they were read again, and are followed as they looked then.
    pub(super) fn has_settled_anew(&mut self) -> bool {
        let looks: Vec<Look> = self.taken.iter().map(|seen| Look::of(&seen.path)).collect();
        let is_settled = !looks.iter().any(Look::is_unsure);
        let is_new = looks.iter().ne(self.taken.iter().map(|seen| &seen.look));
        mem::replace(&mut self.last, looks) == self.last && is_settled && is_new
    }
}
