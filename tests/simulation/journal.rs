//! The last events of one bucket. Kept only when a failing seed is run again, since writing costs more than simulating.

use std::collections::VecDeque;

const KEPT: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Journal {
    bucket: Option<usize>,
    lines: VecDeque<String>,
}

impl Journal {
    pub(super) fn new(bucket: Option<usize>) -> Journal {
        Journal { bucket, lines: VecDeque::new() }
    }

    /// `line` is called only if one of the `buckets` is the watched one.
    pub(super) fn note(
        &mut self,
        at_ns: u64,
        mut buckets: impl Iterator<Item = usize>,
        line: impl FnOnce() -> String,
    ) {
        let Some(watched) = self.bucket else { return };
        if !buckets.any(|bucket| bucket == watched) {
            return;
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>14} ns  {}", at_ns, line()));
    }

    /// Notes an event that concerns every bucket.
    pub(super) fn note_all(&mut self, at_ns: u64, line: impl FnOnce() -> String) {
        if let Some(watched) = self.bucket {
            self.note(at_ns, std::iter::once(watched), line);
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
    }
}
