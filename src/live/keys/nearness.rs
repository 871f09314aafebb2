//! How near a key is to its limit.

use super::Border;
use crate::live::sketch::Last;

/// As of the last decision on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Nearness {
    Ok,
    Near,
    Over,
}

impl Nearness {
    pub(super) fn of(last: &Last, border: Border<'_>) -> Nearness {
        if last.is_over {
            Nearness::Over
        } else if last.burst.saturating_sub(last.remaining) > border(last.burst) {
            Nearness::Near
        } else {
            Nearness::Ok
        }
    }

    pub(in crate::live) const fn word(self) -> &'static str {
        match self {
            Nearness::Ok => "ok",
            Nearness::Near => "near",
            Nearness::Over => "over",
        }
    }
}
