//! What happened to one bucket lately. Kept only when a failing seed is run again, since writing costs more
//! than simulating.

use std::collections::VecDeque;

const KEPT: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Journal {
    of: Option<usize>,
    lines: VecDeque<String>,
}

impl Journal {
    pub(super) fn of(bucket: Option<usize>) -> Journal {
        Journal { of: bucket, lines: VecDeque::new() }
    }

    /// `line` is made only if one of the `buckets` is the one looked at.
    pub(super) fn note(
        &mut self,
        at_ns: u64,
        mut buckets: impl Iterator<Item = usize>,
        line: impl FnOnce() -> String,
    ) {
        let Some(of) = self.of else { return };
        if !buckets.any(|bucket| bucket == of) {
            return;
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>14} ns  {}", at_ns, line()));
    }

    /// Of what concerns every bucket.
    pub(super) fn note_all(&mut self, at_ns: u64, line: impl FnOnce() -> String) {
        if let Some(of) = self.of {
            self.note(at_ns, std::iter::once(of), line);
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
    }
}
