//! Whether files have changed, told from what the system says about them.

use std::mem;

use crate::config::{Look, Seen};

/// Files and folders, how they looked before they were read, and at the last look.
#[derive(Debug)]
pub(super) struct Watch {
    taken: Vec<Seen>,
    last: Vec<Look>,
}

impl Watch {
    pub(super) fn new(taken: Vec<Seen>) -> Watch {
        let last = taken.iter().map(|seen| seen.look.clone()).collect();
        Watch { taken, last }
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
