//! The errors or the warnings of one file: the first ones by position, and the number of further ones.

use std::mem;

use crate::config::error::ConfigError;

/// The most notes of one file that are kept; further ones are only counted.
const MOST: usize = 1_000;

#[derive(Default)]
pub(super) struct Notes {
    kept: Vec<ConfigError>,
    more: usize,
}

impl Notes {
    /// In any order, because a file is checked several times.
    pub(super) fn add(&mut self, note: ConfigError) {
        self.kept.push(note);
        // Rarely, so that it costs little for each.
        if self.kept.len() >= 2 * MOST {
            self.keep_first();
        }
    }

    pub(super) fn find(&self, is_wanted: impl Fn(&&ConfigError) -> bool) -> Option<&ConfigError> {
        self.kept.iter().find(is_wanted)
    }

    pub(super) fn is_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The notes by position, those about the whole file first, and the number that were left out.
    pub(super) fn take(&mut self) -> (Vec<ConfigError>, usize) {
        self.keep_first();
        let Notes { kept, more } = mem::take(self);
        (kept, more)
    }

    fn keep_first(&mut self) {
        self.kept.sort_by_key(|note| note.at);
        self.more += self.kept.len().saturating_sub(MOST);
        self.kept.truncate(MOST);
    }
}
