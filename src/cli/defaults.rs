//! The flags for limits that do not say everything, for each command that reads limits.

use clap::{ArgAction, Args};

use super::values;
use tollgate_core::limit::{DefaultAlgorithm, Defaults, Windows};

/// A command that shows what `tollgate serve` does must be given what that is given.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct DefaultFlags {
    /// Algorithm where neither the limit nor its domain has `algorithm`: by_period, token_bucket or fixed_window.
    ///
    /// by_period means a token bucket, which refills, for periods shorter than a day, and a fixed window, which resets
    /// at UTC boundaries, for a day and longer. A limit with a burst is always a token bucket.
    #[arg(long, env = "TOLLGATE_DEFAULT_ALGORITHM", value_name = "ALGORITHM", default_value = "by_period")]
    default_algorithm: DefaultAlgorithm,

    /// Whether fixed windows of one month are the months of the calendar: on or off.
    ///
    /// On counts each month from its first day, at midnight UTC, instead of 30 days at a time. It holds for each limit of
    /// `unit: month` that is a fixed window and does not say `calendar` itself, from wherever the limit comes. The keys
    /// of these buckets change with it, so each starts anew.
    #[arg(long, env = "TOLLGATE_CALENDAR_MONTHS", value_name = "SWITCH", default_value = "off",
        action = ArgAction::Set, value_parser = values::switch)]
    calendar_months: bool,
}

impl DefaultFlags {
    pub(super) fn defaults(self) -> Defaults {
        let month = if self.calendar_months { Windows::CalendarMonth } else { Windows::Aligned };
        Defaults { algorithm: self.default_algorithm, month, ..Defaults::default() }
    }
}
