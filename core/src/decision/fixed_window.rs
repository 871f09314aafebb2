//! The fixed window: at most `limit` hits in each period that is aligned to the Unix epoch, or in each calendar month, in
//! UTC.
//!
//! At an edge it admits up to twice the limit at once, so rates are counted in another way; it is for quotas, which
//! people understand as "a day". A window is kept with its end: after a step back, the clock stays in the later
//! window and its count.

use super::{
    Seen, State,
    demand::{Count, Demand, Kind, Step},
};
use crate::{calendar::Month, limit::Windows};

/// One window, and the hits that were counted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it ends, in microseconds since the Unix epoch.
    pub ends_us: u64,
    /// The hits so far; up to twice the limit if it can be overdrawn.
    pub count: u32,
}

impl Window {
    pub(super) fn at(state: Option<&State>, asked: &Count, now_us: u64) -> Window {
        match state {
            Some(State::FixedWindow(window)) if window.ends_us > now_us => *window,
            _ => Window { ends_us: ends_us(asked, now_us), count: 0 },
        }
    }
}

/// When the window at this instant ends.
fn ends_us(asked: &Count, now_us: u64) -> u64 {
    match asked.windows {
        Windows::Aligned => (now_us / asked.length_us).saturating_add(1).saturating_mul(asked.length_us),
        Windows::CalendarMonth => Month::at(now_us).ends_us,
    }
}

impl Demand {
    /// The count of a window that had counted `count` before this take was charged.
    pub fn charged_count(&self, asked: &Count, count: u32) -> u32 {
        let limit = u64::from(asked.limit);
        let before = u64::from(count);
        let after = match self.kind {
            Kind::Peek => before,
            Kind::GiveBack | Kind::Undo { .. } => before.saturating_sub(asked.hits),
            Kind::Take if before + asked.hits <= limit => before + asked.hits,
            Kind::Take if self.meters() => (before + asked.hits).min(2 * limit).max(before),
            Kind::Take => before,
        };
        // Twice a limit that may be overdrawn fits a u32: `LimitSpec::check` refuses larger ones.
        u32::try_from(after).unwrap_or(u32::MAX)
    }
}

/// The window at this instant, used up.
pub(super) fn spent(count: &Count, now_us: u64) -> State {
    State::FixedWindow(Window { count: count.limit, ..Window::at(None, count, now_us) })
}

pub(super) fn step(demand: &Demand, asked: &Count, state: Option<&State>, now_us: u64) -> Step {
    let window = Window::at(state, asked, now_us);
    let fits = demand.kind.gives_back() || u64::from(window.count) + asked.hits <= u64::from(asked.limit);
    // After a step back of the clock the take was counted in a later window than the clock showed: that stays.
    let is_gone =
        matches!(demand.kind, Kind::Undo { taken_us } if ends_us(asked, taken_us) != window.ends_us);
    let is_charged = !demand.changes_nothing() && !is_gone && (fits || demand.meters());
    let charged = is_charged.then(|| {
        let count = demand.charged_count(asked, window.count);
        (count > 0).then_some(State::FixedWindow(Window { count, ..window }))
    });
    Step { seen: Seen::FixedWindow(window), fits, charged, missed_until_us: 0, is_reserved: false }
}
